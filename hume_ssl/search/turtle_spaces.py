"""What TURTLE searches read of the spaces of a run, and the encoders they leave to label any rows with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.schema import SearchSettings
from hume_ssl.search.subsets import Spaces
from hume_ssl.search.turtle import task_labels

BATCHES, OBJECTIVE = 3, 4  # streams of random batches, beside those of `subsets`
PIECE = 65_536  # rows in one pass over a space


def stored(turtle: Turtle, weights: Sequence[Tensor]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Task encoders for rows of the spaces as they are in the files: (r, k, d) weights, the spaces side by side, and
    (r, s, k) biases; centring and scale are worked into them."""
    parts, biases = [], []
    for w, (mean, factor) in zip(weights, turtle.centred, strict=True):
        matrix = w.double().permute(2, 1, 0).cpu().numpy()  # (r, k, d + 1)
        parts.append(factor * matrix[:, :, :-1])
        biases.append(matrix[:, :, -1] - parts[-1] @ mean)
    return np.concatenate(parts, 2).astype(np.float32), np.stack(biases, 1).astype(np.float32)


def label_rows(
    arrays: Sequence[NDArray[Any]], weights: NDArray[np.float32], bias: NDArray[np.float32], device: str = "cpu"
) -> NDArray[np.int32]:
    """(r, n) labels of all rows of the spaces by stored task encoders: the class with the highest mean softmax."""
    r, k, _ = weights.shape
    labellings = np.empty((r, len(arrays[0])), dtype=np.int32)
    parts = np.split(weights, np.cumsum([array.shape[1] for array in arrays])[:-1], axis=2)
    encoders = [
        torch.from_numpy(np.concatenate([part, bias[:, i, :, None]], 2)).permute(2, 1, 0).contiguous().to(device)
        for i, part in enumerate(parts)
    ]
    step = max(1, min(PIECE, (1 << 27) // (k * r * len(arrays))))
    for start in range(0, len(arrays[0]), step):
        rows = []
        for array in arrays:
            x = torch.from_numpy(np.array(array[start : start + step])).to(device, torch.float32)
            rows.append(torch.cat([x, torch.ones_like(x[:, :1])], 1))
        labellings[:, start : start + step] = task_labels(rows, encoders)[0].argmax(1).T.cpu().numpy()
    return labellings


@dataclass(frozen=True)
class Turtle:
    """What the batches of a run share: the spaces, none above another, k and the settings."""

    spaces: Spaces
    classes: int
    settings: SearchSettings

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The spaces, the labeller first; once only, where it is among the judges too."""
        first = self.spaces.labeller
        return [first, *(judge for judge in self.spaces.judges if judge is not first)]

    @cached_property
    def centred(self) -> list[tuple[NDArray[np.float64], float]]:
        """What is subtracted from a space's rows, (d,), and the factor they then take: with `centre` the mean of the
        train rows and what makes the mean square of an entry 1; else nothing, as published."""
        if not self.settings.centre:
            return [(np.zeros(array.shape[1]), 1.0) for array in self.arrays]
        found = []
        for array in self.arrays:
            total, square = np.zeros(array.shape[1]), 0.0
            for start in range(0, len(self.spaces.train), PIECE):
                rows = np.asarray(array[self.spaces.train[start : start + PIECE]], dtype=np.float64)
                total, square = total + rows.sum(0), square + float((rows**2).sum())
            mean = total / len(self.spaces.train)
            spread = square / len(self.spaces.train) - float((mean**2).sum())
            found.append((mean, math.sqrt(array.shape[1] / spread) if spread > 0 else 1.0))
        return found

    @cached_property
    def whole(self) -> list[Tensor]:
        """Rows of all train items; asked for only where every batch is all of them."""
        return self.rows(np.arange(len(self.spaces.train)))

    def rows(self, positions: NDArray[np.int64]) -> list[Tensor]:
        """(b, d + 1) of each space at positions among the train items, the last column ones."""
        index, made = self.spaces.train[positions], []
        for array, (mean, factor) in zip(self.arrays, self.centred, strict=True):
            x = torch.from_numpy(array[index]).to(self.spaces.device, self.spaces.dtype)
            if self.settings.centre:
                x = (x - torch.from_numpy(mean).to(x)) * factor
            made.append(torch.cat([x, torch.ones_like(x[:, :1])], 1))
        return made

    def positions(self, stream: int, number: int) -> NDArray[np.int64]:
        """(b,) places among the train items of random batch `number` of a stream, without replacement, ascending; from
        the run's seed alone, for all searches."""
        n, size = len(self.spaces.train), self.settings.subset_size
        if size >= n:
            return np.arange(n)
        rng = np.random.default_rng(np.random.SeedSequence([self.settings.seed, stream, number]))
        return np.sort(rng.permutation(n)[:size] if 2 * size > n else rng.choice(n, size, replace=False))

    def batch(self, stream: int, number: int) -> list[Tensor]:
        """(b, d + 1) rows of each space of that batch."""
        if self.settings.subset_size >= len(self.spaces.train):
            return self.whole
        return self.rows(self.positions(stream, number))

    def starts(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        """(d + 1, k, r) of each space, as torch's Linear draws weights and bias: uniform within 1/sqrt(d)."""
        made = []
        for array in self.arrays:
            d, shape = array.shape[1], (array.shape[1] + 1, self.classes)
            drawn = [2 * torch.rand(shape, generator=g, dtype=self.spaces.dtype) - 1 for g in generators]
            made.append((torch.stack(drawn, 2) / math.sqrt(d)).to(self.spaces.device))
        return made
