"""ACC, ARI and NMI: by hand, against a trial of all matchings, and under renaming of classes."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from hume_ssl import metrics

FOUND = np.array([0, 0, 0, 1, 1, 2, 2, 2, 0])
TRUTH = np.array([2, 2, 1, 0, 0, 1, 1, 0, -1])


def test_confusion_by_hand() -> None:
    assert metrics.confusion(FOUND, TRUTH, 3, 3).tolist() == [[0, 1, 2], [2, 0, 0], [1, 2, 0]]


def test_hungarian_by_hand() -> None:
    """The best matching is 0 -> 2 (2 right), 1 -> 0 (2), 2 -> 1 (2): 6 of the 8 items with a known truth."""
    mapping = metrics.match_classes(FOUND, TRUTH, 3)
    assert mapping.tolist() == [2, 0, 1]
    assert metrics.accuracy(FOUND, TRUTH, mapping) == 6 / 8
    assert metrics.correct(FOUND, TRUTH, mapping).tolist() == [True, True, False, True, True, True, True, False, False]


def test_greedy_matching_would_be_worse() -> None:
    """Counts [[5, 4], [4, 0]]: taking the 5 first leaves 0, so 5 right; the Hungarian method finds 4 + 4."""
    found, truth = np.repeat([0, 0, 1], [5, 4, 4]), np.repeat([0, 1, 0], [5, 4, 4])
    assert metrics.acc(found, truth, 2) == 8 / 13


def test_fewer_true_classes_than_found_ones_leaves_one_unmatched() -> None:
    found, truth = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1])
    assert metrics.match_classes(found, truth, 3).tolist() == [0, 1, -1]
    assert metrics.acc(found, truth, 3) == 4 / 5


def test_more_true_classes_than_found_ones() -> None:
    found, truth = np.array([0, 0, 1, 1, 1]), np.array([2, 2, 0, 0, 1])
    assert metrics.match_classes(found, truth, 2).tolist() == [2, 0]
    assert metrics.acc(found, truth, 2) == 4 / 5


def test_an_item_without_a_found_label_counts_as_wrong() -> None:
    assert metrics.acc(np.array([0, 0, -1, 1]), np.array([0, 0, 1, 1]), 2) == 3 / 4


def test_matching_equals_the_best_of_all_permutations() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        found, truth = rng.integers(0, 4, (2, 60))
        best = max(np.mean(np.array(p)[found] == truth) for p in itertools.permutations(range(4)))
        assert metrics.acc(found, truth, 4) == best


def test_renaming_the_found_classes_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    found, truth = rng.integers(0, 5, 200), rng.integers(-1, 5, 200)
    renamed = rng.permutation(5)[found]
    assert metrics.acc(renamed, truth, 5) == metrics.acc(found, truth, 5)
    assert metrics.ari(renamed, truth) == pytest.approx(metrics.ari(found, truth), abs=1e-12)
    assert metrics.nmi(renamed, truth) == pytest.approx(metrics.nmi(found, truth), abs=1e-12)


def test_ari_and_nmi_leave_out_unknown_truth() -> None:
    known = TRUTH >= 0
    assert metrics.ari(FOUND, TRUTH) == adjusted_rand_score(TRUTH[known], FOUND[known])
    assert metrics.nmi(FOUND, TRUTH) == normalized_mutual_info_score(TRUTH[known], FOUND[known])


def test_no_truth_at_all_is_nan() -> None:
    unknown = np.full(9, -1)
    assert metrics.match_classes(FOUND, unknown, 3).tolist() == [-1, -1, -1]
    for value in (metrics.acc(FOUND, unknown, 3), metrics.ari(FOUND, unknown), metrics.nmi(FOUND, unknown)):
        assert np.isnan(value)
