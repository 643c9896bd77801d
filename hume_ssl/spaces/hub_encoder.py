"""hub:REPO/ENTRY, a network that a repository offers by torch.hub: hub:facebookresearch/dinov2/dinov2_vits14.

REPO is OWNER/NAME or OWNER/NAME:BRANCH on GitHub, or a folder with a hubconf.py (it begins with / . or ~). **The
repository's own code is run**: that is how torch.hub works. So name only one that you trust; what only a file
asks for is refused (`hume_ssl.spaces.trust`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hume_ssl.errors import InputError
from hume_ssl.spaces.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess, squashed
from hume_ssl.spaces.spec import EncoderSpec
from hume_ssl.spaces.trust import check_trusted, remember
from hume_ssl.spaces.weights_files import load_strictly, read_state

SHORTER_SIDE, CROP = 256, 224


class Pooled(nn.Module):
    """(b, 3, h, w) -> (b, d): the vector a network gives, or the mean over pixels of its maps (b, d, h', w')."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found = self.network(x)
        if not isinstance(found, Tensor) or found.ndim not in (2, 4):
            raise RuntimeError(f"it gives {type(found).__name__}, not a vector an image")
        return found.mean(dim=(2, 3)) if found.ndim == 4 else found


def build_preprocess(spec: EncoderSpec) -> Preprocess:
    """With `size`: to size x size, bilinear, no crop; else the evaluation transform of DINO and DINOv2: shorter side to
    256 pixels, bicubic, and the central 224 x 224. Mean and deviation are ImageNet's."""
    own = Preprocess(SHORTER_SIDE, CROP, "bicubic", IMAGENET_MEAN, IMAGENET_STD)
    size = spec.options.get("size")
    return own if size is None else squashed(int(size), own)


def build_network(spec: EncoderSpec, *, bare: bool = False) -> nn.Module:
    """The network with its weights, in evaluation mode on the CPU: (b, 3, h, w) -> (b, d).

    The weights are those of the spec's file, loaded into what ENTRY(pretrained=False) gives; else ENTRY's own.

    Raises:
        InputError: no such repository or entry, no network to fetch it by, or a repository that the user has not named;
            as for other kinds of encoders.
    """
    repo, _, entry = spec.name.rpartition("/")
    local = repo.startswith(("/", ".", "~"))
    where = str(Path(repo).expanduser()) if local else repo
    check_trusted(spec.name)
    how: dict[str, Any] = {} if spec.weights is None and not bare else {"pretrained": False}
    try:
        # verbose=False: it would write to stdout, which belongs to --json.
        # DINOv2 with xformers, where that is installed, runs on nothing but a GPU; the features are the same without.
        os.environ.setdefault("XFORMERS_DISABLED", "1")
        network = torch.hub.load(
            where, entry, source="local" if local else "github", trust_repo=True, verbose=False, **how
        )  # type: ignore[no-untyped-call]
    except Exception as error:  # the repository's own code may raise anything
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"cannot load {spec.text!r} by torch.hub: {first}; check its name, and the network") from error
    if local:
        remember(spec.name)
    if not isinstance(network, nn.Module):
        raise InputError(f"{spec.text!r} gives {type(network).__name__} and not a network; name another entry")
    if spec.weights is not None and not bare:
        load_strictly(network, read_state(spec.weights.expanduser()), f"hub:{spec.name}", spec.weights)
    return Pooled(network).eval().requires_grad_(False)


def default_weights(spec: EncoderSpec) -> str:
    """What the weights are called that are taken where the spec names no file."""
    return spec.name
