"""What is peculiar to the weights of torchvision's networks; and which layer of a network is its classifier."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import nn

from hume_ssl.spaces import weights_files
from hume_ssl.spaces.weights_files import read_state

__all__ = ["INPUT_SCALED_INSIDE", "last_classifier", "load_strictly", "read_state"]

# These two read images scaled to -1..1, and torchvision rescales them inside where its own weights are loaded.
INPUT_SCALED_INSIDE = {name: {"transform_input": True, "init_weights": False} for name in ("googlenet", "inception_v3")}


def load_strictly(network: nn.Module, state: dict[str, Any], name: str, path: Path | None) -> None:
    """Load `state` into torchvision's network `name`: see :func:`hume_ssl.spaces.weights_files.load_strictly`.

    Keys of an older version's densenet are renamed in it: torchvision's own files still have them.
    """
    if name.startswith("densenet"):
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")
        for key in [key for key in state if old.search(key)]:
            state[old.sub(r"\1\2", key)] = state.pop(key)
    weights_files.load_strictly(network, state, f"torchvision:{name}", path)


def last_classifier(network: nn.Module) -> str:
    """The path of the layer that gives the logits: the last linear one, or (squeezenet) the last convolution."""
    name, last = list(network.named_children())[-1]
    for kind in (nn.Linear, nn.Conv2d):
        found: list[str] = [path for path, module in last.named_modules(prefix=name) if isinstance(module, kind)]
        if found:
            return found[-1]
    raise ValueError(f"the last part of the network, {name}, has no linear layer and no convolution")
