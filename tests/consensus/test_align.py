"""Class ids of labellings brought together: by hand, and what must not change it."""

import numpy as np
import pytest

from hume_ssl.consensus import align, match, match_to_old
from hume_ssl.consensus.align import match_until_stable, spectral_matching
from hume_ssl.consensus.vote import weighted_vote
from hume_ssl.metrics import ari


def test_align_by_hand() -> None:
    """k = 3. Counts of (labelling, reference): 0 with 1 three times and with 0 once; 1 with 2 twice; 2 with 0 twice and
    with 2 once. Greedy or not, the best names are 0 -> 1, 1 -> 2, 2 -> 0."""
    labelling = np.array([[0, 0, 0, 0, 1, 1, 2, 2, 2]])
    reference = np.array([1, 1, 1, 0, 2, 2, 0, 0, 2])
    every = np.ones(9, dtype=bool)
    assert match(labelling, reference, 3, every).tolist() == [[1, 2, 0]]
    assert align(labelling, reference, 3, every)[0].tolist() == [1, 1, 1, 1, 2, 2, 0, 0, 0]


def test_align_takes_the_best_sum_not_the_largest_cell() -> None:
    """Counts [[3, 2, 0], [2, 0, 0], [0, 0, 1]]: with 0 -> 0 only 3 + 0 + 1 agree; 0 -> 1, 1 -> 0 makes it 2 + 2 + 1."""
    labelling, reference = np.repeat([0, 0, 1, 2], [3, 2, 2, 1]), np.repeat([0, 1, 0, 2], [3, 2, 2, 1])
    found = align(labelling[None], reference, 3, np.ones(8, dtype=bool))[0]
    assert found.tolist() == [1, 1, 1, 1, 1, 0, 0, 2]


def test_align_counts_train_items_only() -> None:
    labelling, reference = np.array([[0, 1, 0, 0, 0]]), np.array([1, 0, 0, 0, 0])
    train = np.array([True, True, False, False, False])
    assert align(labelling, reference, 2, train)[0].tolist() == [1, 0, 1, 1, 1]


def test_align_never_merges_classes_where_the_reference_has_fewer() -> None:
    """A reference that lost class 2 or 0: a labelling of three classes keeps three, in every order of names."""
    labelling = np.array([[0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 1, 1]])
    for reference in ([0, 0, 1, 1, 1, 1], [1, 1, 2, 2, 2, 2], [1, 1, 1, 1, 1, 1]):
        found = align(labelling, np.array(reference), 3, np.ones(6, dtype=bool))
        assert [len(set(row)) for row in found] == [3, 3]
        assert all(ari(row, labelling[0]) == 1 for row in found)


def test_an_odd_reference_is_outvoted() -> None:
    """Four searches agree on classes of four, four and four; the fifth, the reference, has split the first class and
    merged the other two. Matched to it alone, the four are named by its cut: 0 -> 0 and 1, 2 -> 2 or 1, in doubt;
    matched again to their own vote, they agree wholly."""
    good = np.repeat([0, 1, 2], 4)
    odd = np.array([0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2])
    labellings = np.array([odd, good, (good + 1) % 3, (good + 2) % 3, good])
    every, weights = np.ones(12, dtype=bool), np.ones(5)

    def vote(matching: np.ndarray) -> np.ndarray:
        return weighted_vote(labellings, matching, weights, 3, odd)

    matching, labels = match_until_stable(labellings, match(labellings, odd, 3, every), 3, every, vote)
    assert ari(labels, good) == 1
    assert np.array_equal(match(labellings, labels, 3, every), matching)  # nothing would move any more


@pytest.mark.parametrize("seed", range(3))
def test_spectral_matching_need_no_matching(seed: int) -> None:
    """Weak labellings of one truth, half of each item's labels at random; the classes are named anew in each."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 400)
    labellings = np.stack(
        [rng.permutation(4)[np.where(rng.random(400) < 0.5, rng.integers(0, 4, 400), truth)] for _ in range(30)]
    )
    train = np.arange(400) < 350
    matching = spectral_matching(labellings, np.ones(30), labellings[0], 4, train)
    labels = weighted_vote(labellings, matching, np.ones(30), 4, labellings[0])
    assert ari(labels, truth) > 0.95 and (labels == labellings[0]).mean() > 0.5  # the class ids are those of the first
    noise = np.concatenate([labellings, rng.integers(0, 4, (30, 400))])
    heard = spectral_matching(noise, np.repeat([1.0, 0], 30), labellings[0], 4, train)
    assert np.array_equal(matching, heard[:30])  # what has no weight is not looked at


def test_names_are_carried_over_to_a_new_consensus() -> None:
    """Old classes 0 1 2 are now called 2 0 1, with one item moved; a class without items keeps a name of its own."""
    old, new = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([2, 2, 0, 0, 0, 1, 1])
    assert match_to_old(new, old, 3).tolist() == [1, 2, 0]
    assert sorted(match_to_old(np.zeros(7, int), old, 3)) == [0, 1, 2]
