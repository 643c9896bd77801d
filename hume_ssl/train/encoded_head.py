"""A head together with the encoder whose views it was trained on: one network, from images to logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hume_ssl.items import Items
from hume_ssl.spaces.decode import image_batches, in_batches
from hume_ssl.spaces.encoders import build_network, build_preprocess
from hume_ssl.spaces.preprocess import Preprocess
from hume_ssl.spaces.spec import EncoderSpec, parse_spec
from hume_ssl.train.head import Head, build_head

BATCH = 64  # images decoded and encoded at once


class EncodedHead(nn.Module):
    """uint8 (b, 3, h, w) at the encoder's input size in, float32 logits (b, k) out.

    `mean` and `std` (3,) are buffers in 0..255 units, those of the encoder's weights; `rooted` says whether the head
    reads the square roots of the features, see :class:`~hume_ssl.train.feature_sources.ViewSource`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, head: nn.Module, preprocess: Preprocess, *, rooted: bool) -> None:
        super().__init__()
        self.encoder, self.head, self.rooted = encoder, head, rooted
        for name, values in (("mean", preprocess.mean), ("std", preprocess.std)):
            self.register_buffer(name, 255 * torch.tensor(values).reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder((images.float() - self.mean) / self.std).float()
        logits: Tensor = self.head(features.clamp_min(0).sqrt() if self.rooted else features)
        return logits


def join(
    head_state: Mapping[str, Tensor], facts: Mapping[str, Any], encoder: EncoderSpec, *, rooted: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and facts of the whole network, from those of a trained head on the views of `encoder`.

    It holds the encoder's weights, so that nothing else is needed to use it.
    """
    preprocess = build_preprocess(encoder)
    whole = {
        **facts,
        "shape": [3, *preprocess.size],
        "encoder": encoder.without_path,
        "rooted": rooted,
        "width": facts["shape"][0],
    }
    head = build_head((torch.zeros(whole["width"]), torch.ones(whole["width"])), int(facts["classes"]), seed=0)
    head.load_state_dict(dict(head_state))
    network = EncodedHead(build_network(encoder), head, preprocess, rooted=rooted)
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, whole


def rebuild_head(facts: Mapping[str, Any]) -> Head | EncodedHead:
    """The network that the facts describe, with weights still to be loaded: whole, or a head on a space alone."""
    whole = "encoder" in facts
    d = int(facts["width"] if whole else facts["shape"][0])
    head = build_head((torch.zeros(d), torch.ones(d)), int(facts["classes"]), seed=0)
    if not whole:
        return head
    spec = parse_spec(facts["encoder"])
    with torch.random.fork_rng(devices=[]):  # the layers draw weights when made
        bare = build_network(spec, bare=True)
    return EncodedHead(bare, head, build_preprocess(spec), rooted=bool(facts["rooted"]))


def encoder_images(items: Items, facts: Mapping[str, Any]) -> Iterator[Tensor]:
    """uint8 (b, 3, h, w) batches of the items in their order, as the encoder takes them."""
    yield from image_batches(
        items, build_preprocess(parse_spec(facts["encoder"])), in_batches(range(len(items)), BATCH)
    )
