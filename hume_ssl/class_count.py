"""How many classes are there? A few searches for each number k, and the one on which they agree best.

With too few classes it is arbitrary which true classes a search merges, with too many which it splits, so that searches
from other starts find other partitions; at the right number they come back to the same one. So stability says most:
the clustering literature's argument (Ben-Hur, Elisseeff and Guyon, 2002; Lange and others, 2004), with searches in
place of subsamples. It is a heuristic: classes that come in groups (animals and vehicles) are stable at the number of
groups too, and spaces that hold two classes together show one. The generalization score falls and the objective
rises with k whatever the data, so they are reported and have no part in the choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus.stability import pairwise_ari
from hume_ssl.schema import SearchConfig

if TYPE_CHECKING:
    from hume_ssl.progress import Progress
    from hume_ssl.search import Searches
    from hume_ssl.search.subsets import Spaces

SEARCHES = 10  # for each number of classes, where nothing is said
ITERATIONS = 100  # outer steps of a search of the fast preset, a third of its own: enough to tell one k from another


@dataclass(frozen=True)
class Tried:
    """What a few searches for k classes came to; figures are means over them."""

    k: int
    generalization_score: float
    stability: float  # ARI of all pairs of searches; 1 = one partition, 0 = chance
    stability_better_half: float  # the same of the half that is better by objective
    objective: float
    searches: int
    collapsed: int  # searches that lost a class

    @property
    def support(self) -> float:
        """What numbers of classes are compared by; higher is better.

        The mean of both stabilities (that of all pairs is the less noisy one, that of the better half is not blurred by
        bad searches), times the root of log k: where there is nothing to find any more the adjusted Rand index still
        falls slowly with k, and with this factor it was about level on digits, usps and cifar10-dev, on which the
        factor was chosen. Differences of a few hundredths are within the noise of ten searches.
        """
        return (self.stability + self.stability_better_half) / 2 * math.sqrt(math.log(self.k))


def choose(tried: Sequence[Tried]) -> int:
    """The k it would take: the one with the most support; of equals the smallest.

    A number at which most searches lost classes is not taken: they agree on fewer. Where that is so at every number,
    the smallest.
    """
    return max(tried, key=lambda one: (keeps(one), one.support if keeps(one) else 0.0, -one.k)).k


def keeps(one: Tried) -> bool:
    """Whether at least half of the searches found as many classes as they were to find."""
    return 2 * one.collapsed <= one.searches


def figures(found: Searches, k: int, train: NDArray[np.bool_]) -> Tried:
    """The figures of two or more searches for k classes; `train` is (n,) True for train items."""
    table = pairwise_ari(found.labellings, k, train)
    better = np.argsort(found.objective, kind="stable")[: max(2, len(found) // 2)]
    return Tried(
        k=k,
        generalization_score=_rounded(found.generalization_score.mean()),
        stability=_rounded(_mean_of_pairs(table)),
        stability_better_half=_rounded(_mean_of_pairs(table[np.ix_(better, better)])),
        objective=_rounded(found.objective.mean()),
        searches=len(found),
        collapsed=int(np.count_nonzero(np.array(found.classes_found) < k)),
    )


def quick(config: SearchConfig) -> SearchConfig:
    """The settings to count classes with: those of the recipe, and a third of the steps where it leaves them open."""
    open_steps = config.iterations is None and config.preset == "fast" and config.objective == "hume"
    return config.model_copy(update={"iterations": ITERATIONS}) if open_steps else config


def settings_for(k: int, config: SearchConfig, device: str) -> SearchConfig:
    """The settings for k: all its searches side by side, or as many as go, for a whole batch would be too many."""
    from hume_ssl.search import batch_size

    return config.model_copy(update={"batch": min(config.searches, batch_size(k, config, device))})


def try_counts(
    spaces: Spaces, counts: Sequence[int], config: SearchConfig, n: int, progress: Progress | None = None
) -> Iterator[Tried]:
    """Run `config.searches` searches for each k, in order.

    Args:
        spaces: from `prepare_spaces`.
        counts: numbers of classes, each from 2 to the width of the labeller.
        n: items, test items too.
        progress: advanced by one an outer step.
    """
    from hume_ssl.search import run_searches

    train = np.zeros(n, dtype=bool)
    train[spaces.train] = True
    pool: dict[Any, Any] = {}  # subsets solved once for all k
    for k in counts:
        found = run_searches(spaces, k, settings_for(k, config, spaces.device), progress=progress, pool=pool)
        yield figures(found, k, train)


def _mean_of_pairs(table: NDArray[np.float64]) -> float:
    r = len(table)
    return float((table.sum() - r) / (r * (r - 1)))


def _rounded(value: Any) -> float:
    return round(float(value), 6)
