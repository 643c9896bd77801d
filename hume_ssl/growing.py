"""An array that is made chunk by chunk over minutes or hours, and goes on where it was cut off.

It grows in NAME.growing.npy, with how far it is in NAME.growing.json, and takes its own name NAME.npy when all is
there: who sees NAME.npy sees all of it.
"""

from __future__ import annotations

import operator
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl import disk, files
from hume_ssl.errors import InputError


class GrowingArray:
    """The array that will be `path`.

    Args:
        path: ends in .npy.
        key: what its values follow from. What was begun under another key is begun again.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.growing, self.record = path.with_suffix(".growing.npy"), path.with_suffix(".growing.json")
        self.chunks = 0  # whole chunks written
        self.facts: dict[str, Any] = {}  # what the first chunk decided for all
        self._array: NDArray[Any] | None = None

    def open(self, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """The array to write to, memory-mapped; `chunks` says how many chunks it has. Raises InputError if it is larger
        than the room on the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            known = files.read_json(self.record)
            files.read_npy(self.growing)  # refuses what is no array
            array = np.lib.format.open_memmap(self.growing, mode="r+")
            if known["key"] == self.key and array.shape == shape and array.dtype == dtype:
                self.chunks, self.facts, self._array = operator.index(known["chunks"]), dict(known["facts"]), array
                return array
        except (OSError, ValueError, KeyError, TypeError, InputError):
            pass  # not there, or half a record: from the start
        self.forget()
        needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if needed > (free := shutil.disk_usage(self.path.parent).free):
            raise InputError(
                f"{self.path} needs {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free: make room, or give a "
                "run folder on another disk with --run"
            )
        self._array = disk.new_array(self.growing, shape, dtype)
        return self._array

    def keep(self, facts: dict[str, Any]) -> None:
        """One more chunk is written: it will not be made again."""
        assert isinstance(self._array, np.memmap)
        self._array.flush()  # before the record that says so
        self.chunks, self.facts = self.chunks + 1, facts
        files.write_json(self.record, {"key": self.key, "chunks": self.chunks, "facts": facts})

    def finish(self) -> None:
        """All chunks are written: the array takes its name."""
        self._array = None
        descriptor = os.open(self.growing, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(self.growing, self.path)
        self.forget()

    def forget(self) -> None:
        """Remove what has grown so far."""
        self.growing.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)
