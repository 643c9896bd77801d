"""One batch of searches from beginning to end: outer steps, labels of all items, scores; by either objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hume_ssl.progress import Progress
from hume_ssl.schema import SearchConfig
from hume_ssl.search import (
    SEEDS_A_RUN,
    Searches,
    assign_labels,
    batch_size,
    check_classes,
    check_objective,
    check_prior,
    engine,
    turtle_batch,
    turtle_spaces,
)
from hume_ssl.search.midway import Midway
from hume_ssl.search.prior import ITEMS, MARGIN, STRENGTHS, TRIED, silhouettes
from hume_ssl.search.score import generalization_scores
from hume_ssl.search.solvers import Judged, Solvers
from hume_ssl.search.subsets import Spaces

Pool = dict[tuple[str, int], Judged]
# Runs the outer steps of a search a seed: what was found, and the fields of `Searches` with encoders and labellings.
Run = Callable[
    [Sequence[int], Progress | None, Midway | None],
    tuple[engine.BatchResult | turtle_batch.TurtleResult, dict[str, Any]],
]


def batch_runner(
    spaces: Spaces,
    classes: int,
    config: SearchConfig,
    strength: float | None = None,
    progress: Progress | None = None,
    pool: Pool | None = None,
) -> Callable[[int, Progress | None, Midway | None], Searches]:
    """What runs the whole batch that begins with a search; what it finds follows from that search's number alone.

    Where class sizes are free, `strength` is what an earlier call has chosen; None: chosen here, by searches that
    advance `progress`. `pool` holds the subsets solved so far, for callers that search the same spaces for several
    numbers of classes. Raises InputError as `run_searches` does.
    """
    check_prior(config, classes)
    if config.prior == "free":
        strength = strength or free_strength(spaces, classes, config, progress)
        config = with_strength(config, strength)
    search = _turtle(spaces, classes, config) if config.objective == "turtle" else _hume(spaces, classes, config, pool)

    def run(start: int, progress: Progress | None, midway: Midway | None) -> Searches:
        seeds = [config.seed * SEEDS_A_RUN + start + i for i in range(batch_size(classes, config, spaces.device))]
        result, encoders = search(seeds, progress, midway)
        train = encoders["labellings"][:, spaces.train]
        return Searches(
            seeds=seeds,
            objective=result.objective,
            generalization_score=generalization_scores(spaces, train, classes),
            classes_found=[len(np.unique(row)) for row in train],
            iterations=result.iterations,
            stop_reasons=result.stop_reasons,
            strength=strength,
            **encoders,
        )

    return run


def free_strength(spaces: Spaces, classes: int, config: SearchConfig, progress: Progress | None = None) -> float:
    """Of the strengths tried, the one with the highest mean silhouette over the first ten searches of the run; 1, the
    uniform prior's, unless another is above it by the margin."""
    size = min(TRIED, batch_size(classes, config, spaces.device))
    seeds = [config.seed * SEEDS_A_RUN + i for i in range(size)]
    places = np.arange(len(spaces.train))[:: -(-len(spaces.train) // ITEMS)]
    rows, found = spaces.judge_rows(spaces.train[places]), {}
    for strength in STRENGTHS:
        _, encoders = _hume(spaces, classes, with_strength(config, strength))(seeds, progress, None)
        labellings = encoders["labellings"][:, spaces.train[places]]
        found[strength] = float(silhouettes(rows, labellings, classes).mean())
    best = max(found, key=lambda strength: found[strength])
    return best if found[best] > MARGIN * found[1.0] else 1.0


def with_strength(config: SearchConfig, strength: float) -> SearchConfig:
    """The same searches with the entropy weight times a factor."""
    return config.model_copy(update={"entropy_weight": config.settings().entropy_weight * strength})


def _hume(spaces: Spaces, classes: int, config: SearchConfig, pool: Pool | None = None) -> Run:
    """What runs a batch of HUME searches."""
    check_classes(classes, len(spaces.train), spaces.d1)
    solvers = Solvers(spaces, classes, config.settings(), pool)

    def run(
        seeds: Sequence[int], progress: Progress | None, midway: Midway | None
    ) -> tuple[engine.BatchResult, dict[str, Any]]:
        result = engine.search_batch(solvers, seeds, progress, midway=midway)
        weights = np.ascontiguousarray(result.weights.mT.cpu().numpy(), dtype=np.float32)
        labellings = assign_labels(spaces.labeller, result.weights, spaces.centre, spaces.device)
        return result, {"weights": weights, "centre": spaces.centre, "labellings": labellings}

    return run


def _turtle(spaces: Spaces, classes: int, config: SearchConfig) -> Run:
    """What runs a batch of TURTLE searches, in all spaces of the run, the labeller first."""
    check_classes(classes, len(spaces.train), None)
    check_objective(config)
    turtle = turtle_spaces.Turtle(spaces, classes, config.settings())

    def run(
        seeds: Sequence[int], progress: Progress | None, midway: Midway | None
    ) -> tuple[turtle_batch.TurtleResult, dict[str, Any]]:
        result = turtle_batch.search_batch(turtle, seeds, progress)  # nothing is kept midway yet
        weights, bias = turtle_spaces.stored(turtle, result.weights)
        labellings = turtle_spaces.label_rows(turtle.arrays, weights, bias, spaces.device)
        widths = [array.shape[1] for array in turtle.arrays]
        return result, {"weights": weights, "centre": None, "bias": bias, "widths": widths, "labellings": labellings}

    return run
