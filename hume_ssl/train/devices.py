"""Where training runs, with how many threads and in which precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from hume_ssl.search.precision import has_bfloat16

SMALL_NETWORKS = ("small-cnn", "head")  # a step of these is so short that threads and conversions only cost time


def use_bf16(precision: str, device: torch.device, network: str) -> bool:
    """Whether the forward pass runs in bfloat16: as asked for, or by default where the hardware multiplies in it.

    On two AVX-512 cores that takes a third off the time of the small network and more than half off a Wide ResNet's
    (tests/bench/train_step.py). A head has no convolutions, and its products are too small to pay for conversions.
    """
    if precision != "auto":
        return precision == "bf16"
    return network != "head" and has_bfloat16(str(device))


@contextmanager
def tuned(device: torch.device) -> Iterator[None]:
    """Inside the block cuDNN picks the fastest of its kernels for each shape, and random layers leave no trace.

    The global generators, which dropout and the like read, are put back as they were.
    """
    before = torch.backends.cudnn.benchmark
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.backends.cudnn.benchmark = True
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before


def seed_layers(seed: int, step: int, device: torch.device, rank: int = 0) -> None:
    """What random layers draw at a step follows from (seed, step) and the rank of the process alone.

    So a resumed run draws what an uninterrupted one does. Networks without such layers are not touched by it.
    """
    drawn = int(np.random.SeedSequence([seed, 2, step, rank]).generate_state(1)[0])
    torch.default_generator.manual_seed(drawn)
    if device.type == "cuda":
        torch.cuda.manual_seed(drawn)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside the block.

    One is best for the small network on a CPU: its tensors are so small that handing them over eats what a second core
    saves, and on a busy machine, where the threads wait for each other, a step took seven times as long. It also makes
    the result independent of the number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def send(values: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device, without waiting for what that still has to do: a copy from ordinary memory would."""
    if values.device.type == "cpu" and device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
