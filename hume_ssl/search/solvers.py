"""Which subsets an outer step sees, each with the solver of its inner problem; and the objective measured with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.schema import SearchSettings
from hume_ssl.search.closed_form import FactoredMap, Hat, ridge, ridge_factor, ridge_inverse
from hume_ssl.search.descent import descent
from hume_ssl.search.inner import Inner
from hume_ssl.search.leaps import Plan, every_step, plan, spectrum
from hume_ssl.search.orthonormal import columns
from hume_ssl.search.precision import matmul_dtype
from hume_ssl.search.sparsemax import sparsemax
from hume_ssl.search.steady import product
from hume_ssl.search.subsets import Spaces, Subset, draw

POOL = 20  # subsets the closed form is solved for in advance; each outer step takes the next few of them
OBJECTIVE_SUBSETS = 20  # subsets, fixed by the run, over which the objective of every search is measured
HAT_ENTRIES = 10_000_000  # of a subset's map from labels to scores that is kept as one matrix
SPECTRUM_ITEMS = 10_000  # train items whose judge rows say how far a descent's steps may leap


@dataclass(frozen=True)
class Judged:
    """A subset and what judges labels of it."""

    subset: Subset
    solve: Callable[[Tensor, Tensor], Inner]  # (n_tr, k, r) and (n_te, k, r) labels -> error and derivatives


class Solvers:
    """Gives every outer step its subsets: new ones each time, or, for the closed form, some of a pool solved once."""

    def __init__(
        self, spaces: Spaces, classes: int, settings: SearchSettings, pool: dict[tuple[str, int], Judged] | None = None
    ) -> None:
        self.spaces, self.classes, self.settings = spaces, classes, settings
        self.dtype = matmul_dtype(settings.precision, spaces.device, spaces.dtype)  # of the large products
        # Solved subsets depend on spaces and settings alone, not on k: another number of classes may share them.
        self.pool = {} if pool is None else pool

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Mean squares and directions of the judge space, (d2 + 1,) and (d2 + 1, d2 + 1), largest first."""
        train = self.spaces.train
        values, directions = spectrum(self.spaces.judge_rows(train[:: -(-len(train) // SPECTRUM_ITEMS)]))
        return values, directions.to(self.spaces.dtype)

    @cached_property
    def plan(self) -> Plan:
        """How every descent of the run is walked."""
        s = self.settings
        if s.tolerance <= 0:
            return every_step(s.inner_steps, s.inner_lr)
        return plan(s.inner_steps, s.inner_lr, s.tolerance, *self.spectrum)

    def for_step(self, step: int, generators: Sequence[torch.Generator], start: Tensor | None) -> list[Judged]:
        """The subsets of an outer step. Where `start` is None, `generators`, one a search, draw starts of descent."""
        numbers = range(step * self.settings.subsets, (step + 1) * self.settings.subsets)
        if not self.settings.inner_steps:
            return [self._solved("pool", number % POOL) for number in numbers]
        starts = [start if start is not None else self.random_starts(generators) for _ in numbers]
        return [self.judged("step", i, theta) for i, theta in zip(numbers, starts, strict=True)]

    def judged(self, stream: str, number: int, start: Tensor | None) -> Judged:
        """Subset `number` of a stream with its solver; a descent begins at `start`, (d, k, r)."""
        s = self.settings
        subset = draw(len(self.spaces.train), s.subset_size, s.train_fraction, s.seed, stream, number)
        if s.inner_steps:
            assert start is not None

            def solve(y_tr: Tensor, y_te: Tensor) -> Inner:  # gathers when called: one subset in memory at a time
                return descent(*self._judge_rows(subset), y_tr, y_te, start, self.plan, self.dtype)

            return Judged(subset, solve)
        return Judged(subset, self._closed_form(subset))

    def random_starts(self, generators: Sequence[torch.Generator]) -> Tensor:
        """(d2 + 1, k, r) weights and bias as torch's Linear draws them, uniform within 1/sqrt(d2)."""
        d2, k, dtype = self.spaces.d2, self.classes, self.spaces.dtype
        starts = [2 * torch.rand(d2 + 1, k, generator=g, dtype=dtype) - 1 for g in generators]
        return (torch.stack(starts, 2) / math.sqrt(d2)).to(self.spaces.device)

    def for_objective(self, number: int, r: int) -> Judged:
        """Subset `number` of those the objective is measured on."""
        if not self.settings.inner_steps:
            return self._solved("objective", number)
        # The same start for all searches: their objectives differ by their labels alone.
        shared = torch.Generator().manual_seed(self.settings.seed * OBJECTIVE_SUBSETS + number)
        return self.judged("objective", number, self.random_starts([shared]).expand(-1, -1, r).contiguous())

    def _solved(self, stream: str, number: int) -> Judged:
        """A subset of the closed form, solved once for all batches of the run."""
        if (stream, number) not in self.pool:
            self.pool[stream, number] = self.judged(stream, number, None)
        return self.pool[stream, number]

    def _closed_form(self, subset: Subset) -> Callable[[Tensor, Tensor], Inner]:
        """The subset solved: as one matrix from labels to scores or, where that is large, as a factor of its Gram
        matrix and rows gathered when needed."""
        x_tr, x_te = self._judge_rows(subset)
        scale = self.settings.scale
        factor = ridge_factor(x_tr, self.settings.ridge)
        if len(x_tr) * len(x_te) <= HAT_ENTRIES:
            hat = Hat(x_tr, x_te, factor, self.dtype)
            return lambda y_tr, y_te: ridge(hat, y_tr, y_te, scale)
        inverse = ridge_inverse(x_tr, factor)

        def solve(y_tr: Tensor, y_te: Tensor) -> Inner:
            return ridge(FactoredMap(*self._judge_rows(subset), inverse), y_tr, y_te, scale)

        return solve

    def _judge_rows(self, subset: Subset) -> tuple[Tensor, Tensor]:
        train = self.spaces.train
        return self.spaces.judge_rows(train[subset.train.numpy()]), self.spaces.judge_rows(train[subset.test.numpy()])


def gather(spaces: Spaces, judged: Judged) -> tuple[Tensor, Judged]:
    """Labeller rows of one subset, (size, d1), and the subset as positions among them."""
    rows = torch.cat([judged.subset.train, judged.subset.test]).numpy()
    n_tr = len(judged.subset.train)
    inside = Subset(torch.arange(n_tr), torch.arange(n_tr, len(rows)))
    return spaces.labeller_rows(spaces.train[rows]), Judged(inside, judged.solve)


def objective(solvers: Solvers, weights: Tensor, temperature: float) -> NDArray[np.float64]:
    """(r,) mean held-out cross-entropy, without the entropy term, over 20 subsets that the run's seed fixes.

    Lower is better. It ranks searches of one run; its size depends on k, the spaces and the preset.

    Args:
        weights: (r, d1, k) task encoders.
        temperature: the one the schedule ends with, for all searches.
    """
    r, _, k = weights.shape
    total = np.zeros(r)
    for number in range(OBJECTIVE_SUBSETS):
        rows, judged = gather(solvers.spaces, solvers.for_objective(number, r))
        labels = sparsemax(product(rows, columns(weights)).view(len(rows), k, r) / temperature)
        loss = judged.solve(labels[judged.subset.train], labels[judged.subset.test]).loss
        total += loss.double().cpu().numpy() / OBJECTIVE_SUBSETS
    return total
