"""Votes by hand, and what must not change them."""

import numpy as np
import pytest

from hume_ssl.consensus import align, find_consensus, vote_share, weighted_vote
from hume_ssl.metrics import ari

PAPER = {"align": "reference", "weights": "equal"}
KINDS = [{"align": a, "weights": w} for a in ("reference", "stable", "spectral") for w in ("equal", "objective")]


def test_vote_with_a_tie() -> None:
    """Four searches, all with one vote, as no objective is given. The last two items have two votes each for two
    classes: the class of the reference wins, here the second search, which has the best score."""
    labellings = np.array([[0, 0, 1, 1, 2, 2, 0, 1]] * 2 + [[0, 0, 1, 1, 2, 2, 1, 2]] * 2)
    found = find_consensus(labellings, 3, scores=[0.1, 0.9, 0.2, 0.3], align="reference")
    assert found.reference == 1 and found.weights.tolist() == [1] * 4
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 0, 1]
    assert found.agreement.tolist() == [1, 1, 1, 1, 1, 1, 0.5, 0.5]
    other = find_consensus(labellings, 3, scores=[0.1, 0.2, 0.9, 0.3], align="reference")
    assert other.labels.tolist() == [0, 0, 1, 1, 2, 2, 1, 2]


def test_weighted_vote_by_hand() -> None:
    """Weights 0.4, 0.3, 0.2 and none: item 0 has 0.4 for class 2 against 0.3 + 0.2 for class 1; item 1 is between 0.4
    for class 0 and 0.4 for class 2, tied but for the fourth, which has no vote: class 0, the lowest, as the tie
    breaker names a third class; item 2 the same, with class 2 as its tie breaker."""
    labellings = np.array([[2, 0, 0], [1, 2, 2], [1, 2, 2], [1, 2, 2]])
    same = np.tile(np.arange(3), (4, 1))
    weights = np.array([0.4, 0.3, 0.2, 0.0])
    assert weighted_vote(labellings, same, weights, 3, np.array([0, 0, 0])).tolist() == [1, 2, 2]
    even = np.array([0.4, 0.2, 0.2, 0.0])
    assert weighted_vote(labellings, same, even, 3, np.array([0, 1, 2])).tolist() == [1, 0, 2]
    # 0.1 + 0.2 against 0.3: rounding is no vote
    thirds = np.array([0.3, 0.1, 0.2, 0.0])
    assert weighted_vote(labellings, same, thirds, 3, np.array([2, 0, 2])).tolist() == [2, 0, 2]
    share = vote_share(labellings, same, weights, np.array([1, 2, 0]))
    assert share == pytest.approx(np.array([0.5, 0.5, 0.4]) / 0.9)


def test_votes_follow_the_matching_of_each_search() -> None:
    labellings = np.array([[0, 0, 1, 1], [1, 1, 0, 0]])
    swapped = np.array([[0, 1], [1, 0]])
    labels = weighted_vote(labellings, swapped, np.ones(2), 2, np.zeros(4, dtype=int))
    assert labels.tolist() == [0, 0, 1, 1]
    assert vote_share(labellings, swapped, np.ones(2), labels).tolist() == [1] * 4


def test_chunks_of_items_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    labellings, scores, objective = noisy(9, 120, 3)
    whole = find_consensus(labellings, 3, scores=scores, objective=objective)
    monkeypatch.setattr("hume_ssl.consensus.vote.BALLOT", 21)
    parts = find_consensus(labellings, 3, scores=scores, objective=objective)
    assert np.array_equal(whole.labels, parts.labels) and np.array_equal(whole.agreement, parts.agreement)


def test_the_better_half_by_objective_votes() -> None:
    """Objectives 4, 1, 3, 2 and half of four voters: searches 1 and 3. They say class 1 of the last item; the
    agreement is theirs alone."""
    labellings = np.array([[0, 0, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]])
    options = {"scores": [0.9, 0.5, 0.4, 0.6], "objective": [4.0, 1, 3, 2]}
    found = find_consensus(labellings, 2, weights="equal", voters=0.5, **options)
    assert found.weights.tolist() == [0, 1, 0, 1] and found.reference == 1
    assert found.labels.tolist() == [0, 0, 1, 1, 1] and found.agreement.tolist() == [1] * 5
    why = "not asked: only the heaviest 2 vote, consensus.voters = 0.5"
    assert found.left_out == [why, "", why, ""]
    paper = find_consensus(labellings, 2, **PAPER, **options)
    assert paper.weights.tolist() == [1] * 4 and paper.reference == 0
    assert paper.labels.tolist() == [0, 0, 1, 1, 0] and paper.agreement.tolist() == [1, 1, 1, 1, 0.5]


def test_a_search_that_lost_a_class_is_left_out_where_most_have_all() -> None:
    """Search 0 has the best objective and score, but one class. Where only one of four is whole all four vote."""
    whole = [0, 0, 1, 1]
    labellings = np.array([[0] * 4, whole, whole, whole])
    options = {"scores": [1.0, 0.5, 0.6, 0.7], "objective": [1.0, 4, 3, 2]}
    for kind in KINDS:
        found = find_consensus(labellings, 2, **kind, **options)
        assert found.left_out == ["collapsed: 1 of 2 classes", "", "", ""]
        assert found.weights[0] == 0 and found.weights[3] == 1 and found.reference == 3
        assert found.agreement.tolist() == [1] * 4
    few = find_consensus(np.array([[0] * 4, [1] * 4, [0] * 4, whole]), 2, **PAPER, **options)
    assert few.left_out == [""] * 4 and few.weights.tolist() == [1] * 4


def test_no_search_is_without_a_vote_and_without_a_reason() -> None:
    """All agree on the partition; the last one's objective is so far behind that its weight is no number above 0."""
    found = find_consensus(np.array([[0, 0, 1, 1]] * 4), 2, scores=[0.5] * 4, objective=[1.0, 1.1, 1.2, 1e6])
    assert found.weights[3] == 0 and found.left_out == [
        "",
        "",
        "",
        "too light: by objective too far behind the best to count",
    ]


def test_equal_items_are_one_class_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    found = find_consensus(np.zeros((3, 9), dtype=int), 3, scores=[0.1, 0.2, 0.3], align="spectral")
    assert found.labels.tolist() == [0] * 9 and found.agreement.tolist() == [1] * 9
    assert not recwarn.list


def test_one_search_is_its_own_consensus() -> None:
    for kind in KINDS:
        found = find_consensus(np.array([[2, 0, 1, 1]]), 3, scores=[0.3], objective=[1.0], **kind)
        assert found.labels.tolist() == [2, 0, 1, 1] and found.agreement.tolist() == [1] * 4


def noisy(r: int, n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(r, n) labellings of one truth with a third of errors; scores and objectives without ties."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    wrong = rng.random((r, n)) < 0.3
    return np.where(wrong, rng.integers(0, k, (r, n)), truth), rng.random(r), rng.random(r)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_class_ids_of_the_labellings_do_not_change_the_partition(seed: int, kind: dict[str, str]) -> None:
    """Weights and reference stay to the bit."""
    labellings, scores, objective = noisy(21, 300, 4, seed)
    rng = np.random.default_rng(100 + seed)
    renamed = np.stack([rng.permutation(4)[row] for row in labellings])
    one = find_consensus(labellings, 4, scores=scores, objective=objective, **kind)
    other = find_consensus(renamed, 4, scores=scores, objective=objective, **kind)
    untied = one.agreement > 0.5
    assert untied.mean() > 0.85
    assert ari(one.labels[untied], other.labels[untied]) == 1
    assert np.allclose(one.agreement[untied], other.agreement[untied])
    assert one.reference == other.reference and np.array_equal(one.weights, other.weights)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_voted_away(kind: dict[str, str]) -> None:
    labellings, scores, objective = noisy(21, 300, 4)
    found = find_consensus(labellings, 4, scores=scores, objective=objective, **kind)
    single = np.mean([ari(row, np.arange(300) % 4) for row in labellings])
    assert single < 0.6 and ari(found.labels, np.arange(300) % 4) > 0.85


def test_order_of_items_and_copies_of_all_searches_change_nothing() -> None:
    labellings, scores, objective = noisy(9, 120, 3)
    order = np.random.default_rng(1).permutation(120)
    one = find_consensus(labellings, 3, scores=scores, objective=objective)
    moved = find_consensus(labellings[:, order], 3, scores=scores, objective=objective)
    assert np.array_equal(one.labels[order], moved.labels)
    every = find_consensus(labellings, 3, scores=scores)
    twice = find_consensus(np.tile(labellings, (2, 1)), 3, scores=np.tile(scores, 2))
    assert np.array_equal(every.labels, twice.labels) and np.allclose(every.agreement, twice.agreement)


@pytest.mark.parametrize("kind", KINDS)
def test_test_items_change_no_label_of_a_train_item(kind: dict[str, str]) -> None:
    labellings, scores, objective = noisy(9, 120, 3)
    train = np.arange(120) < 90
    other = labellings.copy()
    other[:, ~train] = np.random.default_rng(2).integers(0, 3, (9, 30))
    options = {"scores": scores, "objective": objective, "train": train, **kind}
    one, two = (find_consensus(x, 3, **options) for x in (labellings, other))
    assert np.array_equal(one.labels[train], two.labels[train]) and one.reference == two.reference


def test_a_class_that_only_test_items_have_does_not_count_as_found() -> None:
    """Search 0 has class 1 among test items only."""
    labellings = np.array([[0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 1]])
    train = np.array([True] * 4 + [False] * 2)
    found = find_consensus(labellings, 2, scores=[0.9, 0.1, 0.2], objective=[0.1, 0.2, 0.3], train=train)
    assert found.left_out[0].startswith("collapsed") and found.reference == 1


def test_dawid_skene_reads_votes_by_how_searches_err() -> None:
    """Three searches of noise against two that are right nine times of ten: a plain vote hears the noise."""
    rng = np.random.default_rng(3)
    truth = np.arange(600) % 3
    rates = [0.1, 0.1, 0.6, 0.6, 0.6]
    labellings = np.stack([np.where(rng.random(600) < rate, rng.integers(0, 3, 600), truth) for rate in rates])
    plain = find_consensus(labellings, 3, scores=np.arange(5, 0, -1), **PAPER)
    found = find_consensus(labellings, 3, scores=np.arange(5, 0, -1), vote="dawid-skene", **PAPER)
    assert ari(found.labels, truth) > ari(plain.labels, truth) + 0.05
    assert found.agreement == pytest.approx((align(labellings, found.labels, 3, truth >= 0) == found.labels).mean(0))
