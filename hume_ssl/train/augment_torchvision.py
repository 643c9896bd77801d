"""The presets as compositions of torchvision's public v2 transforms: the definition that the batched views follow.

For reading, for tests, and for the views of one image in a data loader. They draw from torch's global generator and
take one uint8 image (c, h, w) of 1 or 3 channels. torchvision has no cutout of these kinds: it comes after these, see
:class:`~hume_ssl.train.augment_presets.Cutout`.
"""

import math
from collections.abc import Callable

from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from hume_ssl.train.augment_presets import OPERATIONS, PRESETS, kekmodel, padding


def torchvision_weak(height: int, width: int, *, flip: bool) -> v2.Transform:
    """The weak view of all presets: mirrored with probability 1/2 if `flip`, then a crop after reflect padding."""
    border = [padding(width), padding(height)]
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5 if flip else 0.0),
            v2.RandomCrop((height, width), padding=border, padding_mode="reflect"),
        ]
    )


def torchvision_strong(preset: str, height: int, width: int) -> v2.Transform:
    """The random operations of a preset, which come between the weak view and cutout, for images of one size."""
    one: dict[str, Callable[[], v2.Transform]] = {
        "fixmatch-paper": fixmatch_paper,
        "fixmatch-kekmodel": lambda: fixmatch_kekmodel(height, width),
        "usb": usb,
        "torchvision": lambda: v2.RandAugment(num_ops=1),
    }
    return v2.Compose([one[preset]() for _ in range(PRESETS[preset].operations)])


def fixmatch_paper() -> v2.Transform:
    """One operation of RandAugment, its magnitude uniform on 1..9 of 10 (FixMatch, arXiv:2001.07685, appendix D).

    Differences from the authors' code that come with torchvision: translation by up to 150/331 of the side, not 0.3;
    the factors of brightness, colour, contrast and sharpness are 1 -+ 0.09..0.81, not 0.05..0.95.
    """
    return v2.RandomChoice([v2.RandAugment(num_ops=1, magnitude=m, num_magnitude_bins=11) for m in range(1, 10)])


def fixmatch_kekmodel(height: int, width: int) -> v2.Transform:
    """One operation of `RandAugmentMC` of kekmodel/FixMatch-pytorch, carried out half the time, with its own ranges.

    torchvision turns and moves the other way, and where two neighbours are about as near it may take the other one;
    signs are drawn evenly, so the law is the same.
    """
    values = kekmodel(height, width)
    each = [
        v2.RandomChoice([fixed(name, value) for value in values.get(name, (0.0,))])  # type: ignore[union-attr]
        for name in OPERATIONS
    ]
    return v2.RandomApply([v2.RandomChoice(each)], p=0.5)


def usb() -> v2.Transform:
    """One operation of USB's RandAugment (semilearn 0.3.2), uniform in its range.

    Differences: shear is uniform in its angle, not in its tangent (at most 3 % apart); the factor of sharpness, fixed
    in torchvision's transform, is one of 0.05, 0.06, .. 0.95; translation is by whole pixels, as nearest neighbours
    make it in any case.
    """
    a = math.degrees(math.atan(0.3))
    each = [
        v2.Identity(),
        v2.RandomAffine(0, shear=(-a, a, 0, 0), center=[0, 0]),
        v2.RandomAffine(0, shear=(0, 0, -a, a), center=[0, 0]),
        v2.RandomAffine(0, translate=(0.3, 0)),
        v2.RandomAffine(0, translate=(0, 0.3)),
        v2.RandomRotation(30),
        v2.ColorJitter(saturation=(0.05, 0.95)),
        v2.RandomChoice([v2.RandomAdjustSharpness(percent / 100, p=1) for percent in range(5, 96)]),
        v2.ColorJitter(brightness=(0.05, 0.95)),
        v2.ColorJitter(contrast=(0.05, 0.95)),
        v2.RandomChoice([v2.RandomPosterize(bits, p=1) for bits in (4, 5, 6, 7)]),
        v2.RandomChoice([*(v2.RandomSolarize(grey, p=1) for grey in range(1, 256)), v2.Identity()]),  # 256: no grey
        v2.RandomAutocontrast(p=1),
        v2.RandomEqualize(p=1),
    ]
    return v2.RandomChoice(each)


def fixed(name: str, value: float) -> v2.Transform:
    """One operation at one value, by torchvision's public function."""
    functions = {
        "Identity": lambda image: image,
        "ShearX": lambda image: tvf.affine(image, 0.0, [0, 0], 1.0, [value, 0.0], center=[0, 0]),
        "ShearY": lambda image: tvf.affine(image, 0.0, [0, 0], 1.0, [0.0, value], center=[0, 0]),
        "TranslateX": lambda image: tvf.affine(image, 0.0, [int(value), 0], 1.0, [0.0, 0.0]),
        "TranslateY": lambda image: tvf.affine(image, 0.0, [0, int(value)], 1.0, [0.0, 0.0]),
        "Rotate": lambda image: tvf.rotate(image, value),
        "Color": lambda image: tvf.adjust_saturation(image, value),
        "Sharpness": lambda image: tvf.adjust_sharpness(image, value),
        "Brightness": lambda image: tvf.adjust_brightness(image, value),
        "Contrast": lambda image: tvf.adjust_contrast(image, value),
        "Posterize": lambda image: tvf.posterize(image, int(value)),
        "Solarize": lambda image: tvf.solarize(image, min(value, 255.0)),
        "AutoContrast": tvf.autocontrast,
        "Equalize": tvf.equalize,
    }
    return v2.Lambda(functions[name])
