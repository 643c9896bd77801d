"""Weights files: read without running what is in them, loaded key by key with the first wrong one named."""

from __future__ import annotations

import io
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hume_ssl.errors import InputError

NESTED = ("state_dict", "model", "teacher")  # under which training programs keep the weights in their checkpoints
WRAPPER = "module."  # what DistributedDataParallel puts before every key


def read_state(path: Path) -> dict[str, Any]:
    """A state dict from .safetensors or .pth, or that within a training program's checkpoint; pickled code is never
    run.

    Raises:
        InputError: missing, unreadable, or without a flat dict of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = load_tensors(path)
    except FileNotFoundError:
        raise InputError(f"there is no weights file {path}; check its path") from None
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is no plain state dict of tensors; save model.state_dict() with torch.save"
        ) from error
    except Exception as error:  # a broken file raises RuntimeError, EOFError, SafetensorError ... by where it is broken
        raise InputError(f"cannot read the weights {path}: {error}; copy the file again") from error
    if isinstance(state, dict):
        state = next((state[key] for key in NESTED if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise InputError(f"{path} is no plain state dict of tensors; save model.state_dict() with torch.save")
    if state and all(key.startswith(WRAPPER) for key in state):
        return {key.removeprefix(WRAPPER): value for key, value in state.items()}
    return state


def load_tensors(path: Path) -> Any:
    """What torch.save wrote, without running what is in it; raises whatever a damaged file leads to."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a broken file a user sees one line, and it is ours
        if zipped:
            return torch.load(path, map_location="cpu", weights_only=True)
        with _Bounded(path) as old:
            return torch.load(old, map_location="cpu", weights_only=True)


class _Bounded(io.FileIO):
    """A file of which no read makes room for more than is left, whatever length a damaged pickle says."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left)) or b""


def load_strictly(network: nn.Module, state: dict[str, Any], encoder: str, path: Path | None) -> None:
    """Load `state` into a network; every key must be there, and no other.

    Args:
        state: tensors by key.
        encoder: what the network is called, and `path` the file it was read from, for the message.

    Raises:
        InputError: weights of another network; the first wrong key is named.
    """
    where = f"the weights {path} are not of {encoder}"
    try:
        # Not strict=True: its message lists all keys; and only load_state_dict knows which ones old files may lack.
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # the first line is a title, the next the first tensor of another shape
        raise InputError(f"{where}: {(str(error).splitlines() * 2)[1].strip()}") from error
    if missing:
        raise InputError(f"{where}: {missing[0]} is missing ({len(missing)} keys in all)")
    if unexpected:
        raise InputError(f"{where}: {unexpected[0]} is unexpected ({len(unexpected)} keys in all)")
