"""What every kind of encoder that is a network gives, found by the kind of its spec.

Each kind has a module with `build_preprocess(spec)`, `build_network(spec, bare=False)` and `default_weights(spec)`.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from hume_ssl.errors import InputError
from hume_ssl.spaces.preprocess import Preprocess
from hume_ssl.spaces.spec import EncoderSpec, need


def build_preprocess(spec: EncoderSpec) -> Preprocess:
    """How images are prepared for this encoder; reads no weights, but those of a `pretrained` one."""
    made: Preprocess = _module(spec).build_preprocess(spec)
    return made


def build_network(spec: EncoderSpec, *, bare: bool = False) -> nn.Module:
    """The network with its weights, in evaluation mode on the CPU: (b, 3, h, w) float32, normalised -> (b, d).

    Args:
        bare: leave the weights random, for others to be loaded.

    Raises:
        InputError: weights that are missing, broken or of another network, or cannot be downloaded.
    """
    network: nn.Module = _module(spec).build_network(spec, bare=bare)
    return network


def default_weights(spec: EncoderSpec) -> str:
    """What the weights are called that are taken where the spec names no file."""
    return str(_module(spec).default_weights(spec))


def output_width(network: nn.Module, preprocess: Preprocess, spec: EncoderSpec) -> int:
    """Width d of the space, found by encoding one blank image on the CPU.

    Raises:
        InputError: the network cannot take images of this size.
    """
    height, width = preprocess.size
    try:
        with torch.inference_mode():
            return int(network(torch.zeros(1, 3, height, width)).shape[1])
    except (RuntimeError, AssertionError) as error:  # a window larger than what it slides over, or another patch grid
        raise InputError(
            f"the encoder {spec.text!r} cannot take images of {height} x {width} pixels ({error}); give another ?size="
        ) from error


def _module(spec: EncoderSpec) -> Any:
    need(spec.kind)
    return importlib.import_module(f"hume_ssl.spaces.{spec.kind}_encoder")
