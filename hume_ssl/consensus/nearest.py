"""The nearest distinct rows of every item, with faiss: all pairs compared, or cells with a measured recall.

Exact up to 200,000 distinct train rows: one product of all pairs (n = 200,000, d = 256: 20 TFLOP). Beyond, an inverted
file looks into the cells nearest to a row alone. How many, is found by measuring: the true neighbours of a sample of
rows are worked out, and more cells looked into until at least 95 % of them are found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.progress import Progress

EXACT_UP_TO = 200_000  # distinct train rows
RECALL = 0.95  # share of the true neighbours that must be found beyond that
SAMPLE = 1000  # rows on which the recall is measured
CHUNK = 16_384  # rows looked up at once

Spaces = Sequence[NDArray[Any]]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Nearest:
    """The nearest distinct rows of n items that have g distinct rows: exact copies share one.

    Of `find_nearest_of_new`, `near` has a row for each of m new items instead.
    """

    row: NDArray[np.int32]  # (n,) which distinct row an item has, 0..g-1 in the order of their first items
    near: NDArray[np.int32]  # (g, wanted) the nearest other distinct rows that train items have; -1 = there are no more
    how: str  # for the user: exact, or how many cells were looked into and the recall measured


def find_nearest(
    spaces: Spaces, train: NDArray[np.bool_], neighbours: int = 20, progress: Progress | None = None
) -> Nearest:
    """The distinct train rows nearest to every item by cosine, in all given spaces side by side, each at unit norm.

    Items whose rows at unit norm are equal in every bit are one row here, which is never its own neighbour. Spaces may
    be memory-mapped; they are read a chunk of rows at a time. What it takes in memory is the index, 4 d bytes a
    distinct train row, 2 d beyond 200,000 of them (n = 1.28 million, d = 1024: 2.6 GB, or 5.2 GB where half precision
    does not reach the recall), 4 * neighbours bytes an item, and, before there is an index, some 250 bytes an item.

    Args:
        spaces: (n, d) each.
        train: (n,) True for train items, the only ones that are neighbours.
        neighbours: how many; all other distinct train rows where there are fewer.
        progress: advanced by one a distinct row looked up.
    """
    row, first, _ = _distinct(spaces, {})
    voters, index, how = _index(spaces, row, first, train, neighbours)
    return Nearest(row, _look_up(spaces, first, np.arange(len(first)), voters, index, neighbours, progress), how)


def find_nearest_of_new(spaces: Spaces, new: Spaces, train: NDArray[np.bool_], neighbours: int = 20) -> Nearest:
    """The distinct train rows nearest to each of m new items, as `find_nearest` would find them among the items.

    Args:
        spaces, train, neighbours: as there, of the n items.
        new: (m, d) each, the new items in the same spaces.

    Returns:
        with `row` (n,) of the items, and `near` (m, wanted) of the new ones; a new item's own row, where an item has
        the same, is left out.
    """
    row, first, seen = _distinct(spaces, {})
    voters, index, how = _index(spaces, row, first, train, neighbours)
    own, _, _ = _distinct(new, seen)  # rows that no item has get numbers beyond those of the items
    return Nearest(row, _look_up(new, np.arange(len(own)), own, voters, index, neighbours), how)


def _index(
    spaces: Spaces, row: NDArray[np.int32], first: Rows, train: NDArray[np.bool_], neighbours: int
) -> tuple[NDArray[np.int32], Any, str]:
    """The distinct rows of train items, an index of them in this order, and what it is."""
    voters = np.unique(row[train])
    few = len(voters) <= EXACT_UP_TO
    index, how = _exact(spaces, first[voters]) if few else _cells(spaces, first[voters], min(neighbours, len(voters)))
    return voters, index, how


def _look_up(
    spaces: Spaces,
    items: Rows,
    own: NDArray[Any],
    voters: NDArray[np.int32],
    index: Any,
    neighbours: int,
    progress: Progress | None = None,
) -> NDArray[np.int32]:
    """(len(items), wanted) the distinct rows nearest to those of `items`, other than their `own`; -1 = no more."""
    wanted = min(neighbours, len(voters))
    place = np.searchsorted(voters, own).clip(max=len(voters) - 1)
    place[voters[place] != own] = -2  # it is not in the index; -1 is what faiss says where it finds nothing
    near = np.full((len(items), wanted), -1, dtype=np.int32)
    for start in range(0, len(items), CHUNK):
        rows = slice(start, start + CHUNK)
        _, found = index.search(_unit(spaces, items[rows]), wanted + 1)
        found = _others(found, place[rows])
        near[rows] = np.where(found >= 0, voters[found], -1)
        if progress is not None:
            progress.advance(len(found))
    return near


def _distinct(spaces: Spaces, known: dict[bytes, int]) -> tuple[NDArray[np.int32], Rows, dict[bytes, int]]:
    """(n,) the distinct row of each item, (g,) the first item of each, ascending, and the digests that tell them: that
    two of a billion different ones have the same 128 bits has a chance of 1e-21. Rows `known` keep their numbers."""
    seen, begun = dict(known), len(known)
    row = np.empty(len(spaces[0]), dtype=np.int32)
    first: list[int] = []
    for start in range(0, len(row), CHUNK):
        unit = _unit(spaces, np.arange(start, min(start + CHUNK, len(row)))) + np.float32(0)  # -0 is 0
        for item, values in enumerate(unit, start):
            row[item] = seen.setdefault(hashlib.blake2b(values, digest_size=16).digest(), len(seen))
            if row[item] == begun + len(first):
                first.append(item)
    return row, np.array(first, dtype=np.int64), seen


def _others(found: Rows, own: Rows) -> Rows:
    """(b, wanted) of (b, wanted + 1) neighbours, without the row itself, by its place `own` (b,) and not by the order:
    rounding may put another row first. Where it was not found the farthest is one too many."""
    is_own = found == own[:, None]
    is_own[~is_own.any(1), -1] = True
    others: Rows = found[~is_own].reshape(len(found), -1)
    return others


def _exact(spaces: Spaces, items: Rows) -> tuple[Any, str]:
    """A faiss index that compares with every one of the rows of `items`."""
    import faiss

    index = faiss.IndexFlatIP(_width(spaces))
    _fill(index, spaces, items)
    return index, f"exact among {len(items):,} distinct train rows"


def _cells(spaces: Spaces, items: Rows, wanted: int) -> tuple[Any, str]:
    """An inverted file over the rows of `items`, and as many cells looked into as the recall needs.

    Half precision first; where its rounding mixes up too many neighbours, single precision, which with all cells is
    exact."""
    import faiss

    rng = np.random.default_rng(0)
    number = int(4 * np.sqrt(len(items)))
    sample = np.sort(rng.choice(len(items), min(SAMPLE, len(items)), replace=False))
    queries = _unit(spaces, items[sample])
    truth = _others(_brute_force(spaces, items, queries, wanted + 1), sample)
    picked = np.sort(rng.choice(items, min(len(items), 40 * number), replace=False))
    centres = faiss.IndexFlatIP(_width(spaces))
    for precision in (faiss.ScalarQuantizer.QT_fp16, None):
        shape, metric = (centres, _width(spaces), number), faiss.METRIC_INNER_PRODUCT
        index: Any
        if precision is None:
            index = faiss.IndexIVFFlat(*shape, metric)
        else:
            index = faiss.IndexIVFScalarQuantizer(*shape, precision, metric, False)
        # The second time the centres are there already, and any rows will do.
        index.train(queries if centres.ntotal else _unit(spaces, picked))
        _fill(index, spaces, items)
        for index.nprobe in _probes(number):
            _, found = index.search(queries, wanted + 1)
            hits = (_others(found, sample)[:, :, None] == truth[:, None, :]).any(1).mean(1)
            # Two standard errors on the safe side: another sample must not find it below.
            if index.nprobe == number or hits.mean() - 2 * hits.std() / np.sqrt(len(hits)) >= RECALL:
                break
        if hits.mean() >= RECALL:
            break
    return index, (
        f"{index.nprobe:,} of {number:,} cells of {len(items):,} distinct train rows, recall {hits.mean():.3f} at "
        f"{wanted}, measured on {len(sample):,}"
    )


def _probes(cells: int) -> list[int]:
    """How many cells to try, half as many again each time, all of them at the end."""
    tried = [4]
    while tried[-1] < cells:
        tried.append(tried[-1] * 3 // 2)
    return [*tried[:-1], cells]


def _brute_force(spaces: Spaces, items: Rows, queries: NDArray[np.float32], wanted: int) -> NDArray[np.int64]:
    """(b, wanted) the nearest of the rows of `items` to the queries (b, d), all compared, a chunk at a time."""
    import faiss

    best = faiss.ResultHeap(len(queries), wanted, keep_max=True)
    for start in range(0, len(items), CHUNK):
        chunk = _unit(spaces, items[start : start + CHUNK])
        close, found = faiss.knn(queries, chunk, min(wanted, len(chunk)), metric=faiss.METRIC_INNER_PRODUCT)
        best.add_result(close, found + start)
    best.finalize()
    return np.asarray(best.I)


def _fill(index: Any, spaces: Spaces, items: Rows) -> None:
    for start in range(0, len(items), CHUNK):
        index.add(_unit(spaces, items[start : start + CHUNK]))


def _width(spaces: Spaces) -> int:
    return sum(space.shape[1] for space in spaces)


def _unit(spaces: Spaces, rows: Rows) -> NDArray[np.float32]:
    """(len(rows), d) float32: the rows of all spaces side by side, each space's at unit norm; zero rows stay zero."""
    parts = []
    for space in spaces:
        part = np.ascontiguousarray(space[rows], dtype=np.float32)
        norms = np.linalg.norm(part, axis=1, keepdims=True)
        parts.append(part / np.where(norms > 0, norms, 1))
    return np.ascontiguousarray(np.hstack(parts))
