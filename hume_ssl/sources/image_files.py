"""Image files: a folder, read recursively, or a CSV that lists them."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.images import SUFFIXES
from hume_ssl.inputs import read_table
from hume_ssl.sources.source import EncodedSource

_SAMPLE = 32  # files whose contents are part of the hash
_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class FileSource(EncodedSource):
    """Image files.

    Attributes:
        root: folder that relative names start from.
        names: (n,) with forward slashes, or as a CSV has them.
        sizes: (n,) in bytes, when they were listed.
    """

    root: Path
    names: list[str]
    sizes: NDArray[np.int64]

    kind = "files"

    def __len__(self) -> int:
        return len(self.names)

    def path(self, i: int) -> Path:
        """File `i`."""
        return self.root / self.names[i]

    def name(self, i: int) -> str:
        """Its path."""
        return str(self.path(i))

    def entry(self, i: int) -> str:
        """Name and size."""
        return f"{self.names[i]}\t{self.sizes[i]}"

    def digest(self) -> str:
        """sha256 of the entries, and of the first bytes of some files evenly spread.

        Names and sizes alone are the same for other images where those are not compressed (BMP, TIFF).
        """
        found = hashlib.sha256(super().digest().encode())
        for i in np.linspace(0, len(self) - 1, min(_SAMPLE, len(self))).round().astype(int):
            with suppress(OSError):  # what cannot be read is named when images are checked
                if self.path(int(i)).is_file():  # and not a pipe, which would be waited for
                    with self.path(int(i)).open("rb") as file:
                        found.update(hashlib.sha256(file.read(_BYTES)).digest())
        return found.hexdigest()

    def encoded(self, i: int) -> Path:
        """Its path."""
        return self.path(i)

    def take(self, rows: NDArray[np.intp]) -> FileSource:
        """See `Source.take`."""
        return FileSource(self.root, [self.names[i] for i in rows], self.sizes[rows])

    def filepaths(self) -> list[str]:
        """The names."""
        return list(self.names)


def from_folder(folder: Path) -> FileSource:
    """All images below `folder`, sorted by relative path; names that start with a dot are skipped.

    Raises InputError where there are none.
    """
    names = find_images(folder)
    if not names:
        raise InputError(f"no image in the folder {folder}; it looks for {' '.join(sorted(SUFFIXES))}")
    return _from_names(folder, names)


def from_list(path: Path) -> FileSource:
    """The images in the column `filepath` of a CSV, in its order, relative to its folder.

    Raises InputError where it has no such column, no rows, an empty cell, or names a file that is not there.
    """
    names = read_table(path, ("filepath",))["filepath"].tolist()
    if not names:
        raise InputError(f"{path} lists no image; give at least one row below the header")
    if "" in names:
        raise InputError(f"{path}: row {names.index('') + 1} has no filepath")
    return _from_names(path.parent, names)


def find_images(folder: Path) -> list[str]:
    """Relative paths with forward slashes, sorted as text. Links to folders are followed, each real folder once."""
    names: list[str] = []
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                names.append(Path(here, name).relative_to(folder).as_posix())
    return sorted(names)


def _from_names(root: Path, names: list[str]) -> FileSource:
    sizes = np.zeros(len(names), dtype=np.int64)
    for i, name in enumerate(names):
        path = root / name
        try:
            if not path.is_file():
                raise InputError(f"the image {path} does not exist; check the list")
            sizes[i] = path.stat().st_size
        except OSError as error:  # a name that no file can have, a folder that is closed to us
            raise InputError(f"cannot look at the image {path}: {error.strerror}; check the list") from error
    return FileSource(root, list(names), sizes)
