"""Labellings renamed to one another's classes, and voted into a consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hume_ssl.metrics import confusion, match_classes

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Consensus:
    """What the searches say together."""

    labels: NDArray[np.int64]  # (n,) class ids
    agreement: NDArray[np.float64]  # (n,) share of all searches that give the item its consensus class; 1 = all
    reference: int  # the search whose class ids the consensus has
    voters: NDArray[np.int64]  # searches whose votes were counted, ascending


def align(labellings: Labels, reference: Labels, k: int, train: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Labellings (r, n), classes renamed to agree with `reference` (n,) on as many train items as can be (Hungarian).

    `train` is (n,) True for the items that count. A labelling's classes keep apart: two are never merged.
    """
    renamed = np.empty(labellings.shape, dtype=np.int64)
    for row, labelling in zip(renamed, labellings, strict=True):
        # `match_classes` leaves -1 where the reference has fewer classes than k: those get the names left over.
        mapping = match_classes(labelling[train], reference[train], k)
        mapping[mapping < 0] = np.setdiff1d(np.arange(k), mapping)[: np.count_nonzero(mapping < 0)]
        row[:] = mapping[labelling]
    return renamed


def find_consensus(
    labellings: Labels,
    k: int,
    *,
    scores: ArrayLike,
    objective: ArrayLike | None = None,
    classes_found: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    train: NDArray[np.bool_] | None = None,
    voters: float = 0.5,
) -> Consensus:
    """Align every labelling to the voter with the best generalization score, then count votes (HUME, section 3.4).

    The published code lets all searches vote (`voters=1`). The objective, which needs no labels, tells good searches
    from bad, so by default only the better half of them by objective votes. Searches that lost classes vote only where
    too few have found all. The agreement is always over all searches, as is the rule for reliable items.

    Args:
        labellings: (r, n) class ids 0..k-1.
        scores: (r,) generalization scores; the highest among voters, the first of equals, names the classes.
        objective: (r,) lower is better; None: all searches vote.
        classes_found: (r,) classes each search has among train items; None: counted.
        train: (n,) True for train items, on which labellings are matched; None: all.
        voters: share of the searches that vote, in (0, 1].

    Returns:
        The consensus: of classes with equally many votes, the lowest id.
    """
    labellings = np.asarray(labellings)
    r, n = labellings.shape
    train = np.ones(n, dtype=bool) if train is None else train
    if classes_found is None:
        classes_found = [len(np.unique(labelling[train])) for labelling in labellings]
    found = np.asarray(classes_found)
    order = np.lexsort((np.zeros(r) if objective is None else np.asarray(objective), -found))
    count = r if objective is None else max(1, round(voters * r))
    complete = int(np.count_nonzero(found == found.max()))
    chosen = np.sort(order[: min(count, complete) if complete >= (count + 1) // 2 else count])
    reference = int(chosen[np.asarray(scores)[chosen].argmax()])
    aligned = align(labellings, labellings[reference], k, train)
    votes = np.zeros((n, k), dtype=np.int32)
    for labelling in aligned[chosen]:
        votes[np.arange(n), labelling] += 1
    labels = votes.argmax(1).astype(np.int64)
    return Consensus(labels, (aligned == labels).mean(0), reference, chosen)


def match_to_old(new: Labels, old: Labels, k: int) -> NDArray[np.int64]:
    """New class id -> old class id, (k,), a permutation: the names of an old consensus (n,) carried to a new one."""
    from scipy.optimize import linear_sum_assignment

    mapping = np.empty(k, dtype=np.int64)
    rows, columns = linear_sum_assignment(confusion(new, old, k, k), maximize=True)
    mapping[rows] = columns
    return mapping
