"""Which members of an archive are images, and in which order: as the folder it would unpack to has them.

Nothing is ever unpacked. Names go into tables all the same, so one that would lead out of that folder is refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.images import SUFFIXES

LARGEST = 1 << 28  # bytes an image may have, unpacked: more is no image, and perhaps meant to fill the memory


@dataclass(frozen=True)
class Member:
    """A member of an archive.

    Attributes:
        name: as the archive has it.
        size: unpacked, in bytes, as the archive says.
        what: "" for a plain file, else what it is instead, as "a link".
        place: its number in the archive.
    """

    name: str
    size: int
    what: str
    place: int


def image_members(archive: Path, members: Sequence[Member]) -> tuple[list[str], NDArray[np.intp]]:
    """Names of the images, (n,), sorted as text, without a "./" before them, and the place of each, (n,).

    Hidden ones (a part of the name starts with a dot, or is the `__MACOSX` of a Macintosh) are skipped, as is all that
    has not the suffix of an image.

    Raises InputError where there is none, one is no plain file or says that it is larger than `LARGEST`, a name is
    absolute or leads upwards, or two have the same name.
    """
    places: dict[str, int] = {}
    for member in members:
        name = member.name.replace("\\", "/")
        if os.path.splitext(name)[1].lower() not in SUFFIXES:
            continue
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or parts[0].endswith(":"):
            raise InputError(
                f"{archive} holds {member.name!r}, a name that leads out of the folder it would unpack to: make the "
                "archive again with names inside of it"
            )
        parts = [part for part in parts if part not in ("", ".")]
        if not parts or any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        name = "/".join(parts)
        if member.what:
            raise InputError(f"{archive} holds {name!r} as {member.what}: make it again with the files themselves")
        if member.size > LARGEST:
            raise InputError(
                f"{archive} holds {name!r} of {member.size >> 20:,} MiB, and an image may have {LARGEST >> 20}: make "
                "it again without that"
            )
        if name in places:
            raise InputError(f"{archive} holds {name!r} twice: make it again with one of them")
        places[name] = member.place
    if not places:
        raise InputError(f"no image in {archive}; it looks for {' '.join(sorted(SUFFIXES))}")
    names = sorted(places)
    return names, np.array([places[name] for name in names], dtype=np.intp)
