"""Items -> a space, by one encoder: whole, or chunk by chunk into a file, so that what was cut off goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl import files
from hume_ssl.devices import pick_device
from hume_ssl.errors import InputError
from hume_ssl.growing import GrowingArray
from hume_ssl.items import Items
from hume_ssl.progress import Progress, Silent
from hume_ssl.spaces.spec import EncoderSpec, check_spec

if TYPE_CHECKING:
    from hume_ssl.spaces.encode import Meter

CHUNK = 1024  # items of which a cut-off embedding keeps all or none; part of what the bytes follow from
FORMAT = 1  # of what a space follows from: under a higher number, spaces made by an older version are made again

Chunks = Callable[[Sequence[int]], Iterator[NDArray[np.float32]]]
Spread = Callable[[Chunks, Sequence[int]], Iterable[NDArray[np.float32]]]


def embed(
    items: Items,
    spec: EncoderSpec,
    train: NDArray[np.bool_],
    *,
    device: str = "auto",
    precision: str = "float32",
    progress: Progress | None = None,
    path: Path | None = None,
    batch: int | None = None,
    workers: int | None = None,
    meter: Meter | None = None,
    spread: Spread | None = None,
) -> NDArray[Any]:
    """The space of all items under one encoder, (n, d) float32; of `npy:FILE` what the file has, which stays
    as it is where no path is given.

    Args:
        items: n images.
        spec: the encoder.
        train: (n,) True for train items; only encoders fitted to the data (kernel) use it, and only these items.
        device: auto, cpu, cuda or mps: where a network runs.
        precision: float32 or bfloat16 (autocast): what a network computes in.
        progress: advanced by one an item, those already there included.
        path: .npy file in which the space grows and where it lies in the end, memory-mapped; an embedding that was cut
            off there goes on. None: an array in memory.
        batch: images encoded at once; it changes values by rounding only. None: as many as a CPU's caches or a GPU's
            memory hold.
        workers: processes that decode; None: as many as pay off. Where processes are spawned (macOS, Windows), a script
            needs the usual `if __name__ == "__main__":` around its call.
        meter: takes how many images a network encoded, and how long it waited for them.
        spread: runs chunks of items in several processes; it takes what makes the features of chunks by their numbers,
            and those numbers.

    Raises:
        InputError: no images, one that cannot be read (named), wrong weights, an image size the network cannot take, an
            encoder that gives no numbers, too little room on the disk.
    """
    check_embeddable(items, spec, train)
    progress = progress or Silent()
    if spec.kind == "npy":
        given = given_space(items, spec)
        if path is None:
            return given
        width = given.shape[1]

        def chunks(numbers: Sequence[int]) -> Iterator[NDArray[np.float32]]:
            for rows in (rows_of(number, items) for number in numbers):
                yield np.array(given[rows.start : rows.stop], dtype=np.float32)
    elif spec.kind == "kernel":
        from hume_ssl.spaces import kernel

        features = kernel.fit_items(items, spec, train)
        if path is not None:  # beside the space, for new images
            kernel.save(fitted_beside(path), features, kernel.pixel_size(items, spec), items.channels)
        width = kernel.dimension(spec)

        def chunks(numbers: Sequence[int]) -> Iterator[NDArray[np.float32]]:
            rows = [rows_of(number, items) for number in numbers]
            return kernel.encode_chunks(items, kernel.pixel_size(items, spec), features, rows)
    else:
        from hume_ssl.spaces.encode import Engine

        engine = Engine(spec, pick_device(device), precision, batch)
        width = engine.width

        def chunks(numbers: Sequence[int]) -> Iterator[NDArray[np.float32]]:
            return engine.encode(items, [rows_of(number, items) for number in numbers], workers, meter)

    key = json.dumps(files.plain(describe(items, spec, train, precision)), sort_keys=True)
    growing = GrowingArray(path, key) if path is not None else None
    shape = (len(items), width)
    out = growing.open(shape, np.float32) if growing is not None else np.empty(shape, dtype=np.float32)
    begun = growing.chunks if growing is not None else 0
    progress.advance(min(begun * CHUNK, len(items)))
    numbers = range(begun, -(-len(items) // CHUNK))
    for number, rows in zip(numbers, (spread or _alone)(chunks, numbers), strict=True):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise InputError(
                f"the encoder {spec.text!r} gives a value that is no number for item {number * CHUNK + bad[0]}; give "
                "another encoder, or another precision"
            )
        out[number * CHUNK : number * CHUNK + len(rows)] = rows
        if growing is not None:
            growing.keep({})
        progress.advance(len(rows))
    if growing is None or path is None:
        return out
    del out
    growing.finish()
    return files.read_npy(path)


def fitted_beside(space: Path) -> Path:
    """Where what an encoder was fitted to lies: the map of a kernel."""
    return space.with_suffix(".safetensors")


def check_embeddable(items: Items, spec: EncoderSpec, train: NDArray[np.bool_]) -> None:
    """Raise InputError where there are no images, no train items, or no weights file."""
    if not items.has_images and spec.kind != "npy":
        raise InputError(f"the encoder {spec.text!r} needs images; give them with --images")
    if train.shape != (len(items),) or not train.any():
        raise InputError(f"the train mask has shape {train.shape}, for {len(items)} items; it needs a train item")
    check_spec(spec)


def given_space(items: Items, spec: EncoderSpec) -> NDArray[Any]:
    """The array of `npy:FILE`, memory-mapped. Raises InputError unless it has a row an item."""
    from hume_ssl.spaces.loading import check_space, load_space

    array = load_space(spec.name)
    check_space(array, spec.name, whole=False)
    if len(array) != len(items):
        raise InputError(f"{spec.name} has {len(array)} rows for {len(items)} items: give one row an item, in order")
    return array


def asked_for(items: Items, spec: EncoderSpec, train: NDArray[np.bool_], precision: str) -> dict[str, object]:
    """What a space is known by without asking the encoder's library anything: one with the same is the same space."""
    facts: dict[str, object] = {"format": FORMAT, "encoder": spec.without_path, "items": items.hash}
    if spec.weights is not None:  # by its content: the same file in another place is the same encoder
        facts["weights_sha256"] = files.sha256_file(spec.weights.expanduser())
    if spec.kind == "npy":
        facts |= {"encoder": "npy", "array_sha256": files.sha256_file(Path(spec.name).expanduser())}
    elif spec.kind == "kernel":
        facts["train_sha256"] = hashlib.sha256(np.packbits(train).tobytes()).hexdigest()
    elif spec.is_network:
        facts["precision"] = precision
        library = {"hub": "torch", "pretrained": "hume_ssl", "open_clip": "open_clip_torch"}.get(spec.kind, spec.kind)
        facts["library"] = f"{library} {metadata.version(library)}"
    return facts


def describe(
    items: Items, spec: EncoderSpec, train: NDArray[np.bool_], precision: str = "float32"
) -> dict[str, object]:
    """What spaces.json records: encoder, its weights, the hash of the items, preprocessing, precision."""
    facts = asked_for(items, spec, train, precision)
    if spec.kind == "npy":
        return facts
    if spec.kind == "kernel":
        from hume_ssl.spaces import kernel

        return {**facts, "preprocessing": kernel.preprocessing(items, spec)}
    from hume_ssl.spaces.encoders import build_preprocess, default_weights

    if spec.weights is None:
        facts["weights"] = default_weights(spec)
    return {**facts, "preprocessing": dict(vars(build_preprocess(spec)))}


def width_of(spec: EncoderSpec) -> int:
    """d of the space that an encoder gives. Raises InputError for weights that do not fit, or a size it cannot take."""
    check_spec(spec)
    if spec.kind == "npy":
        from hume_ssl.spaces.loading import load_space

        return int(load_space(spec.name).shape[1])
    if spec.kind == "kernel":
        from hume_ssl.spaces.kernel import dimension

        return dimension(spec)
    from hume_ssl.spaces.encoders import build_network, build_preprocess, output_width

    return output_width(build_network(spec), build_preprocess(spec), spec)


def precision_on(device: str, precision: str, *, cpu: bool = False) -> str:
    """float32 or bfloat16: "auto" is bfloat16 on a GPU that computes in it, float32 elsewhere; `cpu`: on a CPU too."""
    if precision != "auto":
        return precision
    from hume_ssl.search.precision import has_bfloat16

    asked = cpu or device.startswith("cuda")
    return "bfloat16" if asked and has_bfloat16(device) else "float32"


def _alone(chunks: Chunks, numbers: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    return chunks(numbers)


def rows_of(number: int, items: Items) -> range:
    """The items of a chunk."""
    return range(number * CHUNK, min((number + 1) * CHUNK, len(items)))
