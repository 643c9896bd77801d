"""Which searches are left out, and what the votes of the others weigh: by hand."""

import numpy as np
import pytest

from hume_ssl.consensus.weights import left_out, vote_weights


def test_collapsed_and_lonely_searches_are_left_out_with_a_reason() -> None:
    """Median stability of the four whole ones 0.8 (of 0.9, 0.8, 0.8, 0.3): below 0.4 is alone, 0.3 is."""
    reasons = left_out(np.array([10, 10, 9, 10, 10]), np.array([0.9, 0.8, 0.1, 0.8, 0.3]), 10)
    assert reasons == ["", "", "collapsed: 9 of 10 classes", "", "alone: ARI 0.30 with the others, where 0.80 is usual"]


def test_weak_searches_that_all_differ_are_kept() -> None:
    assert left_out(np.array([5] * 4), np.array([0.20, 0.15, 0.11, 0.22]), 5) == [""] * 4
    assert left_out(np.array([5]), np.array([1.0]), 5) == [""]
    assert left_out(np.array([5, 5]), np.array([-0.02, -0.02]), 5) == ["", ""]  # less alike than chance: nobody's fault
    assert left_out(np.array([5] * 3), np.array([-0.02, -0.01, 0.01]), 5) == [""] * 3


def test_where_most_have_collapsed_none_is_left_out_for_it() -> None:
    assert left_out(np.array([3, 5, 4, 4, 3]), np.ones(5), 5) == [""] * 5
    assert left_out(np.array([4, 4, 3]), np.ones(3), 5) == ["", "", "collapsed: 3 of 5 classes"]  # none has all five


@pytest.mark.parametrize("name", ["objective", "score", "stability"])
def test_weights_by_hand(name: str) -> None:
    """Figures 0 (best), 1, 2 (the median of those heard), 3, 4 and one not heard: exp(-6 s x / 2). The mean stability
    of those heard is 0.5, but where it is the figure itself, -2: no sharper than 0, all count alike."""
    figure = np.array([2.0, 0, 1, 3, 4, -7])
    none, even = np.full(6, np.nan), np.array([0.5, 0.5, 0.5, 0.5, 0.5, np.nan])
    given = {"objective": none, "score": none, "stability": even} | {name: figure if name == "objective" else -figure}
    heard = np.array([True] * 5 + [False])
    weights = vote_weights(name, heard, **{"scores" if k == "score" else k: v for k, v in given.items()})
    wanted = np.exp([-3.0, 0, -1.5, -4.5, -6]) if name != "stability" else np.ones(5)
    assert weights == pytest.approx([*wanted, 0])


def test_weights_do_not_hang_on_the_scale_of_the_figure() -> None:
    objective, none, stability = np.random.default_rng(0).random(9), np.zeros(9), np.full(9, 0.7)
    heard = np.ones(9, dtype=bool)
    one = vote_weights("objective", heard, objective, none, stability)
    assert vote_weights("objective", heard, 5 * objective - 3, none, stability) == pytest.approx(one)
    assert one.max() == 1
    unlike = vote_weights("objective", heard, objective, none, stability / 7)
    assert np.log(unlike) == pytest.approx(np.log(one) / 7)  # where searches differ, more of them count


def test_equal_figures_weigh_the_same() -> None:
    ones, heard = np.ones(4), np.array([True, True, False, True])
    for weighting in ("equal", "objective", "score", "stability"):
        assert vote_weights(weighting, heard, ones, ones, ones).tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize("best", [0.0, -0.2, 3.0])
def test_where_half_share_the_best_figure_the_others_are_not_their_equals(best: float) -> None:
    """Three of five have one figure but for rounding, so that best and median are one: weight 1 each. A bad search
    weighs nothing, whether the three are equal in every bit or not."""
    heard, stability, none = np.ones(5, dtype=bool), np.full(5, 0.6), np.zeros(5)
    objective = best + np.array([0.0, 0.5, 0.0, 0.0, 0.7])
    for noise in (0.0, 1e-9 * abs(best)):
        weights = vote_weights("objective", heard, objective + noise * np.arange(5), none, stability)
        assert weights == pytest.approx([1, 0, 1, 1, 0], abs=0.05)
    assert vote_weights("objective", heard, objective, none, 0 * stability).tolist() == [1] * 5  # all differ: all count
