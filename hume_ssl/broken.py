"""Images that cannot be read, left out of the items and listed, so that later commands leave out the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hume_ssl.errors import InputError
from hume_ssl.items import Items
from hume_ssl.progress import Progress
from hume_ssl.sources.source import find_broken


@dataclass(frozen=True)
class Broken:
    """An image that cannot be read.

    Attributes:
        filepath: as the items have it; "" where they have no files.
        reason: why.
        position: its number, from 0, among all the images that were given.
    """

    filepath: str
    reason: str
    position: int


def skip_broken(items: Items, progress: Progress | None = None) -> tuple[Items, list[Broken]]:
    """The items without the images that cannot be read, and those. All are decoded.

    Raises InputError where none can be read.
    """
    if items.source is None or items.array is not None:
        return items, []
    reasons = find_broken(items.source, progress)
    found = [Broken(items.filepaths[i], reason, i) for i, reason in reasons.items()]
    if len(found) == len(items):
        first = found[0]
        raise InputError(f"none of the {len(found)} images can be read; the first, {first.filepath}: {first.reason}")
    return leave_out(items, reasons), found


def leave_out_listed(items: Items, filepaths: Sequence[str], positions: Sequence[int]) -> Items:
    """The items without those that an earlier call of `skip_broken` found in them; nothing is decoded.

    They are known by name, as some may have been repaired or removed since; by number where they have none.

    Args:
        items: n images, all of them.
        filepaths, positions: (m,) of those to leave out.
    """
    names = {name for name in filepaths if name}
    numbers = {number for name, number in zip(filepaths, positions, strict=True) if not name}
    return leave_out(items, {i: "" for i, name in enumerate(items.filepaths) if name in names or i in numbers})


def leave_out(items: Items, reasons: Mapping[int, str]) -> Items:
    """The items without those with a reason."""
    if not reasons:
        return items
    return items.take(np.array([i for i in range(len(items)) if i not in reasons], dtype=np.intp))


def sentence(found: Sequence[Broken], kept: int) -> str:
    """How many are left out, beside so many kept, and why the first is."""
    first = found[0]
    why = f"{first.filepath or f'number {first.position}'}: {first.reason}"
    return f"{len(found)} of {len(found) + kept} images cannot be read and are left out (the first, {why})"
