"""One batch of HUME searches, side by side: the outer loop.

Read `outer_gradient` for one step's mathematics and `search_batch` for the algorithm from top to bottom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.progress import Progress
from hume_ssl.schema import SearchSettings
from hume_ssl.search.midway import Ended, Midway, restore, state_of
from hume_ssl.search.orthonormal import columns, initial_basis, orthonormal, pull_back, uncolumns
from hume_ssl.search.prior import UNIFORM, Prior, size_gradient
from hume_ssl.search.solvers import Judged, Solvers, gather, objective
from hume_ssl.search.sparsemax import sparsemax, sparsemax_backward
from hume_ssl.search.steady import adam, mean_over_rows, product, sum_over

PROBE = 10_000  # train items whose labels say whether a search still moves
PATIENCE, CHECK_EVERY = 50, 10  # steps without a changed label after which a search ends; steps between two looks
PUBLISHED_MILESTONES = (100, 200)  # outer steps at which learning rate and temperature are divided by ten
ALL_ITERATIONS, UNCHANGED = "all iterations", f"labels unchanged for {PATIENCE} steps"
OWN_STREAM = 1 << 40  # keeps the starts of a search's inner problem apart from the draw of its basis


@dataclass
class Batch:
    """State of r searches: what changes from step to step."""

    basis: Tensor  # (r, d1, d1), fixed
    raw: Tensor  # (r, d1, k), what Adam moves
    mean: Tensor  # Adam's running mean of the gradient, and of its square
    square: Tensor
    generators: list[torch.Generator]  # one a search, for the starts of its inner problem
    start: Tensor | None  # (d, k, r) fixed start of the inner problem, where the recipe asks for one


@dataclass(frozen=True)
class BatchResult:
    """What r finished searches found."""

    weights: Tensor  # (r, d1, k) task encoders
    objective: NDArray[np.float64]  # (r,) as `solvers.objective` defines it
    iterations: list[int]  # (r,) outer steps taken
    stop_reasons: list[str]  # (r,) "all iterations" or "labels unchanged for 50 steps"


def search_batch(
    solvers: Solvers,
    seeds: Sequence[int],
    progress: Progress | None = None,
    log: Callable[[int, Tensor, list[int]], None] | None = None,
    midway: Midway | None = None,
) -> BatchResult:
    """Run one search a seed, all on the same subsets (HUME, algorithm 1).

    Args:
        solvers: spaces, k and settings of the run, kept from batch to batch.
        seeds: (r,) of the searches themselves; the run's own seed is in the settings.
        progress: advanced by one an outer step.
        log: called at every step with its number, the held-out cross-entropy of the searches still running, and
            which these are.
        midway: keeps the state of the batch now and then, and has the one to go on from.
    """
    spaces, classes, s = solvers.spaces, solvers.classes, solvers.settings
    n = len(spaces.train)
    batch = _begin(solvers, seeds)
    whole = s.subset_size >= n  # every subset then holds all train items: one pass through the labeller serves all
    watch = Watch(spaces.whole_labeller if whole else spaces.labeller_rows(spaces.train[:: -(-n // PROBE)]))
    running = list(range(len(seeds)))
    ended = Ended(torch.zeros_like(batch.raw), [s.iterations] * len(seeds), [ALL_ITERATIONS] * len(seeds))
    first = 0
    if midway is not None and (state := midway.of(seeds)) is not None:
        batch = _kept(batch, torch.tensor(state[1]["running"], device=batch.raw.device))
        first, running = restore(state, batch, watch, ended)
        if progress is not None:
            progress.advance(first)
    for step in range(first, s.iterations):
        lr, temperature = schedule(s, step)
        matrix = columns(orthonormal(batch.basis, batch.raw))
        gradient, loss = torch.zeros_like(matrix), torch.zeros_like(matrix[0, : len(running)])
        drawn = solvers.for_step(step, batch.generators, batch.start)
        for group in [drawn] if whole else [[one] for one in drawn]:
            if whole:
                rows, judged = spaces.whole_labeller, group
            else:  # never the whole labeller: it may not fit
                rows, one = gather(spaces, group[0])
                judged = [one]
            group_gradient, group_loss = outer_gradient(
                matrix, rows, judged, temperature, s.entropy_weight, classes, s.prior
            )
            gradient += group_gradient / s.subsets
            loss += group_loss / s.subsets
        gradient = clip(pull_back(batch.basis, batch.raw, uncolumns(gradient, classes)))
        adam(batch.raw, gradient, batch.mean, batch.square, lr, step + 1)
        if log is not None:
            log(step, loss, running)
        if progress is not None:
            progress.advance(1, **({"loss": f"{float(loss.mean()):.3f}"} if step % CHECK_EVERY == 0 else {}))
        if s.early_stop and may_stop(s, step) and step % CHECK_EVERY == CHECK_EVERY - 1 and step + 1 < s.iterations:
            found = orthonormal(batch.basis, batch.raw)
            stopped = watch.unchanged(found)
            for place in stopped.nonzero().flatten().tolist():
                ended.weights[running[place]] = found[place]
                ended.iterations[running[place]], ended.reasons[running[place]] = step + 1, UNCHANGED
            if bool(stopped.any()):
                going = (~stopped).nonzero().flatten()
                batch, running = _kept(batch, going), [running[place] for place in going.tolist()]
                watch.keep(going)
            if not running:
                break
        if midway is not None:
            midway.offer(partial(state_of, seeds, step + 1, batch, watch, ended, running))
    if running:
        ended.weights[running] = orthonormal(batch.basis, batch.raw)
    elif progress is not None:
        progress.advance(s.iterations - max(ended.iterations))
    # At the temperature the schedule ends with, also for those that ended before it: objectives have to be comparable.
    last = schedule(s, s.iterations - 1)[1]
    return BatchResult(ended.weights, objective(solvers, ended.weights, last), ended.iterations, ended.reasons)


class Watch:
    """Sees when the labels of a search have stopped changing."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows  # (m, d1) labeller rows of the items watched
        self.labels: Tensor | None = None  # (m, r) at the last look
        self.quiet = torch.zeros(0, dtype=torch.int64)  # (r,) steps since a label changed

    def unchanged(self, weights: Tensor) -> Tensor:
        """(r,) whether a search's labels are the same at this look and all looks of the last 50 steps."""
        r, _, k = weights.shape
        labels = product(self.rows, columns(weights)).view(-1, k, r).argmax(1)
        if self.labels is None:
            self.quiet = torch.zeros(r, dtype=torch.int64, device=labels.device)
        else:
            self.quiet = torch.where((labels == self.labels).all(0), self.quiet + CHECK_EVERY, 0)
        self.labels = labels
        return self.quiet >= PATIENCE

    def keep(self, going: Tensor) -> None:
        """Forget the searches that have ended."""
        assert self.labels is not None
        self.labels, self.quiet = self.labels[:, going], self.quiet[going]


def outer_gradient(
    matrix: Tensor,
    rows: Tensor,
    judged: Sequence[Judged],
    temperature: float,
    entropy_weight: float,
    k: int,
    prior: Prior = UNIFORM,
) -> tuple[Tensor, Tensor]:
    """Derivative of the objective, summed over subsets of the given rows, by the task encoder (HUME eq. 7).

    Args:
        matrix: (d1, k * r) task encoders of r searches.
        rows: (m, d1) labeller space, unit norm.
        judged: subsets as positions among the rows, each holding all m of them, with their inner solvers.
        temperature: T in Y = sparsemax(rows W / T) (eq. 3).
        entropy_weight: H.
        prior: what takes the place of the entropy where classes are not to be of one size.

    Returns:
        (d1, k * r) derivative by `matrix` of the sum over subsets of CE - H * entropy(mean label); the summed CE, (r,).
    """
    m = len(rows)
    labels = sparsemax((product(rows, matrix) / temperature).view(m, k, -1))
    gradient = torch.zeros_like(labels)
    loss = torch.zeros_like(labels[0, 0])
    for one in judged:
        train, test = one.subset.train.to(labels.device), one.subset.test.to(labels.device)
        solved = one.solve(labels[train], labels[test])
        gradient.index_add_(0, train, solved.train)
        gradient.index_add_(0, test, solved.test)
        loss += solved.loss
    gradient += len(judged) * size_gradient(mean_over_rows(labels), entropy_weight, m, prior)
    back = sparsemax_backward(labels, gradient).view(m, -1)
    return product(rows.T, back) / temperature, loss


def schedule(settings: SearchSettings, step: int) -> tuple[float, float]:
    """(learning rate, temperature) at an outer step, counted from 0.

    "published": both divided by ten at steps 100 and 200. "fixed": neither changes (the published ImageNet run).
    "smooth": the temperature falls geometrically to `final_temperature`, the learning rate by a half cosine to 0;
    beginning near T = 1, where labels are soft and the landscape is simple, it ends in better optima.
    """
    s = settings
    if s.schedule == "smooth":
        done = step / s.iterations
        temperature = s.temperature * (s.final_temperature / s.temperature) ** done
        return s.outer_lr * 0.5 * (1 + math.cos(math.pi * done)), temperature
    passed = sum(step >= milestone for milestone in PUBLISHED_MILESTONES) if s.schedule == "published" else 0
    return s.outer_lr * 0.1**passed, s.temperature * 0.1**passed


def may_stop(settings: SearchSettings, step: int) -> bool:
    """Whether a search may end early: in the published schedule only once nothing is left to fall.

    At T = 0.1 labels often rest for 50 steps and move again when the temperature falls.
    """
    return settings.schedule != "published" or step >= PUBLISHED_MILESTONES[-1]


def clip(gradient: Tensor, bound: float = 1.0) -> Tensor:
    """(r, d1, k) gradients, each search's scaled down to norm `bound` where it is longer, as clip_grad_norm_ does."""
    norms = sum_over(gradient.flatten(1).square(), 1).sqrt()
    scale: Tensor = (bound / (norms + 1e-6)).clamp(max=1)
    return gradient * scale[:, :, None]


def _begin(solvers: Solvers, seeds: Sequence[int]) -> Batch:
    spaces, classes = solvers.spaces, solvers.classes
    thin = not solvers.settings.inner_steps  # the closed form keeps to the method, not to its every axis
    basis = initial_basis(spaces.d1, classes, seeds, spaces.dtype, thin=thin).to(spaces.device)
    zeros = torch.zeros(len(seeds), spaces.d1, classes, dtype=spaces.dtype, device=spaces.device)
    generators = [torch.Generator().manual_seed(seed + OWN_STREAM) for seed in seeds]
    fixed = bool(solvers.settings.inner_steps) and not solvers.settings.random_init
    start = solvers.random_starts(generators) if fixed else None
    return Batch(basis, zeros, torch.zeros_like(zeros), torch.zeros_like(zeros), generators, start)


def _kept(batch: Batch, keep: Tensor) -> Batch:
    """The batch without the searches that have ended."""
    return replace(
        batch,
        basis=batch.basis[keep],
        raw=batch.raw[keep],
        mean=batch.mean[keep],
        square=batch.square[keep],
        generators=[batch.generators[place] for place in keep.tolist()],
        start=batch.start[:, :, keep] if batch.start is not None else None,
    )
