"""Ready-made spaces: (n, d) arrays of floats, memory-mapped, checked a chunk of rows at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.inputs import open_array

LARGEST, SMALLEST = 1e15, 1e-5  # of a space's values: squares and their sums must stay within float32
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


def check_space(array: NDArray[Any], name: str, *, labeller: bool = False, whole: bool = True) -> None:
    """Refuse a space that holds NaN, infinity or values whose squares are; of the labeller also a row of zeros, which
    has no direction; of a whole space one whose rows are all the same, or whose values are next to nothing.

    Args:
        array: (n, d) floats, perhaps memory-mapped; read in chunks of 64 MiB.
        name: what the message calls it.
        labeller: rows will be scaled to unit norm.
        whole: it has all items of a run; false of new items, which may be one.

    Raises:
        InputError: naming the first such row.
    """
    rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    same, largest = True, 0.0
    for start in range(0, len(array), rows):
        chunk = np.asarray(array[start : start + rows])
        bad = np.flatnonzero(~np.isfinite(chunk).all(axis=1))
        if len(bad):
            value = chunk[bad[0]][~np.isfinite(chunk[bad[0]])][0]
            raise InputError(f"{name} holds {value} in row {start + bad[0]}; replace it or leave that item out")
        sizes = np.abs(chunk).max(axis=1)
        if sizes.max() > LARGEST:
            row = int(np.argmax(sizes > LARGEST))
            raise InputError(
                f"{name} holds {sizes[row]:g} in row {start + row}, too large to be squared in float32: divide the "
                "space by its standard deviation"
            )
        same, largest = same and bool((chunk == array[0]).all()), max(largest, float(sizes.max()))
        if labeller:
            zero = np.flatnonzero(~chunk.any(axis=1))
            if len(zero):
                raise InputError(
                    f"{name}: row {start + zero[0]} is all zeros and cannot be scaled to unit norm; leave that item out"
                )
    if whole and same and len(array) > 1:
        raise InputError(f"{name}: all {len(array)} rows are the same, so that no class differs from another in it")
    if whole and largest < SMALLEST:
        raise InputError(
            f"{name} holds no value above {largest:g}, next to nothing in float32: divide the space by its standard "
            "deviation"
        )
