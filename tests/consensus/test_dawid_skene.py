"""Dawid-Skene by hand, against loops, and what must not change it."""

from math import log
from typing import Any

import numpy as np
import pytest

from hume_ssl.consensus.dawid_skene import DawidSkene, dawid_skene
from hume_ssl.errors import InputError


def annotated(
    accuracies: list[float], n: int, k: int, seed: int, special: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(r, n) votes of independent searches that are right with the given shares, and the (n,) truth.

    `special`: each search's errors go to one class that depends on the true one, else to any.
    """
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n) % k)
    votes = np.empty((len(accuracies), n), dtype=np.int32)
    for search, share in enumerate(accuracies):
        wrong = (truth + 1 + search % (k - 1)) % k if special else (truth + rng.integers(1, k, n)) % k
        votes[search] = np.where(rng.random(n) < share, truth, wrong)
    return votes, truth


def majority(votes: np.ndarray, k: int) -> np.ndarray:
    return np.stack([(votes == c).sum(0) for c in range(k)]).argmax(0)


def in_loops(
    votes: np.ndarray, k: int, steps: int, smoothing: float, coin: bool, weights: np.ndarray | None = None
) -> dict[str, Any]:
    """The same in loops over searches, items and classes, in plain products of probabilities."""
    r, n = votes.shape
    w = np.ones(r) if weights is None else weights
    posterior = np.zeros((n, k))
    for i in range(n):
        for s in range(r):
            posterior[i, votes[s, i]] += w[s] / w.sum()
    for _ in range(steps):
        prior = np.full(k, smoothing / k)
        said = np.full((r, k, k), smoothing / k)
        for i in range(n):
            for c in range(k):
                prior[c] += posterior[i, c]
                for s in range(r):
                    said[s, c, votes[s, i]] += posterior[i, c]
        prior /= n + smoothing
        for s in range(r):
            right = sum(said[s, c, c] for c in range(k)) / said[s].sum()
            for c in range(k):
                row = said[s, c].sum()
                for v in range(k):
                    said[s, c, v] = (right if c == v else (1 - right) / (k - 1)) if coin else said[s, c, v] / row
        likelihood = 0.0
        for i in range(n):
            for c in range(k):
                posterior[i, c] = prior[c]
                for s in range(r):
                    posterior[i, c] *= said[s, c, votes[s, i]] ** w[s]
            likelihood += log(posterior[i].sum()) / n
            posterior[i] /= posterior[i].sum()
    return {"posterior": posterior, "confusion": said, "prior": prior, "likelihood": likelihood}


def test_one_step_by_hand() -> None:
    """Two searches, two items, k = 2, one made-up vote. The searches agree on item 0 (class 0) and not on item 1.

    Shares of votes: item 0 (1, 0), item 1 (1/2, 1/2). Prior: (3/2 + 1/2)/3 = 2/3 and 1/3. Search 0 says 0 twice: in
    true class 0, (1.5 + .5)/2.5 = 4/5; in class 1, (.5 + .5)/1.5 = 2/3. Search 1 says 0, then 1: in class 0, 0 with
    (1 + .5)/2.5 = 3/5; in class 1, 0 with .5/1.5 = 1/3. Item 0: 2/3 * 4/5 * 3/5 = 24/75 against 1/3 * 2/3 * 1/3 = 2/27,
    so 108/133 for class 0. Item 1: 2/3 * 4/5 * 2/5 = 16/75 against 1/3 * 2/3 * 2/3 = 4/27: 36/61.
    """
    found = dawid_skene(np.array([[0, 0], [0, 1]]), 2, iterations=1)
    assert found.iterations == 1 and found.model == "confusion"
    np.testing.assert_allclose(found.prior, [2 / 3, 1 / 3])
    np.testing.assert_allclose(found.confusion, [[[4 / 5, 1 / 5], [2 / 3, 1 / 3]], [[3 / 5, 2 / 5], [1 / 3, 2 / 3]]])
    np.testing.assert_allclose(found.accuracy, [2 / 3 * 4 / 5 + 1 / 3 * 1 / 3, 2 / 3 * 3 / 5 + 1 / 3 * 2 / 3])
    assert found.labels.tolist() == [0, 0]
    np.testing.assert_allclose(found.confidence, [108 / 133, 36 / 61])
    np.testing.assert_allclose(found.log_likelihood, (log(24 / 75 + 2 / 27) + log(16 / 75 + 4 / 27)) / 2)


def test_one_coin_by_hand() -> None:
    """The same votes. Search 0 is right in 1 + 1/2 of two items and one of two made-up votes: 5/8; search 1 alike.
    Item 0: 2/3 * 5/8 * 5/8 against 1/3 * 3/8 * 3/8: 50/59. Item 1: both factors are 5/8 * 3/8: the prior, 2/3."""
    found = dawid_skene(np.array([[0, 0], [0, 1]]), 2, iterations=1, model="one-coin")
    np.testing.assert_allclose(found.accuracy, [5 / 8, 5 / 8])
    assert found.confusion is None and found.labels.tolist() == [0, 0]
    np.testing.assert_allclose(found.confidence, [50 / 59, 2 / 3])


@pytest.mark.parametrize("model", ["confusion", "one-coin"])
@pytest.mark.parametrize("weights", [None, np.array([1.0, 0.5, 2.0, 0.0, 1.0])])
def test_equal_to_loops(model: Any, weights: np.ndarray | None) -> None:
    votes, _ = annotated([0.9, 0.7, 0.6, 0.5, 0.3], 60, 4, seed=1)
    found = dawid_skene(votes, 4, weights=weights, model=model, smoothing=0.7, iterations=6, tolerance=-1, chunk=17)
    told = in_loops(votes, 4, 6, 0.7, model == "one-coin", weights)
    assert found.iterations == 6
    np.testing.assert_allclose(found.prior, told["prior"], atol=1e-9)
    np.testing.assert_allclose(found.confidence, told["posterior"].max(1), atol=1e-9)
    assert found.labels.tolist() == told["posterior"].argmax(1).tolist()
    assert found.log_likelihood == pytest.approx(told["likelihood"], abs=1e-9)
    if model == "confusion":
        assert found.confusion is not None
        np.testing.assert_allclose(found.confusion, told["confusion"], atol=1e-9)
        np.testing.assert_allclose(found.confusion.sum(2), 1)
    else:
        np.testing.assert_allclose(found.accuracy, told["confusion"][:, 0, 0], atol=1e-9)


def same(one: DawidSkene, other: DawidSkene) -> None:
    assert np.array_equal(one.labels, other.labels) and one.iterations == other.iterations
    for name in ("confidence", "accuracy", "prior", "log_likelihood"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)


@pytest.mark.parametrize("model", ["confusion", "one-coin"])
def test_chunks_types_and_order_change_nothing(model: Any) -> None:
    votes, _ = annotated([0.9, 0.8, 0.6, 0.5, 0.4, 0.3], 200, 5, seed=2)
    whole = dawid_skene(votes, 5, model=model)
    for chunk in (1, 7, 200, 1000):
        same(whole, dawid_skene(votes, 5, model=model, chunk=chunk))
    same(whole, dawid_skene(votes.astype(np.uint8), 5, model=model))
    items = np.random.default_rng(0).permutation(200)
    moved = dawid_skene(votes[:, items], 5, model=model)
    assert np.array_equal(moved.labels, whole.labels[items])
    searches = np.array([3, 0, 5, 1, 4, 2])
    turned = dawid_skene(votes[searches], 5, model=model)
    assert np.array_equal(turned.labels, whole.labels)
    np.testing.assert_allclose(turned.accuracy, whole.accuracy[searches], atol=1e-9)
    classes = np.array([4, 2, 0, 1, 3])
    renamed = dawid_skene(classes[votes], 5, model=model)
    assert np.array_equal(renamed.labels, classes[whole.labels])
    np.testing.assert_allclose(renamed.prior[classes], whole.prior, atol=1e-9)


@pytest.mark.parametrize("model", ["confusion", "one-coin"])
def test_a_weight_of_two_is_the_search_twice_and_of_nought_is_none(model: Any) -> None:
    votes, _ = annotated([0.8, 0.6, 0.5, 0.4], 150, 3, seed=3)
    twice = dawid_skene(votes[[0, 1, 1, 2]], 3, model=model, iterations=9, tolerance=-1)
    once = dawid_skene(votes, 3, model=model, iterations=9, tolerance=-1, weights=[1, 2, 1, 0])
    assert np.array_equal(once.labels, twice.labels)
    np.testing.assert_allclose(once.confidence, twice.confidence, atol=1e-9)
    np.testing.assert_allclose(once.accuracy[:3], twice.accuracy[[0, 1, 3]], atol=1e-9)


def test_a_tie_goes_to_the_lowest_id() -> None:
    """Two pairs of searches that differ on every item in mirrored ways: nothing tells the classes apart."""
    votes = np.array([[2, 1, 2, 1], [1, 2, 1, 2]] * 2)
    for model in ("confusion", "one-coin"):
        found = dawid_skene(votes, 3, model=model)  # type: ignore[arg-type]
        assert found.labels.tolist() == [1, 1, 1, 1]
        np.testing.assert_allclose(found.confidence, found.confidence[0])


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_good_searches_outweigh_many_bad_ones(special: bool, seed: int) -> None:
    """Three searches at 0.85 among nine at 0.3: what majority loses comes back, with the class ids of the votes."""
    votes, truth = annotated([0.85] * 3 + [0.3] * 9, 2000, 5, seed, special)
    plain = (majority(votes, 5) == truth).mean()
    for model in ("confusion", "one-coin"):
        found = dawid_skene(votes, 5, model=model)  # type: ignore[arg-type]
        assert (found.labels == truth).mean() > plain + 0.03
        assert found.accuracy[:3].min() > 0.75 > 0.45 > found.accuracy[3:].max()
    full = dawid_skene(votes, 5, model="confusion")
    assert (full.labels == truth).mean() > 0.93 and full.confusion is not None
    counted = np.stack([[np.bincount(row[truth == c], minlength=5) for c in range(5)] for row in votes]) / 400
    assert np.abs(full.confusion - counted).max() < 0.12


def test_each_step_climbs() -> None:
    votes, _ = annotated([0.7, 0.6, 0.5, 0.4], 300, 4, seed=5, special=True)

    def height(found: DawidSkene) -> float:
        assert found.confusion is not None
        made_up = np.log(found.confusion).sum() / 4 + np.log(found.prior).sum() / 4
        return found.log_likelihood + float(made_up) / 300

    heights = [height(dawid_skene(votes, 4, iterations=i, tolerance=-1)) for i in range(1, 15)]
    assert (np.diff(heights) > 0).all()


def test_it_stops_at_the_tolerance() -> None:
    votes, _ = annotated([0.8, 0.7, 0.6], 300, 3, seed=6)
    loose, tight = (dawid_skene(votes, 3, tolerance=t, iterations=10_000) for t in (1e-3, 1e-9))
    assert 1 < loose.iterations < tight.iterations < 10_000
    again = dawid_skene(votes, 3, tolerance=-1, iterations=tight.iterations + 50)
    assert again.log_likelihood == pytest.approx(tight.log_likelihood, abs=1e-4)


def test_test_items_are_labelled_and_learned_nothing_from() -> None:
    votes, truth = annotated([0.85] * 3 + [0.3] * 6, 900, 4, seed=7)
    train = np.arange(900) < 600
    other = votes.copy()
    other[:, ~train] = np.random.default_rng(1).integers(0, 4, (9, 300))
    one, two, alone = (dawid_skene(v, 4, train=t) for v, t in ((votes, train), (other, train), (votes[:, train], None)))
    for found in (two, alone):
        assert np.array_equal(one.labels[train], found.labels[:600])
        np.testing.assert_allclose(one.accuracy, found.accuracy)
    assert (one.labels[~train] == truth[~train]).mean() > 0.85


def test_start_is_where_em_begins() -> None:
    """From labels with two classes exchanged, EM ends at the exchanged names; from its own answer it stays."""
    votes, _ = annotated([0.8] * 5, 400, 3, seed=8)
    found = dawid_skene(votes, 3)
    exchanged = np.array([1, 0, 2])
    other = dawid_skene(votes, 3, start=exchanged[found.labels])
    assert np.array_equal(other.labels, exchanged[found.labels])
    assert np.array_equal(dawid_skene(votes, 3, start=found.labels).labels, found.labels)


def test_a_large_table_gives_way_to_one_coin(monkeypatch: pytest.MonkeyPatch) -> None:
    votes, _ = annotated([0.8] * 4, 100, 5, seed=9)
    assert dawid_skene(votes, 5).model == "confusion"
    monkeypatch.setattr("hume_ssl.consensus.dawid_skene.FULL_UP_TO", 99)
    assert dawid_skene(votes, 5).model == "one-coin"
    assert dawid_skene(votes, 5, model="confusion").model == "confusion"


def test_one_search_or_two_and_one_class() -> None:
    """Two searches leave the class of what they differ on open; where they agree, that is it."""
    for model in ("confusion", "one-coin"):
        found = dawid_skene(np.array([[2, 0, 1, 1]]), 3, model=model)  # type: ignore[arg-type]
        assert found.labels.tolist() == [2, 0, 1, 1] and found.iterations == 1
        two = dawid_skene(np.array([[2, 0, 1, 1, 2], [2, 0, 1, 1, 0]]), 3, model=model)  # type: ignore[arg-type]
        assert two.labels.tolist()[:4] == [2, 0, 1, 1]
    for model in ("confusion", "one-coin"):
        found = dawid_skene(np.zeros((2, 3), dtype=int), 1, model=model)  # type: ignore[arg-type]
        assert found.labels.tolist() == [0, 0, 0] and found.confidence.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("votes", "options", "says"),
    [
        ([[0, 3]], {}, "0 to 3"),
        ([[0, -1]], {}, "-1"),
        ([[0.0, 1.0]], {}, "float64"),
        ([0, 1], {}, r"\(2,\)"),
        ([[0, 1]], {"weights": [1, 1]}, "weights"),
        ([[0, 1]], {"weights": [0]}, "weights"),
        ([[0, 1]], {"weights": [-1]}, "-1"),
        ([[0, 1]], {"start": np.array([0, 5])}, "5"),
        ([[0, 1]], {"start": np.array([0])}, "start"),
        ([[0, 1]], {"train": np.array([False, False])}, "train"),
        ([[0, 1]], {"smoothing": 0}, "smoothing 0"),
        ([[0, 1]], {"iterations": 0}, "iterations 0"),
    ],
)
def test_what_cannot_be_is_refused(votes: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        dawid_skene(np.array(votes), 3, **options)
