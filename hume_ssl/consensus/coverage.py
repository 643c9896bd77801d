"""Items that stand for others: greedy coverage of a class, and near-duplicates, which stand for nobody else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SAME = 0.25  # a near-duplicate lies within this share of the median distance to the items of the class
CHUNK = 2000  # items measured against all others at once
ROUNDING = 1e-3  # distance that two equal rows may seem to have in float32

Rows = NDArray[np.float32]


def cover(rows: Rows, sites: NDArray[np.int64], n: int, reach: NDArray[np.float64]) -> list[int]:
    """Positions of at most `n` items that together lie nearest to all others: greedy facility location.

    Each step takes, among `sites`, the one that raises most the sum over all items of the cosine to
    the nearest pick; the first is therefore a medoid. Of equals the first site. Greedy reaches at least 1 - 1/e of the
    best sum (Nemhauser, Wolsey and Fisher, 1978). Near-duplicates of a pick are passed over, so fewer may come back.

    Args:
        rows: (m, d) unit rows of the items of one class.
        sites: (s,) positions of those that may be picked.
        n: how many to pick.
        reach: (m,) from `reach_of`.

    Takes m s floats. What a site adds only falls as others are picked, so it is worked out anew for those alone that
    may still be the best (lazy greedy: Minoux, 1978): the same picks, in a fraction of the m s operations a pick.
    """
    cosine = rows[sites] @ rows.T  # (s, m)
    best = np.full(len(rows), -1.0, dtype=np.float32)
    free = np.ones(len(sites), dtype=bool)
    picked: list[int] = []
    gain = np.full(len(sites), np.inf)  # at most what a site adds
    known = np.full(len(sites), -1)  # how many were picked when it was worked out
    while len(picked) < n and free.any():
        site = int(gain.argmax())
        if known[site] < len(picked):
            gain[site] = np.maximum(cosine[site] - best, 0).sum(dtype=np.float64)
            known[site] = len(picked)
            continue
        picked.append(int(sites[site]))
        best = np.maximum(best, cosine[site])
        free &= ~near_duplicates(rows, picked[-1], reach)[sites]
        gain[~free] = -np.inf
    return picked


def without_duplicates(rows: Rows, n: int, reach: NDArray[np.float64], picked: Sequence[int] = ()) -> list[int]:
    """Positions of `picked` and, up to `n` in all, the first items (m, d) that are no near-duplicates of one."""
    places = list(picked)
    free = np.ones(len(rows), dtype=bool)
    for place in places:
        free &= ~near_duplicates(rows, place, reach)
    for place in range(len(rows)):
        if len(places) >= n:
            break
        if free[place]:
            places.append(place)
            free &= ~near_duplicates(rows, place, reach)
    return places


def near_duplicates(rows: Rows, place: int, reach: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(m,) which items (m, d) are near-duplicates of one of them, itself among them.

    Measured against their own class, so that one setting holds for spaces where all cosines are high and where all are
    low: nearer than a quarter of the smaller of both items' median distances to the items of the class.
    """
    found: NDArray[np.bool_] = _distance(rows @ rows[place]) <= SAME * np.minimum(reach, reach[place]) + ROUNDING
    found[place] = True
    return found


def reach_of(rows: Rows) -> NDArray[np.float64]:
    """(m,) median distance of each item to the items of its class (m, d), unit rows, itself among them; 0 to 2."""
    median = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), CHUNK):
        median[start : start + CHUNK] = np.median(rows[start : start + CHUNK] @ rows.T, axis=1)
    return np.asarray(_distance(median), dtype=np.float64)


def stood_for(rows: Rows, picked: Sequence[int]) -> NDArray[np.int64]:
    """(len(picked),) how many of the items (m, d) have each pick as their nearest pick, itself among them."""
    nearest = (rows @ rows[list(picked)].T).argmax(1)
    nearest[list(picked)] = np.arange(len(picked))
    return np.bincount(nearest, minlength=len(picked))


def _distance(cosine: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(np.sqrt(np.clip(2 - 2 * cosine, 0, 4)))
