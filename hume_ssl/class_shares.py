"""How large the classes are to be, as a user says it: uniform, free, or the share of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hume_ssl.errors import InputError

WORDS = ("uniform", "free")
TOLERANCE = 1e-3  # how far from 1 the sum of shares may be, as of shares with a few digits


def checked_shares(values: Sequence[float]) -> tuple[float, ...]:
    """Shares of k classes, the largest first, their sum brought to 1.

    The classes a search finds have no names, so that the order in which shares come means nothing; sorted, the same
    shares are the same run. Sorting and scaling what is sorted and scaled changes no bit. Raises ValueError, naming the
    value: fewer than two shares, one that is not above 0, or a sum further from 1 than 0.001.
    """
    for place, value in enumerate(values):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"class shares above 0, not {value} (class {place})")
    if len(values) < 2:
        raise ValueError(f"shares of two classes or more, not {len(values)}")
    total = math.fsum(values)
    if abs(total - 1) > TOLERANCE:
        raise ValueError(f"class shares that sum to 1, not to {total:.6g}")
    scale = total if abs(total - 1) > 1e-12 else 1.0  # what was scaled once is left as it is
    return tuple(sorted((float(value) / scale for value in values), reverse=True))


def read_prior(given: str | Path | Sequence[float]) -> str | tuple[float, ...]:
    """What `--prior` takes: "uniform", "free", or a file of shares (or the shares themselves, from Python).

    A file is a CSV with a column `share`, a row a class (what other columns say is not read), or .npy (k,). Raises
    InputError, naming the file and the value, where it is no list of shares.
    """
    if isinstance(given, str) and given in WORDS:
        return given
    if not isinstance(given, str | Path):
        return _named("prior", [float(value) for value in given])
    path = Path(given).expanduser()
    if not path.is_file():
        raise InputError(f"--prior {given}: no such file: give uniform, free, or a file of class shares")
    if path.suffix.lower() == ".csv":
        return _named(str(path), _column(path))
    from hume_ssl.inputs import open_array

    array = open_array(path)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise InputError(f"{path} is {array.dtype} of shape {array.shape}: class shares are k numbers, (k,)")
    return _named(str(path), array.tolist())


def _column(path: Path) -> list[float]:
    """The column `share` of a CSV; what is no number counts as NaN, but is named as it stands."""
    from hume_ssl.inputs import read_table

    table = read_table(path, ("share",))
    values = []
    for row, text in enumerate(table["share"], 1):
        try:
            values.append(float(text))
        except ValueError:
            raise InputError(f"{path} row {row}: the share {text!r} is no number: give one above 0") from None
    return values


def _named(where: str, values: list[float]) -> tuple[float, ...]:
    try:
        return checked_shares(values)
    except ValueError as error:
        raise InputError(f"{where}: expected {error}") from None


def matched_shares(shares: Sequence[float], sizes: Sequence[int]) -> list[float]:
    """Shares (k,), the largest first, in the order of the classes they belong to: the largest found class gets the
    largest share, and so on. `sizes` (k,) are those of the found classes; of equal ones the first counts as larger."""
    order = sorted(range(len(sizes)), key=lambda label: -sizes[label])
    by_class = dict(zip(order, shares, strict=True))
    return [by_class[label] for label in range(len(sizes))]
