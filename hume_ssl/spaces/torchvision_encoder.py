"""torchvision:NAME, the pooled input of the last classifier of one of torchvision's networks."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

from hume_ssl.errors import InputError
from hume_ssl.spaces.spec import EncoderSpec

# These two read images scaled to -1..1, and torchvision rescales them inside where its own weights are loaded.
_INPUT_SCALED_INSIDE = {
    name: {"transform_input": True, "init_weights": False} for name in ("googlenet", "inception_v3")
}


@dataclass(frozen=True)
class Preprocess:
    """PIL image -> (3, h, w) uint8, and uint8 batches -> what the network reads. Can be sent to a worker process.

    Attributes:
        resize: shorter side in pixels (proportions kept), or (height, width).
        crop: side of the centre crop in pixels; None: no crop.
        interpolation: name of torchvision's mode; always antialiased.
        mean, std: of each channel, for values in [0, 1].
    """

    resize: int | tuple[int, int]
    crop: int | None
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of what comes out."""
        if self.crop is not None:
            return self.crop, self.crop
        return (self.resize, self.resize) if isinstance(self.resize, int) else self.resize

    def __call__(self, image: Image.Image) -> Tensor:
        size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
        mode = InterpolationMode(self.interpolation)
        image = tvf.resize(image.convert("RGB"), size, interpolation=mode, antialias=True)
        if self.crop is not None:
            image = tvf.center_crop(image, [self.crop])
        pixels: Tensor = tvf.pil_to_tensor(image)
        return pixels

    def normalise(self, pixels: Tensor) -> Tensor:
        """(b, 3, h, w) uint8 -> float32 with mean 0 and standard deviation 1 on the data the weights come from."""
        scaled: Tensor = tvf.normalize(tvf.convert_image_dtype(pixels, torch.float32), list(self.mean), list(self.std))
        return scaled


class SpatialMean(nn.Module):
    """Mean over the pixels of `features`: (b, 3, h, w) -> (b, d). For networks whose classifier is a convolution."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(nn.functional.adaptive_avg_pool2d(self.features(x), 1), 1)


def build_preprocess(spec: EncoderSpec) -> Preprocess:
    """With `size`: to size x size, bilinear, no crop; else as the network's default weights ask. Loads nothing."""
    preset = torchvision.models.get_model_weights(spec.name).DEFAULT.transforms()
    mean, std = tuple(map(float, preset.mean)), tuple(map(float, preset.std))
    size = spec.options.get("size")
    if size is not None:
        return Preprocess((int(size), int(size)), None, InterpolationMode.BILINEAR.value, mean, std)
    return Preprocess(preset.resize_size[0], preset.crop_size[0], preset.interpolation.value, mean, std)


def build_network(spec: EncoderSpec) -> nn.Module:
    """The network with its weights, in evaluation mode on the CPU: (b, 3, h, w) -> (b, d), the last classifier's input.

    The weights are those of the spec's file (a state dict, .safetensors or .pth), else torchvision's default ones,
    downloaded once to torch's cache.

    Raises:
        InputError: the file is missing, no plain state dict, or of another network (the first wrong key is named); the
            default weights cannot be downloaded.
    """
    if spec.weights is None:
        try:
            network = torchvision.models.get_model(spec.name, weights="DEFAULT")
        except (OSError, RuntimeError) as error:  # no network, or a download that fails its checksum
            raise InputError(
                f"cannot download the weights of torchvision:{spec.name} ({error}); "
                f"give a file: torchvision:{spec.name}@FILE"
            ) from error
    else:
        state = read_state(spec.weights.expanduser())
        network = torchvision.models.get_model(spec.name, weights=None, **_INPUT_SCALED_INSIDE.get(spec.name, {}))
        _load_strictly(network, state, spec)
    return cut_classifier(network).eval().requires_grad_(False)


def cut_classifier(network: nn.Module) -> nn.Module:
    """Leave out the last linear layer, or, where the classifier is a convolution (squeezenet), all but `features`."""
    name, last = list(network.named_children())[-1]
    if isinstance(last, nn.Linear):
        setattr(network, name, nn.Identity())
        return network
    linear = [path for path, module in last.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        return SpatialMean(network.get_submodule("features"))
    parent, _, leaf = linear[-1].rpartition(".")
    setattr(last.get_submodule(parent), leaf, nn.Identity())
    return network


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


def _load_strictly(network: nn.Module, state: dict[str, Any], spec: EncoderSpec) -> None:
    if spec.name.startswith("densenet"):
        # torchvision's own densenet files still carry the names of an older version.
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")
        for key in [key for key in state if old.search(key)]:
            state[old.sub(r"\1\2", key)] = state.pop(key)
    where = f"the weights {spec.weights} are not of torchvision:{spec.name}"
    try:
        # Not strict=True: its message lists all keys; and only load_state_dict knows which ones old files may lack.
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # the first line is a title, the next the first tensor of another shape
        raise InputError(f"{where}: {str(error).splitlines()[1].strip()}") from error
    if missing:
        raise InputError(f"{where}: {missing[0]} is missing ({len(missing)} keys in all)")
    if unexpected:
        raise InputError(f"{where}: {unexpected[0]} is unexpected ({len(unexpected)} keys in all)")
