"""Weights files of torchvision's networks: read without running code, loaded key by key; the last classifier."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hume_ssl.errors import InputError

# These two read images scaled to -1..1, and torchvision rescales them inside where its own weights are loaded.
INPUT_SCALED_INSIDE = {name: {"transform_input": True, "init_weights": False} for name in ("googlenet", "inception_v3")}


def read_state(path: Path) -> dict[str, Any]:
    """A state dict from .safetensors or .pth; pickled code is never run.

    Raises:
        InputError: missing, unreadable, or something else than a flat dict of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"there is no weights file {path}; check its path") from None
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is no plain state dict of tensors; save model.state_dict() with torch.save"
        ) from error
    except Exception as error:  # a broken file raises RuntimeError, EOFError, SafetensorError ... by where it is broken
        raise InputError(f"cannot read the weights {path}: {error}; copy the file again") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} is no plain state dict of tensors; save model.state_dict() with torch.save")
    return state


def load_strictly(network: nn.Module, state: dict[str, Any], name: str, path: Path | None) -> None:
    """Load `state` into torchvision's network `name`; every key must be there, and no other.

    Args:
        state: tensors by key; keys of an older version's densenet are renamed in it.
        path: the file it was read from, for the message.

    Raises:
        InputError: weights of another network; the first wrong key is named.
    """
    if name.startswith("densenet"):
        # torchvision's own densenet files still carry the names of an older version.
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")
        for key in [key for key in state if old.search(key)]:
            state[old.sub(r"\1\2", key)] = state.pop(key)
    where = f"the weights {path} are not of torchvision:{name}"
    try:
        # Not strict=True: its message lists all keys; and only load_state_dict knows which ones old files may lack.
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # the first line is a title, the next the first tensor of another shape
        raise InputError(f"{where}: {str(error).splitlines()[1].strip()}") from error
    if missing:
        raise InputError(f"{where}: {missing[0]} is missing ({len(missing)} keys in all)")
    if unexpected:
        raise InputError(f"{where}: {unexpected[0]} is unexpected ({len(unexpected)} keys in all)")


def last_classifier(network: nn.Module) -> str:
    """The path of the layer that gives the logits: the last linear one, or (squeezenet) the last convolution."""
    name, last = list(network.named_children())[-1]
    for kind in (nn.Linear, nn.Conv2d):
        found: list[str] = [path for path, module in last.named_modules(prefix=name) if isinstance(module, kind)]
        if found:
            return found[-1]
    raise ValueError(f"the last part of the network, {name}, has no linear layer and no convolution")
