"""An embedding spread over the processes that torchrun started: each takes every so many-th chunk of the items.

The first process alone writes, in the order of the chunks, what the others send it; a chunk is the same wherever it is
encoded, so the space is that of one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl import distributed
from hume_ssl.broken import Broken, leave_out
from hume_ssl.config import DataConfig
from hume_ssl.errors import InputError
from hume_ssl.items import Items, load_items
from hume_ssl.spaces.embed import Chunks, Spread, rows_of
from hume_ssl.spaces.spec import EncoderSpec, parse_spec

ERROR = "error"  # the fact with which a process says what the user has to be told


def spread_embedding(
    data: DataConfig,
    broken: Sequence[Broken],
    items: Items,
    spec: EncoderSpec,
    device: str,
    precision: str,
    batch: int | None = None,
    workers: int | None = None,
) -> Spread | None:
    """How `embed` spreads the chunks of these items; None where this is the only process, or the encoder no network.

    Args:
        data, broken: where the items are, and which images were left out of them.
        items, spec, precision, batch, workers: as `embed` takes them.
        device: without the number of a GPU; each process takes its own.
    """
    if distributed.world() == 1 or not spec.is_network or not items.has_images:
        return None
    question = {
        "embed": spec.text,
        "images": data.images,
        "root": data.root,
        "left out": [one.position for one in broken],
        "hash": items.hash,
        "device": device,
        "precision": precision,
        "batch": batch,
        "workers": workers,
    }

    def spread(chunks: Chunks, numbers: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        world = distributed.world()
        for other in range(1, world):
            distributed.ask(other, {**question, "numbers": list(numbers[other::world])})
        mine = iter(chunks(numbers[::world]))
        for place, _ in enumerate(numbers):
            yield next(mine) if place % world == 0 else _received(place % world)
        for other in range(1, world):
            distributed.answer(other)

    return spread


def join_embedding(question: Mapping[str, Any]) -> None:
    """Encode the chunks that the first process asks for, and send each as it is done."""
    import torch

    from hume_ssl.spaces.encode import Engine

    try:
        items = load_items(question["images"], root=question["root"])
        items = leave_out(items, {int(i): "" for i in question["left out"]})
        if items.hash != question["hash"]:
            raise InputError(
                f"process {distributed.rank()} sees other images in {question['images']}: share the folder"
            )
        device = torch.device(distributed.local_device(question["device"]))
        engine = Engine(parse_spec(question["embed"]), device, question["precision"], question["batch"])
        chunks = [rows_of(number, items) for number in question["numbers"]]
        for rows in engine.encode(items, chunks, question["workers"]):
            distributed.send(0, {"rows": torch.from_numpy(rows)}, {})
    except InputError as error:
        distributed.send(0, {}, {ERROR: str(error)})
        return
    distributed.send(0, {}, {})


def _received(other: int) -> NDArray[np.float32]:
    tensors, facts = distributed.receive(other)
    if ERROR in facts:
        raise InputError(str(facts[ERROR]))
    rows: NDArray[np.float32] = tensors["rows"].numpy()
    return rows
