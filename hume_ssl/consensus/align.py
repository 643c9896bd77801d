"""Labellings brought to one another's class ids: to one reference, to their own vote, or to a spectral consensus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.metrics import confusion

Labels = NDArray[np.integer[Any]]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROUNDS = 20  # of matching and voting, at most; two or three are usual
CHUNK = 8192  # items looked at at once by the spectral consensus
COLUMNS = 4000  # classes of all searches together that it takes in: its eigenvectors cost their third power
CLUSTERED = 50_000  # train items its k-means is fitted to


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
    labellings: Labels, start: Ids, k: int, train: Mask, vote: Callable[[Ids], Ids]
) -> tuple[Ids, Ids]:
    """Match to `start`, vote, match to the vote, and so on until no class of any labelling moves: (r, k) and (n,).

    The outcome hangs on `start` only where votes are close, and what one odd reference got wrong is mended by the rest.
    `vote` makes labels (n,) of matchings (r, k).
    """
    matching, labels = match(labellings, start, k, train), start
    for _ in range(ROUNDS):
        labels = vote(matching)
        again = match(labellings, labels, k, train)
        if np.array_equal(again, matching):
            break
        matching = again
    return matching, labels


def spectral_labels(labellings: Labels, weights: NDArray[np.float64], k: int, train: Mask) -> Ids:
    """(n,) a clustering of the items by which labellings put them together; no reference, no matching of class ids.

    Every class of every labelling is a 0/1 column, scaled by the root of its weight over its size; items are embedded
    by the k leading singular vectors, rows at unit norm, and clustered by k-means (a cluster-based similarity ensemble:
    Strehl and Ghosh, 2002, solved as normalised cut of the bipartite graph of items and classes: Fern and Brodley,
    2004). Of many labellings the heaviest are taken in, up to 4,000 columns.

    Args:
        labellings: (r, n) class ids 0..k-1.
        weights: (r,) 0 or more.
        train: (n,) True for items that the embedding and k-means are fitted to.
    """
    from sklearn.cluster import KMeans

    heaviest = np.sort(np.lexsort((np.arange(len(weights)), -weights))[: max(1, COLUMNS // k)])
    chosen = labellings[heaviest[weights[heaviest] > 0]]
    used = weights[heaviest[weights[heaviest] > 0]]
    sizes = np.stack([np.bincount(row[train], minlength=k) for row in chosen]).astype(np.float64)
    scale = np.sqrt(used[:, None] / np.maximum(sizes, 1)).ravel()
    gram = np.zeros((len(scale), len(scale)))
    for rows in _chunks(np.flatnonzero(train)):
        columns = _one_hot(chosen, rows, k, scale)
        gram += columns.T @ columns
    _, vectors = np.linalg.eigh(gram)
    basis = vectors[:, -k:]
    embedded = np.empty((labellings.shape[1], k), dtype=np.float32)
    for rows in _chunks(np.arange(labellings.shape[1])):
        part = _one_hot(chosen, rows, k, scale) @ basis
        embedded[rows] = part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    fitted = np.flatnonzero(train)
    if len(fitted) > CLUSTERED:
        fitted = np.sort(np.random.default_rng(0).choice(fitted, CLUSTERED, replace=False))
    found = KMeans(n_clusters=k, n_init=10, random_state=0).fit(embedded[fitted])
    return np.asarray(found.predict(embedded), dtype=np.int64)


def match_to_old(new: Labels, old: Labels, k: int) -> Ids:
    """New class id -> old class id, (k,), a permutation: the names of an old consensus (n,) carried to a new one."""
    matching: Ids = match(np.asarray(new)[None], old, k, np.ones(len(new), dtype=bool))[0]
    return matching


def _one_hot(labellings: Labels, rows: Ids, k: int, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """(len(rows), r * k) each labelling's classes as scaled 0/1 columns."""
    r = len(labellings)
    columns: NDArray[np.float64] = np.zeros((len(rows), r * k))
    cells = labellings[:, rows].T + np.arange(r) * k
    np.put_along_axis(columns, cells, scale[cells], axis=1)
    return columns


def _chunks(rows: Ids) -> list[Ids]:
    return np.split(rows, range(CHUNK, len(rows), CHUNK))
