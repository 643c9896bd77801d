"""Which device work runs on, by the name the user gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hume_ssl.errors import InputError

if TYPE_CHECKING:
    import torch


def pick_device(device: str, *, mps: bool = True) -> torch.device:
    """The torch device of that name; auto: CUDA, else Apple's MPS, else the CPU.

    Args:
        device: auto, cpu, cuda, cuda:N or mps.
        mps: whether the work can run on Apple's MPS, which has no float64; training cannot.

    Raises:
        InputError: no such device here.
    """
    import torch

    apple = mps and torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if apple else "cpu"
    try:
        picked = torch.device(device)
    except RuntimeError:
        raise InputError(f"unknown device {device!r}; give auto, cpu or cuda") from None
    if (picked.type == "cuda" and not torch.cuda.is_available()) or (picked.type == "mps" and not apple):
        raise InputError(f"the device {device!r} is not available here; give auto or cpu")
    if picked.type == "cuda" and (picked.index or 0) >= torch.cuda.device_count():
        raise InputError(f"there is no {device} here, of {torch.cuda.device_count()} GPUs; give cuda:0, auto or cpu")
    return picked
