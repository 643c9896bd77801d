"""How typical of its class an item is: its likeness to the mean of those items that nothing speaks against.

Agreement and neighbour agreement are all but 1 for most reliable items, so they cannot say which to pick first; and a
clump that every search puts into the wrong class has both at 1 too. It lies away from the middle of the class, though.
On digits, usps and cifar10-dev this ranking picks more right labels than any of the shares, a search's own margin or
wider neighbourhoods (tests/bench/selection.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus.reliable import reliable_items

CORE = 0.9  # an item with both shares above is of the core of its class; 0.8 and 0.95 rank alike
CHUNK = 16_384  # items read at once

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def likeness(
    spaces: Sequence[NDArray[Any]],
    labels: NDArray[np.int64],
    agreement: Floats,
    neighbour_agreement: Floats,
    train: Mask,
    k: int,
) -> Floats:
    """(n,) cosine of each item with the prototype of its class, mean over the spaces; 1 = the same direction.

    The prototype of a class in a space is the mean of the unit rows of its core: train items with both shares above
    0.9; where there are none its reliable items, else all of its train items.

    Args:
        spaces: (n, d) each, memory-mapped or not; read in chunks, twice. None of them is held.
        labels, agreement, neighbour_agreement: (n,) the consensus.
        train: (n,) True for train items, the only ones that prototypes are made of.
        k: classes.
    """
    core = train & _core(labels, agreement, neighbour_agreement, train, k)
    total = np.zeros(len(labels))
    for space in spaces:
        sums = np.zeros((k, space.shape[1]))
        for rows in _chunks(np.flatnonzero(core)):
            np.add.at(sums, labels[rows], _unit(space[rows]))
        prototypes = _unit(sums)
        for rows in _chunks(np.arange(len(labels))):
            total[rows] += np.einsum("nd,nd->n", _unit(space[rows]), prototypes[labels[rows]])
    return total / len(spaces)


def _core(labels: NDArray[np.int64], agreement: Floats, neighbour_agreement: Floats, train: Mask, k: int) -> Mask:
    """(n,) the items prototypes are made of."""
    tiers = [(agreement > CORE) & (neighbour_agreement > CORE), reliable_items(agreement, neighbour_agreement)]
    core = np.ones(len(labels), dtype=bool)
    for tier in reversed(tiers):  # a narrower tier takes over in every class that has items in it
        has = np.bincount(labels[train & tier], minlength=k) > 0
        core = np.where(has[labels], tier, core)
    return core


def _unit(rows: NDArray[Any]) -> Floats:
    rows = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1))


def _chunks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
