"""Which items a report shows: the most certain and most doubtful of each class, and a sample of all for the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Shares = NDArray[np.float64]

MOST_A_CLASS = 24  # of certain and of doubtful items each: three rows of eight
MOST_TILES = 6000  # in the whole gallery
ON_MAP = 3000


@dataclass(frozen=True)
class Gallery:
    """Items of one class to look at; both in order."""

    certain: Ids  # the selected ones first, then by agreement
    doubtful: Ids  # the least certain first; none of `certain`


def tiles_a_class(k: int) -> int:
    """How many certain and how many doubtful items of each of k classes there is room for: 24 of 10, 3 of 1,000."""
    return max(1, min(MOST_A_CLASS, MOST_TILES // (2 * k)))


def galleries(
    labels: Ids, agreement: Shares, neighbour_agreement: Shares, k: int, selected: Ids, count: int
) -> list[Gallery]:
    """At most `count` certain and `count` doubtful items of each class.

    Args:
        labels: (n,) classes 0..k-1; -1: of no item to show.
        agreement, neighbour_agreement: (n,) shares in [0, 1]; an item is as certain as the weaker of both, and of
            equally certain ones the sum decides, then the order.
        selected: (m,) items of the selection in its order: shown first.
        count: of each kind. A class with fewer than 2 * count items is split in halves.
    """
    weaker = np.minimum(agreement, neighbour_agreement)
    order = np.lexsort((-(agreement + neighbour_agreement), -weaker, labels))
    starts = np.searchsorted(labels[order], np.arange(k + 1))
    found = []
    for label in range(k):
        members = order[starts[label] : starts[label + 1]]
        picked = selected[labels[selected] == label] if len(selected) else selected
        half = min(count, (len(members) + 1) // 2)
        first = np.concatenate([picked, members[~np.isin(members, picked)][: max(0, half - len(picked))]])[:half]
        rest = members[::-1][: count + len(first)]
        rest = rest[~np.isin(rest, first)][:count]
        found.append(Gallery(first.astype(np.int64), rest.astype(np.int64)))
    return found


def map_items(labels: Ids, k: int, count: int = ON_MAP) -> Ids:
    """At most `count` items spread over the whole set, ascending; a small class keeps at least some of its own.

    Half of the places go to classes alike, half by size: drawn without a generator, at even distances within a class,
    so that the same run always shows the same items.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) <= count:
        return known.astype(np.int64)
    order = known[np.argsort(labels[known], kind="stable")]
    sizes = np.bincount(labels[known], minlength=k)
    wanted = np.minimum(sizes, np.maximum(1, (count * (0.5 / k + 0.5 * sizes / len(known))).astype(np.int64)))
    ends = np.cumsum(sizes)
    rows = [
        order[end - size + (np.arange(take) * size) // take]
        for size, end, take in zip(sizes.tolist(), ends.tolist(), wanted.tolist(), strict=True)
        if take
    ]
    return np.sort(np.concatenate(rows))[:count].astype(np.int64)


def plane(space: NDArray[Any], rows: Ids, method: str = "pca") -> Shares:
    """(m, 2) places of items on a map, each axis scaled to [0, 1].

    Args:
        space: (n, d) floats, perhaps memory-mapped; rows are brought to unit norm, as the searches see them.
        rows: (m,) ascending.
        method: "pca": the first two principal directions of these rows; "umap": umap-learn with its defaults and a
            fixed seed (`pip install 'hume_ssl[umap]'`).
    """
    x = np.asarray(space[rows], dtype=np.float32)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    if method == "umap" and len(rows) > 3:
        import umap

        flat = umap.UMAP(random_state=0, n_jobs=1, n_neighbors=min(15, len(rows) - 1)).fit_transform(x)
    else:
        x = x - x.mean(axis=0)
        _, vectors = np.linalg.eigh(x.T @ x) if x.shape[1] <= len(x) else (None, np.linalg.svd(x, False)[2].T[:, ::-1])
        top = vectors[:, ::-1][:, :2]
        top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(top.shape[1])])  # one of two signs, always
        flat = np.zeros((len(x), 2), dtype=np.float32)
        flat[:, : top.shape[1]] = x @ top
    low = flat.min(axis=0)
    return np.asarray((flat - low) / np.maximum(flat.max(axis=0) - low, 1e-12), dtype=np.float64)
