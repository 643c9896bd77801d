"""Where training runs, with how many threads and in which precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" is a CUDA GPU where there is one, else the CPU."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16: as asked for, or by default on a GPU."""
    return precision == "bf16" or (precision == "auto" and device.type == "cuda")


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
