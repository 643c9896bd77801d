"""Centrality: how deep inside its class an item lies, as one space has it; a certainty that needs no labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus.nearest import CHUNK, _unit, find_nearest
from hume_ssl.consensus.neighbours import agreement_of

NEAREST = 100  # as many as SPICE asks: wide enough that shares differ where those of the 20 nearest are all 1


def centrality(
    space: NDArray[Any], labels: NDArray[np.int64], train: NDArray[np.bool_], reliable: NDArray[np.bool_], k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two measures of how central items are: the second is for those that are equal by the first.

    Where a class has fewer items than the 100 that are looked at, the share is below 1 for all of them and still orders
    them: it counts how much of the class lies nearer than what is not of it.

    Args:
        space: (n, d), memory-mapped or not; read in chunks, its rows scaled to unit norm.
        labels: (n,) consensus classes, 0..k-1.
        train: (n,) True for train items, the only ones that count as neighbours.
        reliable: (n,) True for the items that make up the mean of a class.

    Returns:
        (n,) share of the 100 nearest train items with the item's class, 1 = deep inside it, and
        (n,) cosine to the mean of the reliable items of its class, -1 to 1; 0 where the class has none.
    """
    share = agreement_of(find_nearest([space], train, NEAREST), labels, train)
    means = np.zeros((k, space.shape[1]))
    for rows in _chunks(np.flatnonzero(reliable)):
        np.add.at(means, labels[rows], _unit([space], rows))
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    means /= np.where(norms > 0, norms, 1)
    cosine = np.zeros(len(labels))
    for rows in _chunks(np.arange(len(labels))):
        cosine[rows] = np.einsum("nd,nd->n", _unit([space], rows), means[labels[rows]])
    return share, cosine


def _chunks(items: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
