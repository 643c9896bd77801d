"""One batch of TURTLE searches, side by side: the outer loop, what is read from the spaces, and what is stored.

Read `search_batch` for the algorithm from top to bottom; its mathematics is in `turtle`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.progress import Progress
from hume_ssl.schema import SearchSettings
from hume_ssl.search.engine import ALL_ITERATIONS, CHECK_EVERY, PATIENCE, PROBE, UNCHANGED, schedule
from hume_ssl.search.subsets import Spaces
from hume_ssl.search.turtle import (
    Encoder,
    Moments,
    adam,
    encoder_of,
    learners_error,
    outer_gradient,
    pull_back,
    task_labels,
    teach,
    weights_of,
)

BATCHES, OBJECTIVE = 3, 4  # streams of random batches, beside those of `subsets`
OBJECTIVE_BATCHES = 20  # fixed by the run, over which the objective of every search is measured
PIECE = 65_536  # rows in one pass over a space


@dataclass(frozen=True)
class Turtle:
    """What the batches of a run share: the spaces, all of equal rank, k and the settings."""

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

    def batch(self, stream: int, number: int) -> list[Tensor]:
        """Random batch `number` of a stream, without replacement; from the run's seed alone, for all searches."""
        n, size = len(self.spaces.train), self.settings.subset_size
        if size >= n:
            return self.whole
        rng = np.random.default_rng(np.random.SeedSequence([self.settings.seed, stream, number]))
        return self.rows(np.sort(rng.permutation(n)[:size] if 2 * size > n else rng.choice(n, size, replace=False)))

    def starts(self, generators: Sequence[torch.Generator]) -> list[Tensor]:
        """(d + 1, k, r) of each space, as torch's Linear draws weights and bias: uniform within 1/sqrt(d)."""
        made = []
        for array in self.arrays:
            d, shape = array.shape[1], (array.shape[1] + 1, self.classes)
            drawn = [2 * torch.rand(shape, generator=g, dtype=self.spaces.dtype) - 1 for g in generators]
            made.append((torch.stack(drawn, 2) / math.sqrt(d)).to(self.spaces.device))
        return made


@dataclass(frozen=True)
class TurtleResult:
    """What r finished searches found, in the order of their seeds."""

    weights: list[Tensor]  # (d + 1, k, r) of each space, for rows as `Turtle.rows` gives them
    objective: NDArray[np.float64]  # (r,) as `objective` defines it
    iterations: list[int]  # (r,) outer steps taken
    stop_reasons: list[str]  # (r,) "all iterations" or "labels unchanged for 50 steps"


def search_batch(
    turtle: Turtle,
    seeds: Sequence[int],
    progress: Progress | None = None,
    log: Callable[[int, Tensor, list[int]], None] | None = None,
) -> TurtleResult:
    """Run one search a seed, all on the same batches of items (TURTLE, eq. 12 with the first-order eq. 13).

    Args:
        turtle: spaces, k and settings of the run, kept from batch to batch.
        seeds: (r,) of the searches; each draws its encoder, then the starts of its learners, from its own generator.
        progress: advanced by one an outer step.
        log: called at every step with its number, the cross-entropy of the searches still running, and which these are.
    """
    s = turtle.settings
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    encoders = [encoder_of(start) for start in turtle.starts(generators)]
    moments = Moments.zero(_flat(encoders))
    learners, learned = _cold(turtle, generators)
    watched = turtle.rows(np.arange(len(turtle.spaces.train))[:: -(-len(turtle.spaces.train) // PROBE)])
    labels_then = torch.zeros(0)
    quiet = torch.zeros(len(seeds), dtype=torch.int64, device=turtle.spaces.device)
    running = list(range(len(seeds)))
    weights = [torch.empty_like(w) for w in map(weights_of, encoders)]  # of the searches as they end
    iterations, reasons = [s.iterations] * len(seeds), [ALL_ITERATIONS] * len(seeds)
    for step in range(s.iterations):
        rows = turtle.batch(BATCHES, step)
        labels, shares = task_labels(rows, [weights_of(encoder) for encoder in encoders])
        if s.random_init and step:
            learners, learned = _cold(turtle, generators)
        teach(rows, labels, learners, learned, s.inner_steps, s.inner_lr)
        gradients, loss = outer_gradient(rows, labels, shares, learners, s.entropy_weight)
        pulled = [pull_back(encoder, gradient) for encoder, gradient in zip(encoders, gradients, strict=True)]
        adam(_flat(encoders), _flat(pulled), moments, schedule(s, step)[0])
        if log is not None:
            log(step, loss, running)
        if progress is not None:
            progress.advance(1, **({"loss": f"{float(loss.mean()):.3f}"} if step % CHECK_EVERY == 0 else {}))
        if not s.early_stop or step % CHECK_EVERY != CHECK_EVERY - 1 or step + 1 == s.iterations:
            continue
        found = [weights_of(encoder) for encoder in encoders]
        now = task_labels(watched, found)[0].argmax(1)
        quiet = torch.where((labels_then == now).all(0), quiet + CHECK_EVERY, 0) if step >= CHECK_EVERY else quiet
        labels_then, stopped = now, quiet >= PATIENCE
        if not bool(stopped.any()):
            continue
        for place in stopped.nonzero().flatten().tolist():
            iterations[running[place]], reasons[running[place]] = step + 1, UNCHANGED
            for kept, w in zip(weights, found, strict=True):
                kept[..., running[place]] = w[..., place]
        going = (~stopped).nonzero().flatten()
        running = [running[place] for place in going.tolist()]
        if not running:
            break
        generators = [generators[place] for place in going.tolist()]
        encoders = [Encoder(*(part[..., going] for part in encoder)) for encoder in encoders]
        learners = [learner[..., going] for learner in learners]
        moments, learned = _kept(moments, going), _kept(learned, going)
        labels_then, quiet = labels_then[:, going], quiet[going]
    if running:
        for kept, encoder in zip(weights, encoders, strict=True):
            kept[..., running] = weights_of(encoder)
    elif progress is not None:
        progress.advance(s.iterations - max(iterations))
    return TurtleResult(weights, objective(turtle, weights), iterations, reasons)


def objective(turtle: Turtle, weights: Sequence[Tensor]) -> NDArray[np.float64]:
    """(r,) mean cross-entropy of freshly taught learners, summed over spaces, in nats, without the entropy term.

    Over 20 random batches that the run's seed fixes; the learners, `inner_steps` steps from a random start that all
    searches share, are judged on what they learned from, as nothing is held out. Lower is better. It ranks searches of
    one run; its size depends on k, the spaces and the settings.

    Args:
        weights: (d + 1, k, r) task encoders in each space.
    """
    s, r = turtle.settings, weights[0].shape[2]
    total = np.zeros(r)
    for number in range(OBJECTIVE_BATCHES):
        shared = torch.Generator().manual_seed(s.seed * OBJECTIVE_BATCHES + number)
        learners = [start.expand(-1, -1, r).clone() for start in turtle.starts([shared])]
        rows = turtle.batch(OBJECTIVE, number)
        labels, _ = task_labels(rows, weights)
        teach(rows, labels, learners, Moments.zero(learners), s.inner_steps, s.inner_lr)
        total += learners_error(rows, learners, labels)[0].double().cpu().numpy() / OBJECTIVE_BATCHES
    return total


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


def _cold(turtle: Turtle, generators: Sequence[torch.Generator]) -> tuple[list[Tensor], Moments]:
    """Learners from a new random start, and a new optimiser for them."""
    learners = turtle.starts(generators)
    return learners, Moments.zero(learners)


def _flat(encoders: Sequence[Encoder]) -> list[Tensor]:
    return [part for encoder in encoders for part in encoder]


def _kept(moments: Moments, going: Tensor) -> Moments:
    """Without the searches that have ended."""
    return Moments([m[..., going] for m in moments.means], [q[..., going] for q in moments.squares], moments.steps)
