"""One batch of TURTLE searches, side by side: the outer loop, and the objective.

Read `search_batch` for the algorithm from top to bottom; its mathematics is in `turtle`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.progress import Progress
from hume_ssl.search.engine import ALL_ITERATIONS, CHECK_EVERY, PATIENCE, PROBE, UNCHANGED, schedule
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
from hume_ssl.search.turtle_spaces import BATCHES, OBJECTIVE, Turtle

OBJECTIVE_BATCHES = 20  # fixed by the run, over which the objective of every search is measured


@dataclass(frozen=True)
class TurtleResult:
    """What r finished searches found, in the order of their seeds."""

    weights: list[Tensor]  # (d + 1, k, r) of each space, for rows as `Turtle.rows` gives them
    objective: NDArray[np.float64]  # (r,) as `objective` defines it
    iterations: list[int]  # (r,) outer steps taken
    stop_reasons: list[str]  # (r,) "all iterations" or "labels unchanged for 50 steps"


@dataclass
class State:
    """State of the r searches still running: what changes from step to step."""

    generators: list[torch.Generator]  # one a search
    encoders: list[Encoder]  # one a space
    moments: Moments  # of the encoders
    learners: list[Tensor]  # (d + 1, k, r) of each space
    learned: Moments  # of the learners
    labels: Tensor | None = None  # (m, r) of the items watched, at the last look
    quiet: int | Tensor = 0  # (r,) steps for which these have not changed

    def parts(self) -> list[Tensor]:
        """What Adam moves: direction, length and bias of each encoder."""
        return [part for encoder in self.encoders for part in encoder]

    def weights(self) -> list[Tensor]:
        """(d + 1, k, r) weights of the encoders."""
        return [weights_of(encoder) for encoder in self.encoders]

    def forget_learned(self, turtle: Turtle) -> None:
        """Learners from a new random start, with a new optimiser."""
        self.learners = turtle.starts(self.generators)
        self.learned = Moments.zero(self.learners)

    def look(self, labels: Tensor) -> Tensor:
        """(r,) whether a search's labels, (m, r), are the same now and at all looks of the last 50 steps."""
        same = torch.zeros_like(labels[0], dtype=torch.bool) if self.labels is None else (labels == self.labels).all(0)
        self.quiet, self.labels = torch.where(same, self.quiet + CHECK_EVERY, 0), labels
        return self.quiet >= PATIENCE

    def keep(self, going: Tensor) -> None:
        """Leave out the searches that have ended."""
        self.generators = [self.generators[place] for place in going.tolist()]
        self.encoders = [Encoder(*(part[..., going] for part in encoder)) for encoder in self.encoders]
        self.learners = [learner[..., going] for learner in self.learners]
        self.moments, self.learned = (
            Moments([m[..., going] for m in old.means], [q[..., going] for q in old.squares], old.steps)
            for old in (self.moments, self.learned)
        )
        assert self.labels is not None and isinstance(self.quiet, Tensor)
        self.labels, self.quiet = self.labels[:, going], self.quiet[going]


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
    s, n = turtle.settings, len(turtle.spaces.train)
    state = _begin(turtle, seeds)
    watched = turtle.rows(np.arange(n)[:: -(-n // PROBE)]) if s.early_stop else []
    running = list(range(len(seeds)))
    weights = [torch.empty_like(w) for w in state.weights()]  # of the searches as they end
    iterations, reasons = [s.iterations] * len(seeds), [ALL_ITERATIONS] * len(seeds)
    for step in range(s.iterations):
        rows = turtle.batch(BATCHES, step)
        labels, shares = task_labels(rows, state.weights())
        if s.random_init and step:
            state.forget_learned(turtle)
        teach(rows, labels, state.learners, state.learned, s.inner_steps, s.inner_lr)
        gradients, loss = outer_gradient(rows, labels, shares, state.learners, s.entropy_weight)
        pulled = [pull_back(encoder, by) for encoder, by in zip(state.encoders, gradients, strict=True)]
        adam(state.parts(), [part for encoder in pulled for part in encoder], state.moments, schedule(s, step)[0])
        if log is not None:
            log(step, loss, running)
        if progress is not None:
            progress.advance(1, **({"loss": f"{float(loss.mean()):.3f}"} if step % CHECK_EVERY == 0 else {}))
        if s.early_stop and step % CHECK_EVERY == CHECK_EVERY - 1 and step + 1 < s.iterations:
            found = state.weights()
            stopped = state.look(task_labels(watched, found)[0].argmax(1))
            for place in stopped.nonzero().flatten().tolist():
                iterations[running[place]], reasons[running[place]] = step + 1, UNCHANGED
                for kept, w in zip(weights, found, strict=True):
                    kept[..., running[place]] = w[..., place]
            if bool(stopped.any()):
                going = (~stopped).nonzero().flatten()
                running = [running[place] for place in going.tolist()]
                state.keep(going)
            if not running:
                break
    if running:
        for kept, w in zip(weights, state.weights(), strict=True):
            kept[..., running] = w
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
    return _learned(turtle, weights[0].shape[2], lambda rows, _: task_labels(rows, weights)[0])


def labelling_objective(turtle: Turtle, one_hot: Tensor) -> float:
    """The same of one labelling of the train items, (m, k, 1) one-hot."""
    return float(_learned(turtle, 1, lambda _, positions: one_hot[positions])[0])


def _learned(
    turtle: Turtle, r: int, labels_of: Callable[[list[Tensor], NDArray[np.int64]], Tensor]
) -> NDArray[np.float64]:
    """(r,) `objective` of the labels (b, k, r) that `labels_of` gives for rows and places of a batch."""
    s = turtle.settings
    total = np.zeros(r)
    for number in range(OBJECTIVE_BATCHES):
        shared = torch.Generator().manual_seed(s.seed * OBJECTIVE_BATCHES + number)
        learners = [start.expand(-1, -1, r).clone() for start in turtle.starts([shared])]
        rows = turtle.batch(OBJECTIVE, number)
        labels = labels_of(rows, turtle.positions(OBJECTIVE, number))
        teach(rows, labels, learners, Moments.zero(learners), s.inner_steps, s.inner_lr)
        total += learners_error(rows, learners, labels)[0].double().cpu().numpy() / OBJECTIVE_BATCHES
    return total


def _begin(turtle: Turtle, seeds: Sequence[int]) -> State:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    encoders = [encoder_of(start) for start in turtle.starts(generators)]
    moments = Moments.zero([part for encoder in encoders for part in encoder])
    learners = turtle.starts(generators)
    return State(generators, encoders, moments, learners, Moments.zero(learners))
