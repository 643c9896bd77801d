"""Reliable items: which there are, and which are picked for the label file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Picked:
    """The selection, class by class, best first: the rows of a label file."""

    index: NDArray[np.int64]  # (m,) items
    label: NDArray[np.int64]  # (m,) their classes
    rank: NDArray[np.int64]  # (m,) 1 = the most certain of its class
    reason: list[str]  # (m,) why it was picked


class TooFewReliable(InputError):
    """A class has fewer reliable items than asked for; `table` says how many each has."""


def reliable_items(agreement: Shares, neighbour_agreement: Shares) -> NDArray[np.bool_]:
    """(n,) whether more than half of the searches and more than half of the neighbours agree with the consensus."""
    return (agreement > 0.5) & (neighbour_agreement > 0.5)


def pick(
    labels: NDArray[np.int64],
    agreement: Shares,
    neighbour_agreement: Shares,
    train: NDArray[np.bool_],
    per_class: int,
    k: int,
    *,
    allow_short: bool = False,
    names: Sequence[str] | None = None,
) -> Picked:
    """At most `per_class` reliable train items of each class, the most certain first.

    Certain is an item as its weaker witness: the smaller of agreement and neighbour agreement; then the sum of both,
    then the order of the items.

    Args:
        labels, agreement, neighbour_agreement: (n,) the consensus.
        train: (n,) True for train items.
        per_class: N, 1 or more.
        allow_short: take what there is where a class has fewer.
        names: (k,) class names for the table of an error.

    Raises:
        InputError: `per_class` below 1.
        TooFewReliable: a class has fewer reliable items, and `allow_short` is off; or no class has any.
    """
    if per_class < 1:
        raise InputError(f"--per-class {per_class} picks nothing: give 1 or more")
    candidates = train & reliable_items(agreement, neighbour_agreement)
    have = np.bincount(labels[candidates], minlength=k)
    if not have.sum():
        raise TooFewReliable(
            "no item is reliable: run more searches, give other spaces, or ask fewer --neighbours in discover",
            _table(have, names),
        )
    short = int(np.count_nonzero(have < per_class))
    if short and not allow_short:
        least = f"give {have.min()} or fewer" if have.min() else "run more searches"
        raise TooFewReliable(
            f"--per-class {per_class}: {short} of {k} classes have fewer reliable items; {least}, "
            "or take what there is with --allow-short",
            _table(have, names),
        )
    chosen = []
    for label in range(k):
        items = np.flatnonzero(candidates & (labels == label))
        weaker = np.minimum(agreement[items], neighbour_agreement[items])
        both = agreement[items] + neighbour_agreement[items]
        chosen.append(items[np.lexsort((items, -both, -weaker))][:per_class])
    index = np.concatenate(chosen)
    reasons = [f"{agreement[i]:.0%} of searches and {neighbour_agreement[i]:.0%} of neighbours agree" for i in index]
    rank = np.concatenate([np.arange(1, len(items) + 1) for items in chosen])
    return Picked(index, labels[index], rank, reasons)


def _table(have: NDArray[np.int64], names: Sequence[str] | None) -> str:
    """How many reliable items each class has, one class a line."""
    names = names or [f"class-{label:02d}" for label in range(len(have))]
    width = max(5, *(len(name) for name in names))
    rows = [f"{name:<{width}}  {count:>14,}" for name, count in zip(names, have, strict=True)]
    return "\n".join([f"{'class':<{width}}  {'reliable items':>14}", *rows])
