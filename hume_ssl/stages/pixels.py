"""The images of a training: decoded once, in memory where they are few, else in a file of the run folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hume_ssl.disk import locked
from hume_ssl.errors import InputError
from hume_ssl.files import read_npy
from hume_ssl.growing import GrowingArray
from hume_ssl.images import for_each, to_pixels
from hume_ssl.items import Items
from hume_ssl.progress import track
from hume_ssl.run import RunFolder

IN_MEMORY = 1 << 30  # bytes: more pixels than this go through a file
CHUNK = 4096  # images decoded between two records of how far it is


class Sized(Protocol):
    """Resolved settings of a training, with the pixels of its images' longer side."""

    @property
    def size(self) -> Any: ...


def train_size(config: Sized, items: Items) -> tuple[int, int]:
    """(height, width) to train at: the most common size, its longer side brought to `size`."""
    height, width = items.common_size
    share = int(config.size) / max(height, width)
    return max(1, round(height * share)), max(1, round(width * share))


def make_pixels(config: Sized, run: RunFolder, items: Items, *, show: bool = True) -> None:
    """Decode the images into their file, where they need one and it is not there yet; cut off, it goes on.

    Args:
        config: resolved settings.
        show: progress on stderr.

    Raises InputError for an image that cannot be read, or too little room on the disk.
    """
    path = _file(config, run, items)
    if path is None:
        return
    path.parent.mkdir(exist_ok=True)
    with locked(path.parent), track(len(items), f"pixels ({path.name})", show=show) as progress:
        if path.is_file():
            return
        shape = _shape(config, items)
        growing = GrowingArray(path, json.dumps({"items": items.hash, "shape": shape}))
        out = growing.open(shape, np.uint8)
        done = min(growing.chunks * CHUNK, len(items))
        progress.advance(done)

        def decode(i: int) -> None:
            out[done + i] = to_pixels(items.image(done + i), shape[1], shape[2], items.channels)

        while done < len(items):
            count = min(CHUNK, len(items) - done)
            for_each(decode, count, progress)
            done += count
            growing.keep({})
        growing.finish()


def train_pixels(config: Sized, run: RunFolder, items: Items) -> NDArray[Any]:
    """uint8 (n, h, w) or (n, h, w, 3): all images at the size of the training, after `make_pixels`."""
    path = _file(config, run, items)
    if path is None:
        return items.pixels(train_size(config, items))
    pixels, shape = read_npy(path), _shape(config, items)
    if (pixels.shape, pixels.dtype) != (shape, np.uint8):
        raise InputError(f"{path} is {pixels.dtype} of shape {pixels.shape}, not {shape}: remove it, it is made again")
    return pixels


def _shape(config: Sized, items: Items) -> tuple[int, ...]:
    return (len(items), *train_size(config, items), *((3,) if items.channels == 3 else ()))


def _file(config: Sized, run: RunFolder, items: Items) -> Path | None:
    """Where the pixels lie; None: an array of this size is at hand, or they fit into memory."""
    shape = _shape(config, items)
    if math.prod(shape) <= IN_MEMORY or (items.array is not None and items.array.shape[1:3] == shape[1:3]):
        return None
    return run.space(f"pixels-{shape[1]}x{shape[2]}-{items.hash[:12]}")
