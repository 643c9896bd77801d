"""torchvision:NAME, the pooled input of the last classifier of one of torchvision's networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

from hume_ssl.errors import InputError
from hume_ssl.spaces.spec import EncoderSpec
from hume_ssl.spaces.torchvision_weights import INPUT_SCALED_INSIDE, last_classifier, load_strictly, read_state


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
        network = torchvision.models.get_model(spec.name, weights=None, **INPUT_SCALED_INSIDE.get(spec.name, {}))
        load_strictly(network, state, spec.name, spec.weights)
    return cut_classifier(network).eval().requires_grad_(False)


def cut_classifier(network: nn.Module) -> nn.Module:
    """Leave out the last linear layer, or, where the classifier is a convolution (squeezenet), all but `features`."""
    path = last_classifier(network)
    if not isinstance(network.get_submodule(path), nn.Linear):
        return SpatialMean(network.get_submodule("features"))
    parent, _, leaf = path.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())
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
