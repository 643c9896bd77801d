"""The rule for reliable items, and what is said where a class has too few of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError

Shares = NDArray[np.float64]


class TooFewReliable(InputError):
    """A class has fewer reliable items than asked for; `table` says how many each has."""


def reliable_items(agreement: Shares, neighbour_agreement: Shares) -> NDArray[np.bool_]:
    """(n,) whether more than half of the searches and more than half of the neighbours agree with the consensus."""
    return (agreement > 0.5) & (neighbour_agreement > 0.5)


def check_enough(
    have: NDArray[np.int64], per_class: int, *, allow_short: bool = False, names: Sequence[str] | None = None
) -> None:
    """Raise TooFewReliable where there is less to pick from than asked for.

    Args:
        have: (k,) reliable train items of each class.
        per_class: N.
        allow_short: classes with fewer, or none, will do, as long as one class has any.
        names: (k,) for the table.
    """
    if not have.sum():
        raise TooFewReliable(
            "no item is reliable: run more searches, give other spaces, or ask fewer --neighbours in discover",
            _table(have, names),
        )
    short = int(np.count_nonzero(have < per_class))
    if short and not allow_short:
        least = f"give {have.min()} or fewer" if have.min() else "run more searches"
        raise TooFewReliable(
            f"--per-class {per_class}: {short} of {len(have)} classes have fewer reliable items; {least}, "
            "or take what there is with --allow-short",
            _table(have, names),
        )


def _table(have: NDArray[np.int64], names: Sequence[str] | None) -> str:
    """How many reliable items each class has, one class a line."""
    names = names or [f"class-{label:02d}" for label in range(len(have))]
    width = max(5, *(len(name) for name in names))
    rows = [f"{name:<{width}}  {count:>14,}" for name, count in zip(names, have, strict=True)]
    return "\n".join([f"{'class':<{width}}  {'reliable items':>14}", *rows])
