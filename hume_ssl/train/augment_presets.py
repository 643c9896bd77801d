"""Presets of weak and strong augmentation as data: which operations, how strong, what cutout.

Weak is the same in all: a mirror image with probability 1/2 where the recipe allows it and a random crop after reflect
padding of 12.5 % of the side. Strong is a weak view of its own, some random operations drawn with replacement, cutout.
What the operations do is torchvision's meaning of them; :mod:`hume_ssl.train.augment_torchvision` defines each preset
by torchvision's public transforms, and the batched views follow that.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

OPERATIONS = (
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Color", "Sharpness",
    "Brightness", "Contrast", "Posterize", "Solarize", "AutoContrast", "Equalize",
)  # fmt: skip
ENHANCE = ("Color", "Sharpness", "Brightness", "Contrast")


@dataclass(frozen=True)
class Between:
    """Any value from `low` to `high`, uniformly."""

    low: float
    high: float


Values = tuple[float, ...] | Between  # a tuple: one of these, all equally likely


@dataclass(frozen=True)
class Cutout:
    """A hole of one colour. `low`..`high`: its side as a share of the image's, uniform, or fixed where they are equal.

    Without `inside`, its centre is a uniform pixel and the hole is cut at the border. With it (the Pillow code of
    kekmodel and USB) the hole is a square measured on the width, pushed inside at the top and left, cut only at the
    bottom and right, and one pixel longer, because Pillow's rectangles include their end.
    """

    low: float
    high: float
    inside: bool
    colour: tuple[int, int, int]  # images without three channels take the middle one


@dataclass(frozen=True)
class Preset:
    """`operations` random operations an image, each carried out with probability `chance`, and a cutout.

    `values(height, width)` gives the values of each operation that has one, in the units of torchvision's functions:
    degrees of shear and rotation, pixels of translation (rounded to whole ones), factors of colour, sharpness,
    brightness and contrast (1 = as is), bits kept by posterize, the lowest grey that solarize inverts.
    """

    operations: int
    values: Callable[[int, int], dict[str, Values]]
    cutout: Cutout | None
    words: str
    chance: float = 1.0


def randaugment(magnitudes: range, bins: int) -> Callable[[int, int], dict[str, Values]]:
    """The values of torchvision's RandAugment at `magnitudes` of 0..bins - 1, with both signs where it has signs."""

    def values(height: int, width: int) -> dict[str, Values]:
        import torch  # its float32 steps decide between two equally near neighbours

        def steps(start: float, end: float) -> list[float]:
            all_steps: list[float] = torch.linspace(start, end, bins, dtype=torch.float32).tolist()
            return [all_steps[m] for m in magnitudes]

        def signed(end: float) -> list[float]:
            return [sign * step for step in steps(0.0, end) for sign in (-1, 1)]

        shear = tuple(math.degrees(math.atan(step)) for step in signed(0.3))
        return {
            "ShearX": shear,
            "ShearY": shear,
            "TranslateX": tuple(float(int(step)) for step in signed(150 / 331 * width)),
            "TranslateY": tuple(float(int(step)) for step in signed(150 / 331 * height)),
            "Rotate": tuple(signed(30.0)),
            **{name: tuple(1 + step for step in signed(0.9)) for name in ENHANCE},
            "Posterize": tuple(float(round(8 - m / ((bins - 1) / 4))) for m in magnitudes),
            "Solarize": tuple(255 * step for step in steps(1.0, 0.0)),
        }

    return values


def kekmodel(height: int, width: int) -> dict[str, Values]:
    """The values of `RandAugmentMC(n=2, m=10)`: levels 1..9 of 10, its own ranges and roundings."""
    levels = range(1, 10)
    shear = tuple(sign * math.degrees(math.atan(0.03 * m)) for m in levels for sign in (-1, 1))
    return {
        "ShearX": shear,
        "ShearY": shear,
        "TranslateX": tuple(float(sign * int(m * 0.3 / 10 * width)) for m in levels for sign in (-1, 1)),
        "TranslateY": tuple(float(sign * int(m * 0.3 / 10 * height)) for m in levels for sign in (-1, 1)),
        "Rotate": tuple(sign * 3.0 * m for m in levels for sign in (-1, 1)),
        **{name: tuple(0.05 + 0.09 * m for m in levels) for name in ENHANCE},
        "Posterize": tuple(float(4 + 4 * m // 10) for m in levels),
        "Solarize": tuple(float(256 - 256 * m // 10) for m in levels),
    }


def usb(height: int, width: int) -> dict[str, Values]:
    """The ranges of USB's RandAugment, whose magnitude argument has no effect."""
    degrees = math.degrees(math.atan(0.3))
    return {
        "ShearX": Between(-degrees, degrees),
        "ShearY": Between(-degrees, degrees),
        "TranslateX": Between(-0.3 * width, 0.3 * width),
        "TranslateY": Between(-0.3 * height, 0.3 * height),
        "Rotate": Between(-30.0, 30.0),
        **{name: Between(0.05, 0.95) for name in ENHANCE},
        "Sharpness": tuple(percent / 100 for percent in range(5, 96)),
        "Posterize": (4.0, 5.0, 6.0, 7.0),
        "Solarize": tuple(float(grey) for grey in range(1, 257)),
    }


PRESETS = {
    "fixmatch-paper": Preset(
        operations=2,
        values=randaugment(range(1, 10), 11),
        cutout=Cutout(0.5, 0.5, inside=False, colour=(127, 127, 127)),
        words="2 of 14 RandAugment operations at magnitude 1..9 of 10, cutout of half the side",
    ),
    "fixmatch-kekmodel": Preset(
        operations=2,
        values=kekmodel,
        cutout=Cutout(0.5, 0.5, inside=True, colour=(127, 127, 127)),
        words="2 of 14 RandAugment operations at level 1..9 of 10, each with probability 1/2, cutout of half the side",
        chance=0.5,
    ),
    "usb": Preset(
        operations=3,
        values=usb,
        cutout=Cutout(0.0, 0.5, inside=True, colour=(125, 123, 114)),
        words="3 of 14 RandAugment operations of any strength, cutout of up to half the side",
    ),
    "torchvision": Preset(
        operations=2,
        values=randaugment(range(9, 10), 31),
        cutout=None,
        words="2 of 14 RandAugment operations at magnitude 9 of 30, no cutout",
    ),
}


def padding(side: int) -> int:
    """Pixels of reflect padding at each end of a side: 12.5 %, at least one, and less than the side itself."""
    return min(max(1, round(0.125 * side)), side - 1)


def describe(preset: str, flip: bool, strong: bool = True) -> str:
    """One line for the log: what the weak and, if there are any, the strong views of a preset are."""
    mirror = "mirror with probability 1/2" if flip else "no mirror"
    weak = f"augmentation {preset}: weak = crop after 12.5 % reflect padding ({mirror})"
    return f"{weak}; strong = weak, {PRESETS[preset].words}" if strong else weak
