"""Which items to ask a person about: those whose answers say most about all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus.together import NOISE, Figures, Labels, covariance, together
from hume_ssl.errors import InputError

CANDIDATES = 1000  # items that may be asked about, drawn at random; four times those asked for, where that is more
SEEN = 10_000  # items that answers are to speak for, drawn at random


@dataclass(frozen=True)
class Asked:
    """The m items to ask about, the most useful first."""

    index: NDArray[np.int64]  # (m,) items
    settles: NDArray[np.int64]  # (m,) train items it speaks for: itself, and those nearest to it of all that are asked
    prototype: NDArray[np.bool_]  # (m,) asked as the most typical item of its class
    rival: NDArray[np.int64]  # (m,) the class with the second most votes; -1 = no votes for another


def ask(
    labellings: Labels,
    labels: NDArray[np.int64],
    agreement: Figures,
    k: int,
    count: int,
    *,
    train: NDArray[np.bool_] | None = None,
    answered: NDArray[np.int64] | None = None,
) -> Asked:
    """The `count` train items whose classes a person should give.

    First the most typical item of each class that has no answer yet, the largest classes first, as far as `count`
    goes: their answers name the classes. Then, one after another, the item whose answer takes most variance from all
    items under the model of `together`: large groups that the searches are unsure about come first, and what an
    earlier answer has settled is not asked again. (Greedy A-optimal design; in active learning: Cohn, Ghahramani and
    Jordan, 1996.) No labels are used.

    Args:
        labellings: (r, n) class ids as found; they need not be aligned.
        labels, agreement: (n,) the consensus.
        k: classes.
        count: items to ask about, 1 or more; fewer come where there are fewer.
        train: (n,) True for train items; None: all.
        answered: items that have an answer already.

    Raises InputError: `count` below 1, or no train item without an answer.
    """
    if count < 1:
        raise InputError(f"--ask {count} asks nothing: give 1 or more")
    before = np.unique(answered).astype(np.int64) if answered is not None else np.empty(0, dtype=np.int64)
    items = np.arange(len(labels)) if train is None else np.flatnonzero(train)
    left = np.setdiff1d(items, before)
    if not left.size:
        raise InputError("every train item has an answer: there is nothing left to ask")
    typical = [item for item in _typical(labellings, labels, agreement, k, items, before) if item in left][:count]
    generator = np.random.default_rng(0)
    seen = np.sort(generator.choice(items, min(len(items), SEEN), replace=False))
    drawn = generator.choice(left, min(len(left), max(CANDIDATES, 4 * count)), replace=False)
    candidates = np.union1d(drawn, np.array(typical, dtype=np.int64))
    chosen = _most_telling(labellings, agreement, candidates, seen, before, typical, min(count, len(candidates)))
    index = candidates[chosen]
    others, told = np.setdiff1d(seen, np.concatenate([before, index])), len(before) + len(index)
    owner = together(labellings, np.concatenate([before, index]), others)
    nearest = np.where(owner.max(0) > 0.5, owner.argmax(0), -1)
    spoken = np.bincount(nearest[nearest >= len(before)] - len(before), minlength=len(index))
    settles = 1 + np.floor(spoken * ((len(items) - told) / max(1, len(others)))).astype(np.int64)  # itself and others
    prototype = np.isin(index, typical)
    return Asked(index, settles, prototype, _rivals(labellings, labels, k, items, index))


def _typical(
    labellings: Labels,
    labels: NDArray[np.int64],
    agreement: Figures,
    k: int,
    items: NDArray[np.int64],
    before: NDArray[np.int64],
) -> list[int]:
    """The item of each class without an answer that is put together with most of its class; largest class first.

    Among those with the highest agreement; of equals the first.
    """
    own = labels[items]
    sizes = np.bincount(own, minlength=k)
    share = np.zeros(len(items))  # how much of its class an item is put together with, summed over searches
    for labelling in labellings:
        cells = labelling[items].astype(np.int64) * k + own
        share += np.bincount(cells, minlength=k * k)[cells] / sizes[own]
    best = items[np.lexsort((items, -share, -agreement[items], own))]
    first = np.unique(labels[best], return_index=True)[1]
    chosen = [int(best[i]) for i in first if not (labels[before] == labels[best[i]]).any()]
    return sorted(chosen, key=lambda item: (-sizes[labels[item]], item))


def _most_telling(
    labellings: Labels,
    agreement: Figures,
    candidates: NDArray[np.int64],
    seen: NDArray[np.int64],
    before: NDArray[np.int64],
    first: list[int],
    count: int,
) -> list[int]:
    """Positions in `candidates`: those of `first`, then greedily the one that takes most variance from `seen`."""
    rows = np.concatenate([candidates, before])  # those answered before, last, only take their variance away
    shared = covariance(labellings, agreement, rows, seen)
    within = covariance(labellings, agreement, rows, rows)
    chosen: list[int] = []
    queue = [*range(len(candidates), len(rows)), *np.searchsorted(candidates, first).tolist()]
    while len(chosen) < count:
        if queue:
            best = queue.pop(0)
        else:
            gain = (shared[: len(candidates)] ** 2).sum(1) / (within.diagonal()[: len(candidates)] + NOISE)
            gain[chosen] = -1
            best = int(gain.argmax())
        if best < len(candidates):
            chosen.append(best)
        told = within[:, best] / (within[best, best] + NOISE)
        shared -= np.outer(told, shared[best])
        within -= np.outer(told, within[best].copy())
    return chosen


def _rivals(
    labellings: Labels, labels: NDArray[np.int64], k: int, items: NDArray[np.int64], index: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(m,) the class other than its own that an item's searches' classes mostly hold, -1 = none."""
    votes: NDArray[Any] = np.zeros((len(index), k))
    for labelling in labellings:
        counts = np.bincount(labelling[items].astype(np.int64) * k + labels[items], minlength=k * k).reshape(k, k)
        votes[np.arange(len(index)), counts.argmax(1)[labelling[index]]] += 1
    votes[np.arange(len(index)), labels[index]] = 0
    return np.where(votes.max(1) > 0, votes.argmax(1), -1).astype(np.int64)
