"""Labellings voted into a consensus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hume_ssl.consensus.align import COLUMNS, Ids, Labels, Mask, match, match_until_stable, spectral_matching
from hume_ssl.consensus.dawid_skene import dawid_skene
from hume_ssl.consensus.stability import stability
from hume_ssl.consensus.weights import Figures, Weighting, left_out, vote_weights
from hume_ssl.errors import InputError

Alignment = Literal["auto", "spectral", "stable", "reference"]
Voting = Literal["majority", "dawid-skene"]

SPECTRAL_FROM = 20  # searches that a spectral matching must be able to take in, for "auto" to take it
BALLOT = 1 << 21  # votes (items times classes) counted at once: 8 MB, which caches hold


@dataclass(frozen=True)
class Consensus:
    """What the searches say together: n items, r searches."""

    labels: Ids  # (n,) class ids
    agreement: Figures  # (n,) share of the votes, by weight, for the item's consensus class; 1 = all of them
    reference: int  # the search whose class ids the consensus has
    weights: Figures  # (r,) of the votes, at most 1; 0 = not counted
    stability: Figures  # (r,) mean ARI of a search with the others; 1 = all found the same
    left_out: list[str]  # (r,) why the vote of a search does not count; "" = it does
    matching: Ids  # (r, k) consensus class that each class of each search is


def find_consensus(
    labellings: Labels,
    k: int,
    *,
    scores: ArrayLike,
    objective: ArrayLike | None = None,
    classes_found: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    train: Mask | None = None,
    align: Alignment = "auto",
    weights: Weighting = "objective",
    voters: float = 1.0,
    vote: Voting = "majority",
) -> Consensus:
    """Match the classes of all labellings, then vote (HUME, section 3.4, and what made it more robust).

    The paper is align="reference", weights="equal": every labelling matched to the one with the best generalization
    score, one vote each. Searches that lost classes, or that agree with no other, are left out and told (`left_out`).

    Args:
        labellings: (r, n) class ids 0..k-1.
        scores: (r,) generalization scores.
        objective: (r,) lower is better; None: all votes count alike, unless `weights` names another figure.
        classes_found: (r,) classes each search has among train items; None: counted.
        train: (n,) True for train items, on which labellings are matched; None: all.
        align: "reference": to the best score among those heard. "stable": to the heaviest search, then to the vote
            until no class moves. "spectral": to a clustering of all labellings (`spectral_matching`), then as stable.
            "auto": spectral, but stable from 201 classes up, too many for it.
        weights: `vote_weights`.
        voters: share of the searches heard that vote, in (0, 1], the heaviest.
        vote: "majority", of weighted votes; among classes with equally many the one of the reference if it is one of
            them, else the lowest id. "dawid-skene": searches' confusions are estimated too, and votes read by them.

    Raises InputError: weights by a figure that is not a number for a search heard.
    """
    labellings = np.asarray(labellings)
    r, n = labellings.shape
    train = np.ones(n, dtype=bool) if train is None else train
    if classes_found is None:
        classes_found = [int(np.count_nonzero(np.bincount(row[train]))) for row in labellings]
    score = np.asarray(scores, dtype=np.float64)
    if objective is None and weights == "objective":
        weights = "equal"
    loss = np.zeros(r) if objective is None else np.asarray(objective, dtype=np.float64)
    stable = stability(labellings, k, train)
    reasons = left_out(np.asarray(classes_found), stable, k)
    heard = np.array([not reason for reason in reasons])
    figures = vote_weights(weights, heard, loss, score, stable)
    if not np.isfinite(figures).all():
        raise InputError(f"the {weights} of a search is not a number: give consensus.weights = equal")
    count = max(1, round(voters * np.count_nonzero(heard)))
    order = np.lexsort((np.arange(r), -score, loss, -figures, ~heard))
    for search in np.flatnonzero(heard & (figures == 0)):
        reasons[search] = f"too light: by {weights} too far behind the best to count"
    for search in order[count:]:
        figures[search] = 0
        reasons[search] = reasons[search] or f"not asked: only the heaviest {count} vote, consensus.voters = {voters:g}"
    # The paper's reference has the best score; ours the largest weight.
    reference = int(np.where(heard, score, -np.inf).argmax()) if align == "reference" else int(order[0])
    named = labellings[reference].astype(np.int64)

    def ballot(matching: Ids) -> Ids:
        return weighted_vote(labellings, matching, figures, k, named)

    if align == "spectral" or (align == "auto" and k * SPECTRAL_FROM <= COLUMNS):
        matching = spectral_matching(labellings, figures, named, k, train)
    else:
        matching = match(labellings, named, k, train)
    if align == "reference":
        labels = ballot(matching)
    else:
        matching, labels = match_until_stable(labellings, matching, k, train, ballot)
    if vote == "dawid-skene":
        voting = np.flatnonzero(figures)
        aligned = np.stack([matching[search].astype(np.int32)[labellings[search]] for search in voting])
        labels = dawid_skene(aligned, k, weights=figures[voting], train=train).labels
    agreement = vote_share(labellings, matching, figures, labels)
    return Consensus(labels, agreement, reference, figures, stable, reasons, matching)


def weighted_vote(labellings: Labels, matching: Ids, weights: Figures, k: int, ties: Ids) -> Ids:
    """(n,) the class with the heaviest votes; of equals that in `ties` (n,) if it is one of them, else the lowest id.

    Args:
        labellings: (r, n) class ids as found.
        matching: (r, k) what they are in the consensus's ids.
        weights: (r,) 0 = no vote.
    """
    n = labellings.shape[1]
    labels = np.empty(n, dtype=np.int64)
    voters = np.flatnonzero(weights)
    size = max(1, BALLOT // k)
    for start in range(0, n, size):
        end = min(start + size, n)
        votes = np.zeros((end - start) * k)
        cells = np.arange(0, (end - start) * k, k)
        for search in voters:
            votes[cells + matching[search][labellings[search, start:end]]] += weights[search]
        box = votes.reshape(-1, k)
        best = box.argmax(1)
        # Equal but for rounding is a tie: votes of one weight are added in one order, yet 0.1 + 0.2 is not 0.3.
        tied = votes[cells + ties[start:end]] >= box.max(1) * (1 - 1e-12)
        labels[start:end] = np.where(tied, ties[start:end], best)
    return labels


def vote_share(labellings: Labels, matching: Ids, weights: Figures, labels: Ids) -> Figures:
    """(n,) share of the votes, by weight (r,), for the items' labels (n,); `matching` as in `weighted_vote`."""
    share, total = np.zeros(len(labels)), 0.0
    for search in np.flatnonzero(weights):
        share += weights[search] * (matching[search][labellings[search]] == labels)
        total += weights[search]  # added in the same order, so that all votes together are exactly 1
    return np.asarray(share / total)
