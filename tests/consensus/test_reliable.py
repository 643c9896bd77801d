"""The rule for reliable items and the picking of them, by hand."""

import numpy as np
import pytest

from hume_ssl.consensus import TooFewReliable, pick, reliable_items
from hume_ssl.errors import InputError

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
AGREEMENT = np.array([0.9, 0.9, 1.0, 0.5, 0.8, 0.8, 0.6, 1.0])
NEIGHBOURS = np.array([0.9, 1.0, 0.6, 1.0, 0.9, 0.9, 1.0, 0.5])
TRAIN = np.ones(8, dtype=bool)


def test_more_than_half_means_more_than_half() -> None:
    """32 of 64 searches, or 10 of 20 neighbours, are not enough; 33 and 11 are."""
    agreement = np.array([32, 33, 33, 32, 64]) / 64
    neighbours = np.array([11, 11, 10, 10, 20]) / 20
    assert reliable_items(agreement, neighbours).tolist() == [False, True, False, False, True]


def test_the_weaker_witness_ranks_then_the_sum_then_the_order_of_items() -> None:
    """Class 0: items 0 and 1 are 0.9 at the weakest, and 1 has the greater sum; 2 is 0.6; 3 is not reliable. Class 1: 4
    and 5 are equal, so 4 first; 6 is 0.6; 7 has only half of its neighbours."""
    found = pick(LABELS, AGREEMENT, NEIGHBOURS, TRAIN, 3, 2)
    assert found.index.tolist() == [1, 0, 2, 4, 5, 6]
    assert found.label.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.rank.tolist() == [1, 2, 3, 1, 2, 3]
    assert found.reason[0] == "number 1 of 3 by certainty: 90% of searches and 100% of neighbours agree"
    assert pick(LABELS, AGREEMENT, NEIGHBOURS, TRAIN, 1, 2).index.tolist() == [1, 4]


def test_test_items_are_never_picked() -> None:
    train = TRAIN.copy()
    train[[1, 4]] = False
    assert pick(LABELS, AGREEMENT, NEIGHBOURS, train, 2, 2).index.tolist() == [0, 2, 5, 6]


def test_too_few_name_how_many_each_class_has() -> None:
    with pytest.raises(TooFewReliable, match=r"--per-class 4: 2 of 2 classes have fewer .* give 3 or fewer") as caught:
        pick(LABELS, AGREEMENT, NEIGHBOURS, TRAIN, 4, 2, names=["zebra", "ant"])
    assert "\n" not in str(caught.value)
    rows = [line.split() for line in caught.value.table.splitlines()]
    assert rows == [["class", "reliable", "items"], ["zebra", "3"], ["ant", "3"]]


def test_allow_short_takes_what_there_is() -> None:
    assert pick(LABELS, AGREEMENT, NEIGHBOURS, TRAIN, 4, 2, allow_short=True).index.tolist() == [1, 0, 2, 4, 5, 6]


def test_a_class_without_reliable_items() -> None:
    with pytest.raises(TooFewReliable, match=r"1 of 3 classes .* run more searches") as caught:
        pick(LABELS, AGREEMENT, NEIGHBOURS, TRAIN, 1, 3)
    assert caught.value.table.splitlines()[-1].split() == ["class-02", "0"]
    assert set(pick(LABELS, AGREEMENT, NEIGHBOURS, TRAIN, 1, 3, allow_short=True).label) == {0, 1}


def test_no_reliable_item_at_all_is_refused_even_if_short_is_allowed() -> None:
    for allow_short in (False, True):
        with pytest.raises(TooFewReliable, match="no item is reliable"):
            pick(LABELS, AGREEMENT / 2, NEIGHBOURS, TRAIN, 1, 2, allow_short=allow_short)


@pytest.mark.parametrize("per_class", [0, -3])
def test_nothing_asked_for_is_refused(per_class: int) -> None:
    with pytest.raises(InputError, match=f"--per-class {per_class} picks nothing"):
        pick(LABELS, AGREEMENT, NEIGHBOURS, TRAIN, per_class, 2)


def test_fewer_a_class_are_the_first_of_more() -> None:
    """Selections are nested, and renaming classes only moves blocks."""
    rng = np.random.default_rng(0)
    labels, a, b = rng.integers(0, 3, 200), rng.integers(40, 65, 200) / 64, rng.integers(8, 21, 200) / 20
    train = np.ones(200, dtype=bool)
    ten, four = (pick(labels, a, b, train, n, 3) for n in (10, 4))
    assert ten.index[ten.rank <= 4].tolist() == four.index.tolist()
    renamed = pick((labels + 1) % 3, a, b, train, 4, 3)
    assert set(renamed.index) == set(four.index)
