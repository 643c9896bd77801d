"""The random subsets an outer step looks at, and the rows of the spaces that belong to them.

Subsets follow from the run's seed and the step alone, so that all searches, side by side or on another day, see the
same ones; what a search draws for itself (its basis, the starts of its inner problem) follows from its own seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.errors import InputError

_STREAMS = {"step": 0, "objective": 1, "pool": 2}


@dataclass(frozen=True)
class Spaces:
    """The spaces of a run, as files on disk give them, and how their rows reach the device.

    Attributes:
        labeller: (n, d1); its rows are centred, if asked, and scaled to unit norm when they are read.
        judges: (n, d2) each, taken side by side.
        train: (m,) indices of the train items, the only ones that subsets are drawn from.
        centre: (d1,) subtracted from the rows of the labeller, or None.
    """

    labeller: NDArray[Any]
    judges: Sequence[NDArray[Any]]
    train: NDArray[np.int64]
    centre: NDArray[np.float32] | None = None
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    @property
    def d1(self) -> int:
        return int(self.labeller.shape[1])

    @property
    def d2(self) -> int:
        return sum(int(judge.shape[1]) for judge in self.judges)

    def labeller_rows(self, rows: NDArray[np.int64]) -> Tensor:
        """(len(rows), d1), each of unit norm."""
        return unit_rows(torch.from_numpy(self.labeller[rows]).to(self.device, self.dtype), self.centre)

    def judge_rows(self, rows: NDArray[np.int64]) -> Tensor:
        """(len(rows), d2 + 1), the last column ones."""
        parts = [torch.from_numpy(judge[rows]).to(self.device, self.dtype) for judge in self.judges]
        return torch.cat([*parts, torch.ones(len(rows), 1, device=self.device, dtype=self.dtype)], 1)

    @cached_property
    def whole_labeller(self) -> Tensor:
        """(m, d1) labeller rows of all train items; asked for only where every subset is all of them."""
        return self.labeller_rows(self.train)


def unit_rows(rows: Tensor, centre: NDArray[np.float32] | None) -> Tensor:
    """(n, d1) rows less the centre, each at Euclidean norm 1."""
    if centre is not None:
        rows = rows - torch.from_numpy(centre).to(rows)
    return torch.nn.functional.normalize(rows, dim=1)


def space_centre(labeller: NDArray[Any], train: NDArray[np.int64]) -> NDArray[np.float32]:
    """(d1,) mean row over train items; read in pieces."""
    total = np.zeros(labeller.shape[1])
    for start in range(0, len(train), 65536):
        total += np.asarray(labeller[train[start : start + 65536]], dtype=np.float64).sum(0)
    return (total / len(train)).astype(np.float32)


@dataclass(frozen=True)
class Subset:
    """One random division of some items, as positions among the train items, in ascending order."""

    train: Tensor  # (n_tr,) the inner classifier learns from these
    test: Tensor  # (n_te,) and is judged on these


def subset_sizes(n: int, size: int, fraction: float) -> tuple[int, int]:
    """Items in a subset of n train items, and how many of them are learned from. Raises InputError as `draw` does."""
    size = min(n, size)
    n_tr = int(size * fraction)
    if not 0 < n_tr < size:
        raise InputError(
            f"{n} train items, search.subset_size = {size} and search.train_fraction = {fraction} leave no item on one "
            "side of a subset: give more items or another fraction"
        )
    return size, n_tr


def draw(n: int, size: int, fraction: float, seed: int, stream: str, number: int) -> Subset:
    """Subset `number` of a stream: `size` of n items (all, if fewer), the share `fraction` of them to learn from.

    Raises InputError if either side would be empty.
    """
    size, n_tr = subset_sizes(n, size, fraction)
    rng = np.random.default_rng(np.random.SeedSequence([seed, _STREAMS[stream], number]))
    picked = rng.permutation(n)[:size] if 2 * size > n else rng.choice(n, size, replace=False)
    return Subset(torch.from_numpy(np.sort(picked[:n_tr])), torch.from_numpy(np.sort(picked[n_tr:])))
