"""A person's answers: which class a name means, and the consensus moved by what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus.align import match
from hume_ssl.consensus.strategies import Picked
from hume_ssl.consensus.together import NOISE, Figures, Labels, covariance
from hume_ssl.consensus.vote import vote_share
from hume_ssl.errors import InputError

Ids = NDArray[np.int64]

CHUNK = 8192  # items moved at once


@dataclass(frozen=True)
class Corrected:
    """The consensus after answers: n items."""

    labels: Ids  # (n,) class ids; answered items have the answer
    agreement: Figures  # (n,) share of the searches' votes for that class, matched to these labels: what machines say


def apply_answers(
    labellings: Labels,
    labels: Ids,
    agreement: Figures,
    index: Ids,
    answers: Ids,
    k: int,
    *,
    weights: Figures | None = None,
    train: NDArray[np.bool_] | None = None,
) -> Corrected:
    """The consensus moved by a person's answers.

    An answered item takes its answer. All others are read anew: to their vote shares is added the mean of the Gaussian
    process of `together`, given by how far the answers are from the votes of the answered items. An item moves where
    another class comes out ahead: a group that the searches always put together with items answered otherwise moves
    as a whole, once two answers say so, one where searches are in doubt. Without answers nothing moves.

    Args:
        labellings: (r, n) class ids as found; their classes are matched to `labels` here.
        labels, agreement: (n,) the consensus as the searches left it, before any answer.
        index: (m,) answered items, each once.
        answers: (m,) their classes, 0..k-1.
        weights: (r,) of the searches' votes, 0 = none; None: equal.
        train: (n,) True for train items, on which classes are matched; None: all.
    """
    r, n = labellings.shape
    weights = np.ones(r) if weights is None else np.asarray(weights, dtype=np.float64)
    train = np.ones(n, dtype=bool) if train is None else train
    matching = match(labellings, labels, k, train)
    moved = labels.copy()
    if len(index):
        prior = covariance(labellings, agreement, index, index).astype(np.float64)
        residual = np.eye(k)[answers] - _shares(labellings, matching, weights, index, k)
        told = _told(prior, residual)
        for start in range(0, n, CHUNK):
            rows = np.arange(start, min(start + CHUNK, n))
            shares = _shares(labellings, matching, weights, rows, k)
            own = (np.arange(len(rows)), labels[rows])
            shares[own] = shares.max(1)  # whatever the consensus was voted by, it holds where nothing is said
            shares += covariance(labellings, agreement, index, rows).T @ told
            ahead = shares.argmax(1)
            moved[rows] = np.where(shares.max(1) > shares[own], ahead, labels[rows])
        moved[index] = answers
    if np.array_equal(moved, labels):
        return Corrected(moved, agreement)
    return Corrected(moved, vote_share(labellings, match(labellings, moved, k, train), weights, moved))


def name_classes(names: Sequence[str], classes: Ids, votes: Figures, free: NDArray[np.bool_]) -> dict[str, int]:
    """New name -> the class it means, one to one: where most of its items are (Hungarian); of equals, most votes.

    A name none of whose items lie in the class left for it gets that class only if some other answer lies there: then
    its own content is known to be something else. Otherwise it gets none yet.

    Args:
        names: (m,) what each answered item was called; "" = by no new name.
        classes: (m,) the consensus classes of the answered items.
        votes: (m, k) their vote shares.
        free: (k,) True for classes without a name of their own.

    Raises InputError: more new names than free classes.
    """
    from scipy.optimize import linear_sum_assignment

    new = sorted({name for name in names if name})
    room = np.flatnonzero(free)
    if len(new) > len(room):
        raise InputError(
            f"the answers have {len(new)} new names ({', '.join(new[:12])}{', ...' if len(new) > 12 else ''}) for "
            f"{len(room)} classes without a name: correct the spelling, give two of them one name, or run discover "
            "with more --classes"
        )
    counts = np.zeros((len(new), len(free)))
    support = np.zeros((len(new), len(free)))
    for name, label, share in zip(names, classes, votes, strict=True):
        if name:
            counts[new.index(name), label] += 1
            support[new.index(name)] += share
    weight = counts + support / (len(names) + 1)  # votes break ties only: all of them together are below one item
    rows, columns = linear_sum_assignment(weight[:, room], maximize=True)
    return {
        new[row]: int(room[column])
        for row, column in zip(rows, columns, strict=True)
        if counts[row, room[column]] > 0 or (classes == room[column]).any()
    }


def _told(prior: Figures, residual: Figures) -> Figures:
    """(m, k) by which the process is moved: the inverse of prior (m, m) plus noise, times residual (m, k).

    The noise is the one with which each answer is best foretold by the others (leave-one-out: Rasmussen and Williams,
    2006, section 5.4.2). Less than NOISE must foretell clearly better, by a twentieth: where answers say that nearest
    items differ, as where classes are badly found, single answers go on moving little.
    """
    best, told = np.inf, residual
    for noise in (NOISE, NOISE / 3, NOISE / 10):
        inverse = np.linalg.inv(prior + noise * np.eye(len(prior)))
        error = float(((inverse @ residual / inverse.diagonal()[:, None]) ** 2).sum())
        if error < best * 0.95:
            best, told = error, inverse @ residual
    return told


def people_first(picked: Picked, answered: Ids, agreement: Figures, per_class: int) -> Picked:
    """A selection with what people labelled before what machines did, in each class; at most `per_class` of each.

    Args:
        answered: (n,) class a person gave to each item; negative = none.
        agreement: (n,) orders the items of a class that people labelled, the most agreed first.
    """
    index, reasons, ranks = [], [], []
    why = dict(zip(picked.index.tolist(), picked.reason, strict=True))
    items = np.flatnonzero(answered >= 0)
    for label in np.unique(np.concatenate([picked.label, answered[items]])):
        own = items[answered[items] == label]
        own = own[np.lexsort((own, -agreement[own]))]
        rest = picked.index[picked.label == label]
        chosen = np.concatenate([own, rest[~np.isin(rest, own)]])[:per_class]
        index.append(chosen)
        ranks.append(np.arange(1, len(chosen) + 1))
        reasons += ["labelled by a person" if answered[i] >= 0 else why[int(i)] for i in chosen]
    labels = np.repeat(np.unique(np.concatenate([picked.label, answered[items]])), [len(part) for part in index])
    return Picked(np.concatenate(index), labels.astype(np.int64), np.concatenate(ranks), reasons)


def vote_shares(
    labellings: Labels,
    labels: Ids,
    index: Ids,
    k: int,
    *,
    weights: Figures | None = None,
    train: NDArray[np.bool_] | None = None,
) -> Figures:
    """(m, k) share of the searches' votes, by weight, for each class of the items `index`; arguments as above."""
    r, n = labellings.shape
    train = np.ones(n, dtype=bool) if train is None else train
    matching = match(labellings, labels, k, train)
    return _shares(labellings, matching, np.ones(r) if weights is None else weights, index, k)


def _shares(labellings: Labels, matching: Ids, weights: Figures, rows: Ids, k: int) -> Figures:
    """(len(rows), k) vote shares, by weight, of some items."""
    votes = np.zeros((len(rows), k))
    for search in np.flatnonzero(weights):
        votes[np.arange(len(rows)), matching[search][labellings[search, rows]]] += weights[search]
    shares: Figures = votes / weights.sum()
    return shares
