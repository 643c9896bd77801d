"""Images decoded in worker processes, in batches of uint8, in the order of the items."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.images import available_cores, for_each, to_pixels
from hume_ssl.items import Items
from hume_ssl.sources.decoded import DecodedImages
from hume_ssl.workers import begin_worker

if TYPE_CHECKING:
    from PIL import Image

_FEW_FILES, _FEW_ROWS = 1024, 20_000


def image_batches(
    items: Items,
    preprocess: Callable[[Image.Image], Any],
    batches: Sequence[Sequence[int]],
    workers: int | None = None,
) -> Generator[Any, None, None]:
    """What `preprocess` makes of the images, stacked, batch by batch.

    Args:
        items: n images.
        preprocess: image -> uint8 (3, h, w), or a tuple of such; a worker process must be able to take it.
        batches: the items of each batch; see `in_batches`.
        workers: processes that decode; None: as many as pay off.

    Yields (b, 3, h, w) uint8, or a tuple of such. Raises InputError, naming the file, for an image that cannot be read.
    """
    import torch
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        # A sequence is all DataLoader needs; Dataset would import torch above.
        DecodedImages(items.images, preprocess),  # type: ignore[arg-type]
        batch_sampler=batches,  # type: ignore[arg-type]  # ranges will do
        num_workers=_worker_count(items) if workers is None else workers,
        collate_fn=_collate,
        worker_init_fn=begin_worker,
    )
    for pixels in loader:
        if isinstance(pixels, str):
            raise InputError(pixels)
        yield tuple(map(torch.from_numpy, pixels)) if isinstance(pixels, tuple) else torch.from_numpy(pixels)


def decoded_batch(images: DecodedImages, rows: Sequence[int]) -> Any:
    """One batch as `image_batches` yields it, decoded in this thread."""
    import torch

    pixels = _collate([images[i] for i in rows])
    if isinstance(pixels, str):
        raise InputError(pixels)
    return tuple(map(torch.from_numpy, pixels)) if isinstance(pixels, tuple) else torch.from_numpy(pixels)


def pixels_of(items: Items, rows: range, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Pixels of some items at one size (h, w): uint8 (b, h, w) for one channel, (b, h, w, 3) for three."""
    shape = (len(rows), *size) + ((3,) if channels == 3 else ())
    if items.array is not None and items.array.shape[1:] in (shape[1:], (*size, channels)):
        return np.asarray(items.array[rows.start : rows.stop]).reshape(shape)
    out = np.empty(shape, np.uint8)

    def one(i: int) -> None:
        out[i] = to_pixels(items.image(rows[i]), *size, channels)

    for_each(one, len(rows))
    return out


def in_batches(rows: range, batch: int) -> list[range]:
    """`rows` cut into pieces of `batch`; the last may be smaller."""
    return [rows[start : start + batch] for start in range(0, len(rows), batch)]


def _collate(images: list[Any]) -> Any:
    for image in images:
        if isinstance(image, str):
            return image
    if isinstance(images[0], tuple):
        return tuple(_collate(list(kind)) for kind in zip(*images, strict=True))
    # numpy, since a tensor would travel through shared memory, of which a container has 64 MB by default.
    return np.stack([np.asarray(image) for image in images])


def _worker_count(items: Items) -> int:
    """Processes that pay off. An array is never sent to spawned processes: that would copy all of it to each."""
    if items.array is not None and (len(items) < _FEW_ROWS or sys.platform != "linux"):
        return 0
    if len(items) < _FEW_FILES:
        return 0
    return min(16, available_cores())
