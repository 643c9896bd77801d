"""Alignment and vote by hand, and what must not change them."""

import numpy as np
import pytest

from hume_ssl.consensus import align, find_consensus, match_to_old
from hume_ssl.metrics import ari


def test_align_by_hand() -> None:
    """k = 3. Counts of (labelling, reference): 0 with 1 three times and with 0 once; 1 with 2 twice; 2 with 0 twice and
    with 2 once. Greedy or not, the best names are 0 -> 1, 1 -> 2, 2 -> 0."""
    labelling = np.array([[0, 0, 0, 0, 1, 1, 2, 2, 2]])
    reference = np.array([1, 1, 1, 0, 2, 2, 0, 0, 2])
    every = np.ones(9, dtype=bool)
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


def test_vote_with_a_tie() -> None:
    """Four searches, all voting. The last two items have two votes each for two classes: the lowest id wins, whichever
    search it comes from. The reference is the second, with the best score."""
    labellings = np.array([[0, 0, 1, 1, 2, 2, 0, 1], [0, 0, 1, 1, 2, 2, 0, 1]] + [[0, 0, 1, 1, 2, 2, 1, 2]] * 2)
    found = find_consensus(labellings, 3, scores=[0.1, 0.9, 0.2, 0.3])
    assert found.reference == 1 and found.voters.tolist() == [0, 1, 2, 3]
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 0, 1]
    assert found.agreement.tolist() == [1, 1, 1, 1, 1, 1, 0.5, 0.5]


def test_the_better_half_by_objective_votes_and_agreement_is_over_all() -> None:
    """Objectives 4, 1, 3, 2: searches 1 and 3 vote. They say class 1 of the last item, which half of all agree with;
    the reference is the better scored of the two, whatever search 0 scores."""
    labellings = np.array([[0, 0, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]])
    found = find_consensus(labellings, 2, scores=[0.9, 0.5, 0.4, 0.6], objective=[4.0, 1, 3, 2])
    assert found.voters.tolist() == [1, 3] and found.reference == 3
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    assert found.agreement.tolist() == [1, 1, 1, 1, 0.5]
    every = find_consensus(labellings, 2, scores=[0.9, 0.5, 0.4, 0.6], objective=[4.0, 1, 3, 2], voters=1.0)
    assert every.voters.tolist() == [0, 1, 2, 3] and every.reference == 0 and every.labels.tolist() == [0, 0, 1, 1, 0]


def test_a_search_that_lost_a_class_votes_only_where_too_few_have_all() -> None:
    """Search 0 has the best objective but one class. With two of four voters wanted and three whole ones: 2 and 3. With
    all four wanted: the three. Where only one of four is whole, too few for half of four, all four vote."""
    whole = [0, 0, 1, 1]
    labellings = np.array([[0] * 4, whole, whole, whole])
    options = {"scores": [1.0, 0.5, 0.6, 0.7], "objective": [1.0, 4, 3, 2]}
    assert find_consensus(labellings, 2, **options).voters.tolist() == [2, 3]
    found = find_consensus(labellings, 2, voters=1.0, **options)
    assert found.voters.tolist() == [1, 2, 3] and found.reference == 3
    few = find_consensus(np.array([[0] * 4, [1] * 4, [0] * 4, whole]), 2, voters=1.0, **options)
    assert few.voters.tolist() == [0, 1, 2, 3]


def test_one_search_is_its_own_consensus() -> None:
    found = find_consensus(np.array([[2, 0, 1, 1]]), 3, scores=[0.3], objective=[1.0])
    assert found.labels.tolist() == [2, 0, 1, 1] and found.agreement.tolist() == [1] * 4


def noisy(r: int, n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(r, n) labellings of one truth with a third of errors; scores and objectives without ties."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    wrong = rng.random((r, n)) < 0.3
    return np.where(wrong, rng.integers(0, k, (r, n)), truth), rng.random(r), rng.random(r)


@pytest.mark.parametrize("seed", range(4))
def test_class_ids_of_the_labellings_do_not_change_the_partition(seed: int) -> None:
    """Ten voters of 20; agreement, voters and reference stay to the bit."""
    labellings, scores, objective = noisy(21, 300, 4, seed)
    rng = np.random.default_rng(100 + seed)
    renamed = np.stack([rng.permutation(4)[row] for row in labellings])
    one = find_consensus(labellings, 4, scores=scores, objective=objective, voters=1.0)
    other = find_consensus(renamed, 4, scores=scores, objective=objective, voters=1.0)
    untied = one.agreement > 0.5  # ids break ties between equally many votes, so only there may the partition turn
    assert untied.mean() > 0.95
    assert ari(one.labels[untied], other.labels[untied]) == 1
    assert np.array_equal(one.agreement[untied], other.agreement[untied])
    assert one.reference == other.reference and np.array_equal(one.voters, other.voters)


def test_order_of_items_and_copies_of_all_searches_change_nothing() -> None:
    labellings, scores, objective = noisy(9, 120, 3)
    order = np.random.default_rng(1).permutation(120)
    one = find_consensus(labellings, 3, scores=scores, objective=objective)
    moved = find_consensus(labellings[:, order], 3, scores=scores, objective=objective)
    assert np.array_equal(one.labels[order], moved.labels)
    every = find_consensus(labellings, 3, scores=scores)
    twice = find_consensus(np.tile(labellings, (2, 1)), 3, scores=np.tile(scores, 2))
    assert np.array_equal(every.labels, twice.labels) and np.array_equal(every.agreement, twice.agreement)


def test_test_items_change_no_label_of_a_train_item() -> None:
    labellings, scores, objective = noisy(9, 120, 3)
    train = np.arange(120) < 90
    other = labellings.copy()
    other[:, ~train] = np.random.default_rng(2).integers(0, 3, (9, 30))
    one, two = (find_consensus(x, 3, scores=scores, objective=objective, train=train) for x in (labellings, other))
    assert np.array_equal(one.labels[train], two.labels[train]) and one.reference == two.reference


def test_a_class_that_only_test_items_have_does_not_count_as_found() -> None:
    """Search 0 has class 1 among test items only."""
    labellings = np.array([[0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 1]])
    train = np.array([True] * 4 + [False] * 2)
    found = find_consensus(labellings, 2, scores=[0.9, 0.1, 0.2], objective=[0.1, 0.2, 0.3], train=train, voters=1.0)
    assert found.voters.tolist() == [1, 2]


def test_names_are_carried_over_to_a_new_consensus() -> None:
    """Old classes 0 1 2 are now called 2 0 1, with one item moved; a class without items keeps a name of its own."""
    old, new = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([2, 2, 0, 0, 0, 1, 1])
    assert match_to_old(new, old, 3).tolist() == [1, 2, 0]
    assert sorted(match_to_old(np.zeros(7, int), old, 3)) == [0, 1, 2]
