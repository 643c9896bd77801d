"""Items -> a space, by one encoder: decode in worker processes, encode in batches, write chunk by chunk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.devices import pick_device
from hume_ssl.errors import InputError
from hume_ssl.files import sha256_file
from hume_ssl.images import available_cores
from hume_ssl.items import Items
from hume_ssl.progress import Progress
from hume_ssl.sources.decoded import DecodedImages
from hume_ssl.spaces.spec import EncoderSpec, check_spec
from hume_ssl.workers import begin_worker

if TYPE_CHECKING:
    import torch
    from PIL import Image

Allocate = Callable[[tuple[int, int]], NDArray[Any]]

_BATCH_CPU, _BATCH_GPU = 64, 256
_FEW_FILES, _FEW_ROWS = 1024, 20_000


def embed(
    items: Items,
    spec: EncoderSpec,
    train: NDArray[np.bool_],
    *,
    device: str = "auto",
    progress: Progress | None = None,
    allocate: Allocate | None = None,
    batch: int | None = None,
    workers: int | None = None,
) -> NDArray[Any]:
    """The space of all items under one encoder, (n, d) float32.

    Args:
        items: n images.
        spec: the encoder.
        train: (n,) True for train items; only encoders fitted to the data (kernel) use it, and only these items.
        device: auto, cpu, cuda or mps: where a network runs.
        progress: advanced by one an item.
        allocate: makes the array that is filled and returned from its shape (n, d), for example a memory-mapped one;
            None: an array in memory.
        batch: images encoded at once; it changes values by rounding only.
        workers: processes that decode; None: as many as pay off. Where processes are spawned (macOS, Windows), a script
            needs the usual `if __name__ == "__main__":` around its call.

    Raises:
        InputError: no images, one that cannot be read (named), wrong weights, an image size the network cannot take.
    """
    if not items.has_images:
        raise InputError(f"the encoder {spec.text!r} needs images; give them with --images")
    if train.shape != (len(items),) or not train.any():
        raise InputError(f"the train mask has shape {train.shape}, for {len(items)} items; it needs a train item")
    check_spec(spec)
    make = allocate or (lambda shape: np.empty(shape, dtype=np.float32))
    if spec.kind == "kernel":
        from hume_ssl.spaces import kernel

        out = make((len(items), kernel.dimension(spec)))
        kernel.encode(items, spec, train, out, progress)
        return out
    return _embed_by_network(items, spec, pick_device(device), progress, make, batch, workers)


def describe(items: Items, spec: EncoderSpec) -> dict[str, object]:
    """What spaces.json records: encoder, hashes of its weights file and of the items, preprocessing."""
    facts: dict[str, object] = {"encoder": spec.text, "items": items.hash}
    if spec.weights is not None:
        check_spec(spec)
        facts["weights_sha256"] = sha256_file(spec.weights.expanduser())
    if spec.kind == "kernel":
        from hume_ssl.spaces import kernel

        return {**facts, "preprocessing": kernel.preprocessing(items, spec)}
    from hume_ssl.spaces.torchvision_encoder import build_preprocess

    return {**facts, "preprocessing": dict(vars(build_preprocess(spec)))}


def _embed_by_network(
    items: Items,
    spec: EncoderSpec,
    device: torch.device,
    progress: Progress | None,
    make: Allocate,
    batch: int | None,
    workers: int | None,
) -> NDArray[Any]:
    import torch

    from hume_ssl.spaces.torchvision_encoder import build_network, build_preprocess, output_width

    preprocess = build_preprocess(spec)
    network = build_network(spec)
    out = make((len(items), output_width(network, preprocess, spec)))
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    done = 0
    size = batch or (_BATCH_CPU if device.type == "cpu" else _BATCH_GPU)
    with torch.inference_mode():
        for pixels in image_batches(items, preprocess, size, workers):
            images = preprocess.normalise(pixels.to(device, non_blocking=True))
            # Channels last: convolutions on a CPU take about half the time.
            features = network(images.contiguous(memory_format=torch.channels_last))
            out[done : done + len(features)] = features.float().cpu().numpy()
            done += len(features)
            if progress is not None:
                progress.advance(len(features))
    assert done == len(items)
    return out


def image_batches(
    items: Items, preprocess: Callable[[Image.Image], Any], batch: int, workers: int | None = None, start: int = 0
) -> Iterator[Any]:
    """What `preprocess` makes of the images, stacked, in item order, from item `start` on; the last may be smaller.

    Args:
        preprocess: image -> uint8 (3, h, w), or a tuple of such; a worker process must be able to take it.

    Yields (batch, 3, h, w) uint8, or a tuple of such. Other arguments as in `embed`. Raises InputError, naming the
    file, for an image that cannot be read.
    """
    import torch
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        # A sequence is all that DataLoader needs; torch's Dataset would import torch above.
        DecodedImages(items.images, preprocess, start),  # type: ignore[arg-type]
        batch_size=batch,
        num_workers=_worker_count(items) if workers is None else workers,
        collate_fn=_collate,
        worker_init_fn=begin_worker,
    )
    for pixels in loader:
        if isinstance(pixels, str):
            raise InputError(pixels)
        yield tuple(map(torch.from_numpy, pixels)) if isinstance(pixels, tuple) else torch.from_numpy(pixels)


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
    return min(8, available_cores())
