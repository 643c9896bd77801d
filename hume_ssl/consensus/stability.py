"""Stability: how well each search agrees with the others, whatever each calls its classes. No labels are needed.

Single searches differ by tens of points, and those that end in a good optimum resemble one another, whereas bad ones
are each bad in a way of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]

ITEMS = 20_000  # items the agreement is measured on, drawn once, where there are more


def stability(
    labellings: Labels, k: int, train: NDArray[np.bool_] | None = None, items: int = ITEMS
) -> NDArray[np.float64]:
    """(r,) mean adjusted Rand index of each search with all others; 1 = all found one partition, 0 = chance.

    Args:
        labellings: (r, n) class ids 0..k-1; their names need not agree.
        k: classes.
        train: (n,) True for the items that count; None: all.
        items: at most so many of them are looked at.

    Returns:
        One search alone has stability 1.
    """
    r = len(labellings)
    if r == 1:
        return np.ones(1)
    found: NDArray[np.float64] = (pairwise_ari(labellings, k, train, items).sum(1) - 1) / (r - 1)
    return found


def pairwise_ari(
    labellings: Labels, k: int, train: NDArray[np.bool_] | None = None, items: int = ITEMS
) -> NDArray[np.float64]:
    """(r, r) adjusted Rand index (Hubert and Arabie, 1985) of every two labellings, ones on the diagonal.

    Arguments as in `stability`. The contingency tables of a search with all others are one sparse product, so that
    memory is that of r labels an item looked at, however many classes there are.
    """
    from scipy.sparse import csr_array

    r, n = labellings.shape
    rows = sampled(np.arange(n) if train is None else np.flatnonzero(train), items)
    m = len(rows)
    columns = np.ascontiguousarray(labellings[:, rows].T).astype(np.int64) + k * np.arange(r)  # (m, r)
    shape = (m, r * k)
    one_hot = csr_array((np.ones(m * r, dtype=np.int64), columns.ravel(), np.arange(0, m * r + 1, r)), shape=shape)
    sizes = np.bincount(columns.ravel(), minlength=r * k).reshape(r, k).astype(np.float64)
    pairs = (sizes * (sizes - 1)).sum(1) / 2  # pairs of items that a search puts together
    together = np.empty((r, r))  # pairs that two searches put together
    for search in range(r):
        mine = csr_array((np.ones(m, dtype=np.int64), (columns[:, search] - k * search, np.arange(m))), shape=(k, m))
        table = mine @ one_hot  # (k, r * k)
        counts = table.data.astype(np.float64)
        together[search] = np.bincount(table.indices // k, counts * (counts - 1) / 2, r)
    expected = np.outer(pairs, pairs) / max(1.0, m * (m - 1) / 2)
    span = (pairs[:, None] + pairs) / 2 - expected
    # Where nothing can vary (all items in one class, or each in its own), the partitions are the same.
    found: NDArray[np.float64] = np.where(span > 0, (together - expected) / np.where(span > 0, span, 1.0), 1.0)
    np.fill_diagonal(found, 1.0)
    return found


def sampled(rows: NDArray[np.int64], items: int) -> NDArray[np.int64]:
    """`rows`, or that many of them, drawn once and for all, in ascending order."""
    if len(rows) <= items:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, items, replace=False))
