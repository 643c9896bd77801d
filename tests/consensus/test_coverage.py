"""Greedy coverage against a loop that tries every item, and what counts as a near-duplicate."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hume_ssl.consensus.coverage import cover, near_duplicates, reach_of, stood_for, without_duplicates


def on_circle(*degrees: float) -> NDArray[np.float32]:
    """Unit rows at these angles."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def test_two_picks_cover_two_groups() -> None:
    """Angles 0, 10, 20 and 80, 90: the medoid of all is 20 (sum of cosines 4.22; 10 has 4.15, 80 has 3.68), and 90
    then stands for the other group best."""
    rows = on_circle(0, 10, 20, 80, 90)
    sums = np.cos(np.deg2rad(np.subtract.outer([0, 10, 20, 80, 90], [0, 10, 20, 80, 90]))).sum(1)
    assert sums.argmax() == 2
    assert cover(rows, np.arange(5), 1, np.zeros(5)) == [2]
    picked = cover(rows, np.arange(5), 2, np.zeros(5))
    assert picked[0] == 2 and picked[1] in (3, 4)
    assert stood_for(rows, picked).tolist() == [3, 2]
    assert cover(rows, np.arange(2), 1, np.zeros(5)) == [1]  # of the first two alone, the one nearer to the rest
    assert cover(rows, np.array([4, 3]), 1, np.zeros(5)) == [3]


@pytest.mark.parametrize("sites", [12, 40])
def test_each_step_adds_the_item_that_covers_most(sites: int) -> None:
    """A loop that works out the whole sum anew for every item that could come next."""
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(40, 5)))
    picked: list[int] = []
    for _ in range(6):
        worth = {}
        for item in set(range(sites)) - set(picked):
            worth[item] = sum(max(float(row @ rows[p]) for p in [*picked, item]) for row in rows.astype(np.float64))
        picked.append(max(worth, key=lambda item: (worth[item], -item)))
    assert cover(rows, np.arange(sites), 6, np.zeros(40)) == picked


def test_near_means_near_beside_the_class() -> None:
    """Angles 0, 4 and 40: distances are chords, 2 sin(angle / 2): 0.070 from 0 to 4, and medians 0.070, 0.070 and
    0.618; with a reach of 0.4 a quarter is 0.1, with 0.2 it is 0.05. The smaller reach of the two decides."""
    rows = on_circle(0, 4, 40)
    assert reach_of(rows) == pytest.approx([0.0698, 0.0698, 0.6180], abs=1e-3)
    assert near_duplicates(rows, 0, np.array([0.4, 0.4, 0.4])).tolist() == [True, True, False]
    assert near_duplicates(rows, 0, np.array([0.4, 0.2, 0.4])).tolist() == [True, False, False]
    assert near_duplicates(rows, 1, np.array([0.4, 0.2, 0.4])).tolist() == [False, True, False]


def test_copies_are_near_whatever_their_class_is() -> None:
    """More than half of the class is one row, so its median distance is 0."""
    rows = np.repeat(on_circle(7, 50), [5, 2], axis=0)
    assert near_duplicates(rows, 0, reach_of(rows)).tolist() == [True] * 5 + [False] * 2
    assert without_duplicates(rows, 7, reach_of(rows)) == [0, 5]
    assert cover(rows, np.arange(7), 7, reach_of(rows)) == [0, 5]


def test_what_is_picked_already_counts() -> None:
    rows = on_circle(0, 1, 90, 91, 180)
    reach = np.full(5, 1.0)
    assert without_duplicates(rows, 3, reach) == [0, 2, 4]
    assert without_duplicates(rows, 3, reach, [3]) == [3, 0, 4]
    assert without_duplicates(rows, 1, reach, [3]) == [3]


def test_a_class_of_one_and_of_none() -> None:
    assert cover(on_circle(3), np.arange(1), 4, np.zeros(1)) == [0]
    none = np.zeros((0, 2), dtype=np.float32)
    assert without_duplicates(none, 4, np.zeros(0)) == []


def test_many_picks_are_those_of_the_plain_greedy_loop() -> None:
    """Ties, near-duplicates and a shuffled order of sites among them: what is not worked out anew must not matter."""
    rng = np.random.default_rng(3)
    rows = unit(rng.normal(size=(300, 4)))
    rows[100:150] = rows[:50]
    sites, reach = rng.permutation(200), reach_of(rows)
    cosine, best, free = rows[sites] @ rows.T, np.full(300, -1, dtype=np.float32), np.ones(200, dtype=bool)
    wanted: list[int] = []
    while len(wanted) < 80 and free.any():
        gain = np.array([np.maximum(row - best, 0).sum(dtype=np.float64) for row in cosine])
        site = int(np.where(free, gain, -1).argmax())
        wanted.append(int(sites[site]))
        best = np.maximum(best, cosine[site])
        free &= ~near_duplicates(rows, wanted[-1], reach)[sites]
    assert cover(rows, sites, 80, reach) == wanted


def test_reach_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = unit(np.random.default_rng(0).normal(size=(50, 6)))
    whole = reach_of(rows)
    monkeypatch.setattr("hume_ssl.consensus.coverage.CHUNK", 7)
    assert reach_of(rows) == pytest.approx(whole, abs=1e-6)
