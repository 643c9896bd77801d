"""pretrained:NETWORK@FILE, the encoder of `hume-ssl pretrain`: its file says what the network is, and takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hume_ssl.errors import InputError
from hume_ssl.spaces.preprocess import Preprocess
from hume_ssl.spaces.spec import EncoderSpec
from hume_ssl.spaces.weights_files import load_strictly
from hume_ssl.tensor_files import read_safetensors

FORMAT = "hume_ssl encoder 1"
LARGEST = 1 << 14  # pixels a side that an encoder's file may say it takes


def build_preprocess(spec: EncoderSpec) -> Preprocess:
    """To the size that was trained on, bilinear, proportions lost; normalised with the train pixels' statistics.

    Raises InputError: no file of ours.
    """
    from hume_ssl.pretrain.network import preprocess_of

    _, facts = _read(spec)
    height, width = facts["size"]
    return preprocess_of((height, width), tuple(facts["mean"]), tuple(facts["std"]))


def build_network(spec: EncoderSpec, *, bare: bool = False) -> nn.Module:
    """The encoder in evaluation mode on the CPU: (b, 3, h, w) normalised -> (b, d). An encoder of grey images takes
    the mean of the channels.

    Args:
        bare: leave the weights random, for others to be loaded; the file is asked for its facts all the same.

    Raises:
        InputError: no file of ours, or the file is of another network than the spec names.
    """
    import torch

    from hume_ssl.pretrain.network import OneChannel, build_encoder

    tensors, facts = _read(spec)
    with torch.random.fork_rng(devices=[]):  # the start is drawn and overwritten
        network = build_encoder(facts["network"], facts["channels"], tuple(facts["size"]))
    if not bare:
        load_strictly(network, tensors, f"pretrained:{spec.name}", spec.weights)
    made = OneChannel(network) if facts["channels"] == 1 else network
    return made.eval().requires_grad_(False)


def default_weights(spec: EncoderSpec) -> str:
    """There are none: the spec always names its file."""
    raise InputError(f"the encoder {spec.text!r} names no weights: write pretrained:{spec.name}@FILE")


def _read(spec: EncoderSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    assert spec.weights is not None  # split_spec refuses it
    return read_encoder(spec.weights.expanduser(), spec.name)


def read_encoder(path: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and facts of an encoder's file. Raises InputError: not one of ours, or not of the network `name`."""
    tensors, facts = read_safetensors(path)
    if facts.get("format") != FORMAT:
        raise InputError(f"{path} is no encoder of hume-ssl pretrain: give the encoder.safetensors it wrote")
    try:
        _check(facts)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}: make it again with hume-ssl pretrain") from error
    if facts["network"] != name:
        raise InputError(f"{path} is a {facts['network']}, not a {name}: write pretrained:{facts['network']}@{path}")
    return tensors, facts


def _check(facts: Mapping[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError unless the facts are those of an encoder."""
    channels, statistics = facts["channels"], [*facts["mean"], *facts["std"]]
    if not isinstance(facts["network"], str) or channels not in (1, 3) or type(channels) is not int:
        raise ValueError("it does not say what its network is")
    if len(facts["size"]) != 2 or not all(type(side) is int and 0 < side <= LARGEST for side in facts["size"]):
        raise ValueError(f"it takes images of {facts['size']} pixels")
    if len(facts["mean"]) != channels or len(facts["std"]) != channels or not all(map(math.isfinite, statistics)):
        raise ValueError("its mean and std are not one number a channel")
