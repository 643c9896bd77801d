"""One command in several processes, as torchrun starts them.

The first process, rank 0, is the command: it alone reads what the user typed, decides, writes the run folder and
prints. Each of the others waits to be asked, answers, and ends with the exit code of the first.
Questions and answers are named tensors with JSON facts in the bytes of a safetensors file, sent between host memories
through gloo; nothing is unpickled. The group also has nccl where there are GPUs, for tensors that live on them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hume_ssl.errors import InputError

if TYPE_CHECKING:
    import torch

    Message = tuple[dict[str, torch.Tensor], dict[str, Any]]

PATIENCE = timedelta(days=7)  # the others wait while the first embeds, votes and asks whole batches of them
END = "end"  # the fact that ends a process: its exit code

_busy: set[int] = set()  # ranks that were asked and have not answered yet


def rank() -> int:
    """Which of the processes this is; 0 without torchrun."""
    return int(os.environ["RANK"]) if _under_torchrun() else 0


def world() -> int:
    """How many processes there are; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if _under_torchrun() else 1


def local_device(device: str) -> str:
    """This process's own device: of the GPUs of its machine the one with its number there."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device.startswith("cuda") and world() > 1 else device


def check_devices(device: str) -> None:
    """Raise InputError if there are more processes on this machine than GPUs to run on."""
    import torch

    here = int(os.environ["LOCAL_WORLD_SIZE"]) if _under_torchrun() else 1
    if device.startswith("cuda") and here > torch.cuda.device_count():
        raise InputError(
            f"torchrun started {here} processes on this machine, which has {torch.cuda.device_count()} GPUs: give "
            f"torchrun --nproc-per-node {torch.cuda.device_count()}, or --device cpu"
        )


def refuse(command: str) -> None:
    """Raise InputError under torchrun with more than one process: `command` has no use for them."""
    if world() > 1:
        raise InputError(f"{command} runs in one process, and torchrun started {world()}: start it without torchrun")


def join() -> None:
    """Meet the other processes; every process calls it once, before anything else here. Nothing without torchrun."""
    if world() > 1:
        import torch
        from torch import distributed

        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)


def leave(code: int) -> None:
    """Rank 0: end the others with this exit code. One that is still at work is left to torchrun, which ends all when
    the first has failed: waiting for it could take hours."""
    if world() > 1:
        for other in range(1, world()):
            if other not in _busy:
                with suppress(RuntimeError, ValueError):  # it is gone already, or was never met
                    send(other, {}, {END: code})


def ask(other: int, facts: Mapping[str, Any]) -> None:
    """Rank 0: ask another process for something; `answer` waits for what it says."""
    send(other, {}, facts)
    _busy.add(other)


def answer(other: int) -> Message:
    """Rank 0: what another process answers. Raises RuntimeError if it has died."""
    message = receive(other)
    _busy.discard(other)
    return message


def questions() -> Iterator[dict[str, Any]]:
    """Another rank: what it is asked, one after the other, until SystemExit with the exit code of the first."""
    while True:
        _, facts = receive(0)
        if END in facts:
            raise SystemExit(int(facts[END]))
        yield facts


def send(to: int, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Send tensors and JSON facts to a process, which `receive`s them; waits until it does."""
    import numpy as np
    import torch
    from safetensors.torch import save
    from torch import distributed

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save(contiguous, metadata={"hume_ssl": json.dumps(facts)})
    distributed.send(torch.tensor([len(data)]), to)
    distributed.send(torch.from_numpy(np.frombuffer(bytearray(data), dtype=np.uint8)), to)


def receive(source: int) -> Message:
    """What a process sent, waiting for it. Raises RuntimeError if it has died."""
    import torch
    from safetensors.torch import load
    from torch import distributed

    size = torch.zeros(1, dtype=torch.int64)
    distributed.recv(size, source)
    data = torch.empty(int(size), dtype=torch.uint8)
    distributed.recv(data, source)
    raw = data.numpy().tobytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return load(raw), json.loads(header["__metadata__"]["hume_ssl"])


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ
