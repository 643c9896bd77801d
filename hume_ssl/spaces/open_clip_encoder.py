"""open_clip:NAME/TAG, the image tower of a CLIP-like network: what `encode_image` gives, before it is normalised.

NAME is one of `open_clip.list_models()`, TAG one of its pretrained weights; or `hf-hub:OWNER/MODEL`. With @FILE the TAG
says how images are prepared, and whether the network computes QuickGELU, as OpenAI's do, in place of GELU.
"""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from hume_ssl.errors import InputError
from hume_ssl.spaces.preprocess import Preprocess, squashed
from hume_ssl.spaces.spec import EncoderSpec
from hume_ssl.spaces.weights_files import load_strictly, read_state

HUB = "hf-hub:"


class ImageTower(nn.Module):
    """(b, 3, h, w) -> (b, d), the image half of a CLIP-like network; the text half is let go."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, x: Tensor) -> Tensor:
        found = self.visual(x)
        pooled: Tensor = found[0] if isinstance(found, tuple) else found  # CoCa gives its tokens as well
        return pooled


def names(name: str) -> list[str]:
    """What may stand for `name`: the tags of this network, or all networks; what lies on a hub is not looked up."""
    if name.startswith(HUB):
        return [name]
    network, slash, _ = name.partition("/")
    if slash and network in open_clip.list_models():
        return [f"{network}/{tag}" for tag in open_clip.list_pretrained_tags_by_model(network)]
    return list(open_clip.list_models())


def build_preprocess(spec: EncoderSpec) -> Preprocess:
    """With `size`: to size x size, bilinear, no crop; else as the weights ask. Loads nothing.

    Raises InputError where they ask for borders, which we do not make.
    """
    network, tag = _parts(spec)
    config: dict[str, Any] = open_clip.get_model_config(network) or {}
    asked: dict[str, Any] = (open_clip.get_pretrained_cfg(network, tag) or {}) if tag else {}
    size = config.get("vision_cfg", {}).get("image_size", 224)
    side = int(size if isinstance(size, int) else size[0])
    mean = tuple(map(float, asked.get("mean") or open_clip.OPENAI_DATASET_MEAN))
    std = tuple(map(float, asked.get("std") or open_clip.OPENAI_DATASET_STD))
    interpolation = str(asked.get("interpolation") or "bicubic")
    mode = asked.get("resize_mode") or "shortest"
    own = Preprocess(side, side, "bicubic" if interpolation == "random" else interpolation, mean, std)
    if (wanted := spec.options.get("size")) is not None:
        return squashed(int(wanted), own)
    if not isinstance(size, int) and size[0] != size[1]:
        raise InputError(
            f"open_clip:{spec.name} takes images that are not square; give it a side in pixels with ?size="
        )
    if mode == "squash":
        return Preprocess((side, side), None, own.interpolation, mean, std)
    if mode != "shortest":
        raise InputError(f"open_clip:{spec.name} takes images with borders; give it a side in pixels with ?size=")
    return own


def build_network(spec: EncoderSpec, *, bare: bool = False) -> nn.Module:
    """The image tower with its weights, in evaluation mode on the CPU: (b, 3, h, w) -> (b, d).

    The weights are those of the spec's file (of the whole network or of its image tower), else those of the tag,
    downloaded once; `bare` leaves them random, for others to be loaded.

    Raises:
        InputError: as `hume_ssl.spaces.torchvision_encoder.build_network`.
    """
    network, tag = _parts(spec)
    own = spec.weights is None and not bare
    size = int(spec.options["size"]) if "size" in spec.options else None
    try:
        model = open_clip.create_model(
            network,
            pretrained=tag if own else None,
            force_image_size=size,
            force_quick_gelu=_quick_gelu(network, tag),
            device="cpu",
        )
    except (OSError, RuntimeError) as error:
        if not own:
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot download the weights of open_clip:{spec.name} ({first}); give a file: open_clip:{spec.name}@FILE"
        ) from error
    if spec.weights is not None and not bare:
        state = read_state(spec.weights.expanduser())
        if any(key.startswith("visual.") for key in state):
            open_clip.model.resize_pos_embed(state, model)  # to another ?size= than the file's
            state = {key.removeprefix("visual."): t for key, t in state.items() if key.startswith("visual.")}
        load_strictly(model.visual, state, f"open_clip:{network}", spec.weights)
    return ImageTower(model.visual).eval().requires_grad_(False).to(torch.float32)


def default_weights(spec: EncoderSpec) -> str:
    """What the weights are called that are taken where the spec names no file."""
    return f"{spec.name} quickgelu" if _quick_gelu(*_parts(spec)) else spec.name


def _quick_gelu(network: str, tag: str | None) -> bool:
    """Whether the tag's weights were trained with QuickGELU: open_clip warns of it, and computes GELU."""
    return bool((open_clip.get_pretrained_cfg(network, tag) or {}).get("quick_gelu")) if tag else False


def _parts(spec: EncoderSpec) -> tuple[str, str | None]:
    """Network and tag. Raises InputError where weights are wanting."""
    if spec.name.startswith(HUB):
        return spec.name, None
    network, _, tag = spec.name.partition("/")
    return network, tag or None
