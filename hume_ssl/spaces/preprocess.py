"""From an image to what a network reads: resize and crop in the decoding process, normalise on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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


def squashed(size: int, like: Preprocess) -> Preprocess:
    """To size x size pixels, bilinear, proportions lost and nothing cut off: what `?size=` asks for."""
    return Preprocess((size, size), None, InterpolationMode.BILINEAR.value, like.mean, like.std)
