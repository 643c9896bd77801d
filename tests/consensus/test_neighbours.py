"""Neighbour agreement by hand, with duplicates, with test items, and against a search by sorting."""

import numpy as np
import pytest

from hume_ssl.consensus import neighbours as module
from hume_ssl.consensus.neighbours import neighbour_agreement


def plane(*degrees: float) -> np.ndarray:
    """Points on the unit circle."""
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def every(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


def test_five_points_by_hand() -> None:
    """Angles 0 10 25 100 112, two neighbours each, itself left out. 0: 10 and 25, classes 0 and 1, share 1/2 for class
    0. 10: 0 and 25, 1/2. 25 (class 1): 10 and 0, none. 100: 112 and 25, both of class 1. 112: 100 and 25, both."""
    found = neighbour_agreement([plane(0, 10, 25, 100, 112)], np.array([0, 0, 1, 1, 1]), every(5), 2)
    assert found.tolist() == [0.5, 0.5, 0, 1, 1]


def test_exact_duplicates_count_as_neighbours_but_not_the_item_itself() -> None:
    """Three copies at 0 with classes 0 0 1, one point at 90. Each copy's two nearest are the other copies."""
    found = neighbour_agreement([plane(0, 0, 0, 90)], np.array([0, 0, 1, 1]), every(4), 2)
    assert found[:3].tolist() == [0.5, 0.5, 0]


def test_more_duplicates_than_neighbours() -> None:
    """Thirty copies, two neighbours: the item may not be among the three nearest found; the share is still of two."""
    labels = np.array([0] * 30 + [1] * 3)
    found = neighbour_agreement([plane(*[40] * 30, *[200] * 3)], labels, every(33), 2)
    assert found.tolist() == [1] * 33
    mixed = neighbour_agreement([plane(*[40] * 30)], np.arange(30) % 2, every(30), 2)
    assert set(mixed) <= {0, 0.5, 1}


def test_test_items_look_among_train_items_and_are_nobodys_neighbours() -> None:
    """Items 2 and 5 (at 5 and 185 degrees) are test items: with one neighbour each, 0 sees 10 and not 5."""
    space, train = plane(0, 10, 5, 180, 190, 185), np.array([True, True, False, True, True, False])
    labels = np.array([0, 0, 1, 1, 1, 1])
    assert neighbour_agreement([space], labels, train, 1).tolist() == [1, 1, 0, 1, 1, 1]


def test_a_test_item_has_as_many_neighbours_as_a_train_item() -> None:
    """Two neighbours of the test item at 12: 10 and 20 (classes 0 and 1), not also 0."""
    train = np.array([True, True, True, False])
    found = neighbour_agreement([plane(0, 10, 20, 12)], np.array([1, 0, 1, 1]), train, 2)
    assert found[3] == 0.5


def test_fewer_train_items_than_neighbours() -> None:
    found = neighbour_agreement([plane(0, 10, 20)], np.array([0, 0, 1]), every(3), 20)
    assert found.tolist() == [0.5, 0.5, 0]
    assert neighbour_agreement([plane(0, 10)], np.array([0, 1]), np.array([True, False]), 20).tolist() == [1, 1]


def test_the_length_of_rows_changes_nothing_and_zero_rows_are_no_error() -> None:
    rng = np.random.default_rng(0)
    space, labels = rng.standard_normal((60, 5)), rng.integers(0, 3, 60)
    one = neighbour_agreement([space], labels, every(60), 5)
    assert np.array_equal(one, neighbour_agreement([space * 2.0 ** rng.integers(-3, 4, (60, 1))], labels, every(60), 5))
    space[7] = 0
    assert np.isfinite(neighbour_agreement([space], labels, every(60), 5)).all()


def test_class_ids_and_the_order_of_items_change_nothing() -> None:
    rng = np.random.default_rng(1)
    space, labels, train = rng.standard_normal((80, 4)), rng.integers(0, 3, 80), rng.random(80) < 0.8
    order, ids = rng.permutation(80), np.array([2, 0, 1])
    one = neighbour_agreement([space], labels, train, 7)
    assert np.array_equal(one, neighbour_agreement([space], ids[labels], train, 7))
    assert np.array_equal(one[order], neighbour_agreement([space[order]], labels[order], train[order], 7))


def by_sorting(spaces: list[np.ndarray], labels: np.ndarray, train: np.ndarray, wanted: int) -> np.ndarray:
    unit = np.hstack([s / np.linalg.norm(s, axis=1, keepdims=True) for s in spaces])
    share = []
    for i, row in enumerate(unit):
        others = [j for j in np.flatnonzero(train) if j != i]
        nearest = sorted(others, key=lambda j: -(unit[j] @ row))[:wanted]
        share.append(np.mean(labels[nearest] == labels[i]))
    return np.array(share)


@pytest.mark.parametrize("chunk", [16_384, 33])
def test_it_is_what_sorting_all_pairs_gives(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two spaces of other lengths side by side, each at unit norm; chunks that do not divide n."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    rng = np.random.default_rng(2)
    spaces = [rng.standard_normal((150, 6)), 50 * rng.standard_normal((150, 3))]
    labels, train = rng.integers(0, 3, 150), rng.random(150) < 0.7
    found = neighbour_agreement(spaces, labels, train, 9)
    np.testing.assert_allclose(found, by_sorting(spaces, labels, train, 9), atol=1e-12)


def test_beyond_the_exact_limit_shares_are_close_to_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inverted file that looks into some cells: on 600 points most shares are the exact ones."""
    rng = np.random.default_rng(3)
    space, labels = rng.standard_normal((600, 4)).astype(np.float32), rng.integers(0, 3, 600)
    exact = neighbour_agreement([space], labels, every(600), 10)
    monkeypatch.setattr(module, "EXACT_UP_TO", 100)
    close = neighbour_agreement([space], labels, every(600), 10)
    assert (np.abs(close - exact) <= 0.1 + 1e-9).mean() > 0.95
    monkeypatch.setattr(module, "PROBES", 1)  # cells of about six items: fewer than ten neighbours are found
    few = neighbour_agreement([space], labels, every(600), 10)
    assert ((few >= 0) & (few <= 1)).all()
