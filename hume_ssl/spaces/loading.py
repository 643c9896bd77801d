"""Ready-made spaces: (n, d) arrays of floats, memory-mapped, checked a chunk of rows at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.inputs import open_array

_CHUNK_BYTES = 1 << 26


def load_space(source: str | Path | NDArray[Any]) -> NDArray[Any]:
    """A space from a .npy file, memory-mapped and read-only, or from an array: (n, d) float16, float32 or float64.

    Raises:
        InputError: no such file, a pickle, cut short, not floats, not two-dimensional, empty.
    """
    array = source if isinstance(source, np.ndarray) else open_array(Path(source).expanduser())
    name = "the array" if isinstance(source, np.ndarray) else str(source)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise InputError(f"{name} is {array.dtype}; a space is float16, float32 or float64: use astype(numpy.float32)")
    if array.ndim != 2:
        raise InputError(f"{name} has shape {array.shape}; a space is (n, d), one row an item")
    if 0 in array.shape:
        raise InputError(f"{name} has shape {array.shape}, so there is nothing in it")
    return array


def check_space(array: NDArray[Any], name: str, *, labeller: bool = False) -> None:
    """Refuse a space that holds NaN or infinity; for the labeller also a row of zeros, which has no direction.

    Args:
        array: (n, d) floats, perhaps memory-mapped; read in chunks of 64 MiB.
        name: what the message calls it.
        labeller: rows will be scaled to unit norm.

    Raises:
        InputError: naming the first such row.
    """
    rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        chunk = np.asarray(array[start : start + rows])
        bad = np.flatnonzero(~np.isfinite(chunk).all(axis=1))
        if len(bad):
            value = chunk[bad[0]][~np.isfinite(chunk[bad[0]])][0]
            raise InputError(f"{name} holds {value} in row {start + bad[0]}; replace it or leave that item out")
        if labeller:
            zero = np.flatnonzero(~chunk.any(axis=1))
            if len(zero):
                raise InputError(
                    f"{name}: row {start + zero[0]} is all zeros and cannot be scaled to unit norm; leave that item out"
                )
