"""Labellings brought to one another's class ids: to one reference, to their own vote, or to a spectral consensus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus.stability import sampled
from hume_ssl.k_means import k_means
from hume_ssl.metrics import confusion

Labels = NDArray[np.integer[Any]]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROUNDS = 20  # of matching and voting, at most; two or three are usual
CLUSTERED = 20_000  # train items that the spectral matching looks at
COLUMNS = 4000  # classes of all searches together that it takes in: their eigenvectors cost the third power
CHUNK = 4096  # items of which these columns are held at once


def match(labellings: Labels, reference: Labels, k: int, train: Mask) -> Ids:
    """(r, k) the class of `reference` that each class of each labelling is: the most train items agree (Hungarian).

    Args:
        labellings: (r, n) class ids 0..k-1.
        reference: (n,) class ids 0..k-1.
        train: (n,) True for the items that count.

    Returns:
        A permutation a labelling: two of its classes are never merged, also where the reference has fewer.
    """
    from scipy.optimize import linear_sum_assignment

    every = bool(train.all())
    wanted = reference if every else reference[train]
    matching = np.empty((len(labellings), k), dtype=np.int64)
    for row, labelling in zip(matching, labellings, strict=True):
        counts = confusion(labelling if every else labelling[train], wanted, k, k)
        row[:] = linear_sum_assignment(counts, maximize=True)[1]
    return matching


def align(labellings: Labels, reference: Labels, k: int, train: Mask) -> Ids:
    """(r, n) the labellings with their classes renamed to those of `reference`; arguments as for `match`."""
    return np.stack(
        [row[labelling] for row, labelling in zip(match(labellings, reference, k, train), labellings, strict=True)]
    )


def match_until_stable(
    labellings: Labels, matching: Ids, k: int, train: Mask, vote: Callable[[Ids], Ids]
) -> tuple[Ids, Ids]:
    """Vote, match to the vote, and so on until no class of any labelling moves: the last matching and vote.

    What one odd reference got wrong is mended by the rest; the outcome hangs on the first `matching` (r, k) only where
    votes are close. `vote` makes labels (n,) of a matching.
    """
    for _ in range(ROUNDS):
        labels = vote(matching)
        again = match(labellings, labels, k, train)
        if np.array_equal(again, matching):
            break
        matching = again
    return matching, labels


def spectral_matching(labellings: Labels, weights: NDArray[np.float64], named: Ids, k: int, train: Mask) -> Ids:
    """(r, k) the labellings matched to a clustering of the items by which labellings put them together.

    Every class of every labelling is a 0/1 column, scaled by the root of its weight over its size; items are embedded
    by the k leading singular vectors, rows at unit norm, and clustered by k-means (a cluster ensemble: Strehl and
    Ghosh, 2002; as normalised cut of the bipartite graph of items and classes: Fern and Brodley, 2004). No single
    labelling is a reference, which pays where all are weak. At most 20,000 train items are looked at, drawn once, and
    of many labellings the heaviest, up to 4,000 columns.

    Args:
        labellings: (r, n) class ids 0..k-1.
        weights: (r,) 0 or more.
        named: (n,) a labelling whose class ids the clusters get.
        train: (n,) True for train items.
    """
    items = sampled(np.flatnonzero(train), CLUSTERED)
    some = labellings[:, items]
    heaviest = np.lexsort((np.arange(len(weights)), -weights))[: max(1, COLUMNS // k)]
    chosen = np.sort(heaviest[weights[heaviest] > 0])
    sizes = np.stack([np.bincount(row, minlength=k) for row in some[chosen]])
    scale = np.sqrt(weights[chosen][:, None] / np.maximum(sizes, 1)).ravel()
    gram = np.zeros((len(scale), len(scale)))
    for start in range(0, len(items), CHUNK):
        columns = _one_hot(some[chosen, start : start + CHUNK], k, scale)
        gram += columns.T @ columns
    basis = np.linalg.eigh(gram)[1][:, -k:]
    embedded = np.concatenate(
        [_one_hot(some[chosen, start : start + CHUNK], k, scale) @ basis for start in range(0, len(items), CHUNK)]
    )
    embedded /= np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-12)
    clusters = k_means(embedded, k)
    every = np.ones(len(items), dtype=bool)
    return match(some, match(clusters[None], named[items], k, every)[0][clusters], k, every)


def match_to_old(new: Labels, old: Labels, k: int) -> Ids:
    """New class id -> old class id, (k,), a permutation: the names of an old consensus (n,) carried to a new one."""
    matching: Ids = match(np.asarray(new)[None], old, k, np.ones(len(new), dtype=bool))[0]
    return matching


def _one_hot(labellings: Labels, k: int, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, r * k) each labelling's classes as 0/1 columns, times `scale` (r * k,); labellings are (r, n)."""
    r, n = labellings.shape
    columns: NDArray[np.float64] = np.zeros((n, r * k))
    cells = labellings.T + np.arange(r) * k
    np.put_along_axis(columns, cells, scale[cells], axis=1)
    return columns
