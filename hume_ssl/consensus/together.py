"""Which items the searches put together, and what one item's class says about another's.

The classes of items are read as a Gaussian process over items (Rasmussen and Williams, 2006, section 2.2). Its mean is
what the searches vote, and two items vary together as often as the searches put them into one class:

    cov(i, j) = s_i s_j c_ij^4      c_ij: share of the searches that put i and j into one class
    s_i^2 = 0.25 + 1 - agreement of i

so that what is said of a doubtful item says little about one that all searches agree on. Every item keeps a variance of
its own, NOISE, that its neighbours do not share: one odd item does not speak for a whole group, two that say the same
do. `ask` looks for the items that take most variance away, `apply_answers` moves the votes. Power, floor and noise were
tuned together on digits, usps and cifar10-dev: powers 4 to 16 differ little, noise below 0.3 gained on the first two
and did harm on the last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]
Figures = NDArray[np.float64]

POWER = 4
FLOOR = 0.25  # variance of an item that all searches agree on: they may all be wrong
NOISE = 0.3  # variance that an item shares with no other


def together(labellings: Labels, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """(len(rows), len(columns)) share of the labellings (r, n) that put both items into one class; 1 = all of them."""
    count = np.zeros((len(rows), len(columns)), dtype=np.float32)
    for labelling in labellings:
        count += labelling[rows][:, None] == labelling[columns][None, :]
    return count / np.float32(len(labellings))


def covariance(
    labellings: Labels, agreement: Figures, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(len(rows), len(columns)) prior covariance of two items' classes, from labellings (r, n) and agreement (n,)."""
    scale = np.sqrt(FLOOR + 1 - agreement).astype(np.float32)
    return together(labellings, rows, columns) ** POWER * scale[rows][:, None] * scale[columns][None, :]
