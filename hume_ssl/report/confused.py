"""What the searches vote beside the consensus: classes they take for one another, and what else an item may be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Shares = NDArray[np.float64]

CHUNK = 1 << 18  # items at once, so that a million items of a hundred searches stay in little memory


def confusion(labellings: NDArray[Any], matching: Ids, weights: Shares, labels: Ids, train: Any, k: int) -> Shares:
    """(k, k): of the votes on train items of consensus class a, the share that says b; rows sum to 1, or 0 if empty.

    Args:
        labellings: (r, n) class ids of the searches, perhaps memory-mapped.
        matching: (r, k') consensus class of each class of each search.
        weights: (r,) of the votes; 0 = not counted.
        labels: (n,) consensus classes 0..k-1.
        train: (n,) bool.
    """
    counts = np.zeros(k * k)
    rows = np.flatnonzero(weights > 0)
    for start in range(0, len(labels), CHUNK):
        part = slice(start, start + CHUNK)
        mask = np.asarray(train[part])
        base = (labels[part] * k)[mask]
        for s in rows:
            votes = matching[s][np.asarray(labellings[s, part])][mask]
            counts += weights[s] * np.bincount(base + votes, minlength=k * k)
    table = counts.reshape(k, k)
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), 1e-12), dtype=np.float64)


def second_choice(
    labellings: NDArray[Any], matching: Ids, weights: Shares, labels: Ids, rows: Ids, k: int
) -> tuple[Ids, Shares]:
    """(m,) the class other than their own that most votes go to, and its share; -1 and 0 where all votes agree.

    Arguments as for `confusion`; `rows` (m,) ascending are the items in question.
    """
    votes = np.zeros((len(rows), k))
    here = np.arange(len(rows))
    for s in np.flatnonzero(weights > 0):
        np.add.at(votes, (here, matching[s][np.asarray(labellings[s][rows])]), weights[s])
    votes /= max(float(weights[weights > 0].sum()), 1e-12)
    votes[here, labels[rows]] = 0.0
    rival = votes.argmax(axis=1)
    share = votes[here, rival]
    return np.where(share > 0, rival, -1).astype(np.int64), share


def confused_pairs(table: Shares, count: int) -> list[tuple[int, int, float]]:
    """The `count` pairs (a, b, share) of classes most taken for one another, a < b; the share is the larger of both."""
    both = np.triu(np.maximum(table, table.T), 1)
    order = np.argsort(-both, axis=None, kind="stable")[:count]
    pairs = [(int(i // len(table)), int(i % len(table))) for i in order]
    return [(a, b, float(both[a, b])) for a, b in pairs if both[a, b] > 0]
