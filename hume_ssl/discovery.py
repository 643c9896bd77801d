"""What searches came to: their consensus, and which items are reliable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.config import ConsensusConfig
from hume_ssl.consensus import Consensus, agreement_of, chosen_spaces, find_consensus, find_nearest, reliable_items
from hume_ssl.progress import Progress
from hume_ssl.search import Searches

Array = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Discovery:
    """Searches and their consensus: n items, r searches, k classes."""

    classes: int  # k
    train: Mask  # (n,) True for train items, all that searches and votes have learned from
    searches: Searches
    labels: NDArray[np.int64]  # (n,) consensus classes, test items too
    agreement: NDArray[np.float64]  # (n,) share of the searches' votes, by weight, for that class
    neighbour_agreement: NDArray[np.float64]  # (n,) share of nearest train items of the same class
    reliable: Mask  # (n,) both above one half
    weights: NDArray[np.float64]  # (r,) of the searches' votes; 0 = not counted
    stability: NDArray[np.float64]  # (r,) mean adjusted Rand index of a search with the others
    left_out: list[str]  # (r,) why the vote of a search does not count; "" = it does
    reference: int | None = None  # the search whose class decides ties; None: the one that weighs most
    matching: NDArray[np.int64] | None = None  # (r, k) class of the vote of each search's classes; None: worked out
    naming: NDArray[np.int64] | None = None  # (k,) consensus class of each class of the vote; None: the same
    neighbour_search: str = ""  # how the neighbours were found: exact, or with which measured recall
    spaces: tuple[Array, ...] = ()  # (n, d) the labeller, if there is one, and the judges; (): not kept


def conclude(
    searches: Searches,
    judges: Sequence[Array],
    train: Mask,
    classes: int,
    config: ConsensusConfig,
    labeller: Array | None = None,
    progress: Progress | None = None,
) -> Discovery:
    """The consensus of searches: alignment, vote, neighbours in the chosen spaces, reliable items.

    `progress` is advanced by one a distinct item whose neighbours are found, which takes the time.
    """
    consensus = find_consensus(
        searches.labellings,
        classes,
        scores=searches.generalization_score,
        objective=searches.objective,
        classes_found=searches.classes_found,
        train=train,
        align=config.align,
        weights=config.weights,
        voters=config.voters,
        vote=config.vote,
    )
    naming = names_of_first(consensus)
    labels = naming[consensus.labels]
    spaces = chosen_spaces(config.neighbour_space, labeller, judges)
    nearest = find_nearest(spaces, train, config.neighbours, progress)
    nearby = agreement_of(nearest, labels, train)
    reliable = reliable_items(consensus.agreement, nearby)
    return Discovery(
        classes=classes,
        train=train,
        searches=searches,
        labels=labels,
        agreement=consensus.agreement,
        neighbour_agreement=nearby,
        reliable=reliable,
        weights=consensus.weights,
        stability=consensus.stability,
        left_out=consensus.left_out,
        reference=consensus.reference,
        matching=consensus.matching,
        naming=naming,
        neighbour_search=nearest.how,
    )


def names_of_first(consensus: Consensus) -> NDArray[np.int64]:
    """(k,) the number of each class of the vote: the one that the first search left in gave it.

    That search is drawn from the run's seed, so classes keep their numbers where another processor or number format
    rounds otherwise, and another search comes out the heaviest.
    """
    first = next((i for i, reason in enumerate(consensus.left_out) if not reason), consensus.reference)
    return np.argsort(consensus.matching[first])
