"""Neighbour agreement: whether the items nearest to an item have its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 200_000  # train items; beyond, an inverted file of faiss looks into some of its cells only
PROBES = 32  # cells looked into
CHUNK = 16_384  # items looked up at once


def neighbour_agreement(
    spaces: Sequence[NDArray[Any]], labels: NDArray[np.int64], train: NDArray[np.bool_], neighbours: int = 20
) -> NDArray[np.float64]:
    """(n,) share of each item's nearest train items that have its class; 1 = all of them, 1/k or so = chance.

    Nearest by cosine, in all given spaces side by side, each at unit norm; the item itself is left out.

    Args:
        spaces: (n, d) each; the judge spaces.
        labels: (n,) consensus classes.
        train: (n,) True for train items, the only ones that count as neighbours.
        neighbours: how many; all other train items where there are fewer.
    """
    index = np.flatnonzero(train)
    wanted = min(neighbours, len(index) - 1)
    if wanted < 1:
        return np.ones(len(labels))
    tree = _index(spaces, index)
    share = np.empty(len(labels))
    for start in range(0, len(labels), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(labels)))
        _, found = tree.search(_unit(spaces, rows), wanted + 1)
        items = np.where(found >= 0, index[found], rows[:, None])  # -1: a cell held too few
        own = items == rows[:, None]
        # An item that is not its own nearest has duplicates; test items have no self: the farthest is one too many.
        own[~own.any(1), -1] = True
        same = (labels[items] == labels[rows, None]) & ~own
        share[rows] = same.sum(1) / (~own).sum(1).clip(1)
    return share


def _index(spaces: Sequence[NDArray[Any]], index: NDArray[np.int64]) -> Any:
    """A faiss index over the train items; exact up to 200,000 of them."""
    import faiss

    width = sum(space.shape[1] for space in spaces)
    if len(index) <= EXACT_UP_TO:
        tree: Any = faiss.IndexFlatIP(width)
    else:
        cells = int(4 * np.sqrt(len(index)))
        tree = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
        picked = np.sort(np.random.default_rng(0).choice(index, min(len(index), 64 * cells), replace=False))
        tree.train(_unit(spaces, picked))
        tree.nprobe = min(PROBES, cells)
    for start in range(0, len(index), CHUNK):
        tree.add(_unit(spaces, index[start : start + CHUNK]))
    return tree


def _unit(spaces: Sequence[NDArray[Any]], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(len(rows), d) float32: the rows of all spaces side by side, each space's at unit norm."""
    parts = []
    for space in spaces:
        part = np.asarray(space[rows], dtype=np.float32)
        norms = np.linalg.norm(part, axis=1, keepdims=True)
        parts.append(part / np.where(norms > 0, norms, 1))
    return np.ascontiguousarray(np.hstack(parts))
