"""Weak and strong views of a batch, on the tensor's own device, each image with operations of its own.

Weak (FixMatch, arXiv:2001.07685, section 2.3): a mirror image with probability 1/2 where the recipe allows it, then a
random crop after reflect padding of 12.5 % of the side. Strong (preset `fixmatch-paper`): a weak view, two operations
drawn with replacement from the 14 of RandAugment, each with its own magnitude drawn from 1..9 of 10, then cutout of
half the side at a random place.

The random operations are defined by torchvision's public transforms (:func:`torchvision_strong`), which know no
generator and give all images of a batch the same operation. :func:`apply_operations` computes the same operations with
one row of parameters per image: the geometric ones as one affine grid with nearest neighbours, the others by
torchvision's functions or formulas with a factor per image. Each (operation, magnitude, sign) equals torchvision's
output to one grey level of 255 (rounding), and all are drawn with the same probabilities; both are tested.

Differences from the authors' code that come with torchvision: translation by up to 150/331 of the side, not 0.3; the
factors of brightness, colour, contrast and sharpness are 1 -+ 0.09..0.81, not 0.05..0.95. With one channel colour is
the identity, as is equalize below 256 pixels (both as in torchvision and Pillow). Images of two, four or more channels,
which torchvision refuses, keep the operations that need no meaning of colour.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

OPERATIONS = (
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness",
    "Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize",
)  # fmt: skip
GEOMETRIC = 5  # operations 1..5 move pixels; the later ones change values
GREY = 127  # the fill of cutout, as in the authors' code
BINS = 11  # magnitudes 0..10; 1..9 are drawn
PRESETS = {"fixmatch-paper": 2}  # name -> random operations an image


class Operations(NamedTuple):
    """One random operation per image: `op` index into OPERATIONS, `magnitude` 1..9, `sign` -1 or 1; int64 (b,) each."""

    op: Tensor
    magnitude: Tensor
    sign: Tensor


def weak(images: Tensor, generator: torch.Generator, *, flip: bool) -> Tensor:
    """One weak view per image.

    Args:
        images: uint8 (b, c, h, w).
        generator: a CPU generator, whatever the device of the images, so that a seed means the same everywhere.
        flip: mirror each image with probability 1/2. False where mirror images are other things, such as digits.

    Returns:
        uint8 (b, c, h, w).
    """
    b, _, h, w = images.shape
    pad_h, pad_w = padding(h), padding(w)
    top = torch.randint(2 * pad_h + 1, (b,), generator=generator).to(images.device)
    left = torch.randint(2 * pad_w + 1, (b,), generator=generator).to(images.device)
    rows = reflect(torch.arange(h, device=images.device) + top[:, None] - pad_h, h)  # (b, h)
    columns = reflect(torch.arange(w, device=images.device) + left[:, None] - pad_w, w)  # (b, w)
    if flip:
        mirrored = torch.rand(b, generator=generator).to(images.device) < 0.5
        columns = torch.where(mirrored[:, None], w - 1 - columns, columns)
    batch = torch.arange(b, device=images.device)[:, None, None]
    return images.movedim(1, 3)[batch, rows[:, :, None], columns[:, None, :]].movedim(3, 1).contiguous()


def strong(images: Tensor, generator: torch.Generator, *, flip: bool, preset: str = "fixmatch-paper") -> Tensor:
    """One strong view per image: weak, the preset's random operations, cutout. Arguments as in :func:`weak`."""
    views = weak(images, generator, flip=flip)
    for _ in range(PRESETS[preset]):
        views = apply_operations(views, draw_operations(len(views), generator))
    return cutout(views, generator)


def padding(side: int) -> int:
    """Pixels of reflect padding at each end of a side: 12.5 %, at least one, and less than the side itself."""
    return min(max(1, round(0.125 * side)), side - 1)


def reflect(index: Tensor, side: int) -> Tensor:
    """Coordinates outside [0, side) reflected at the border pixels (the border itself is not repeated)."""
    inside = index.abs()
    return torch.where(inside > side - 1, 2 * (side - 1) - inside, inside)


def draw_operations(b: int, generator: torch.Generator) -> Operations:
    """Uniform operations, magnitudes 1..9 and signs for `b` images."""
    op = torch.randint(len(OPERATIONS), (b,), generator=generator)
    magnitude = torch.randint(1, BINS - 1, (b,), generator=generator)
    sign = torch.randint(2, (b,), generator=generator) * 2 - 1
    return Operations(op, magnitude, sign)


def cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    """A grey square of half the side, its centre uniform over the image, so that it may reach over the border."""
    b, _, h, w = images.shape
    y = torch.randint(h, (b, 1), generator=generator).to(images.device)
    x = torch.randint(w, (b, 1), generator=generator).to(images.device)
    top, left = y - h // 4, x - w // 4
    row, column = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
    rows = (row >= top) & (row < top + h // 2)  # (b, h)
    columns = (column >= left) & (column < left + w // 2)  # (b, w)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], GREY)


def apply_operations(images: Tensor, operations: Operations) -> Tensor:
    """Apply to each image its own operation.

    Args:
        images: uint8 (b, c, h, w).
        operations: rows for the b images, on the CPU.

    Returns:
        uint8 (b, c, h, w); see the module for how it relates to torchvision's output.
    """
    out = images.clone()
    fraction = operations.magnitude.double() / (BINS - 1)
    signed = fraction * operations.sign
    geometric = ((operations.op >= 1) & (operations.op <= GEOMETRIC)).nonzero()[:, 0]
    if len(geometric):
        rows = geometric.to(images.device)
        theta = inverse_affine(operations.op[geometric], signed[geometric], *images.shape[-2:])
        out[rows] = warp(images[rows], theta.to(images.device))
    for code in range(GEOMETRIC + 1, len(OPERATIONS)):
        chosen = (operations.op == code).nonzero()[:, 0]
        if len(chosen):
            rows = chosen.to(images.device)
            ratio = (signed if OPERATIONS[code] in SIGNED else fraction)[chosen].to(images.device)
            out[rows] = change_values(images[rows], OPERATIONS[code], ratio[:, None, None, None])
    return out


def inverse_affine(op: Tensor, signed: Tensor, h: int, w: int) -> Tensor:
    """Output-to-input maps (b, 2, 3) in centred pixel coordinates of the geometric operations 1..5.

    Shear by up to 0.3 about the top left corner, translation by up to 150/331 of the side in whole pixels, rotation by
    up to 30 degrees about the centre; `signed` (b,) in [-1, 1] scales these. All as in torchvision's RandAugment.
    """
    shear_x, shear_y, move_x, move_y, turn = (torch.where(op == code, signed, 0.0) for code in range(1, GEOMETRIC + 1))
    shear_x, shear_y, angle = 0.3 * shear_x, 0.3 * shear_y, torch.deg2rad(30.0 * turn)
    move_x, move_y = (150.0 / 331.0 * w * move_x).trunc(), (150.0 / 331.0 * h * move_y).trunc()
    across = torch.stack([angle.cos(), shear_x - angle.sin(), shear_x * h / 2 - move_x], 1)
    down = torch.stack([angle.sin() + shear_y, angle.cos(), shear_y * w / 2 - move_y], 1)
    return torch.stack([across, down], 1).float()


def warp(images: Tensor, theta: Tensor) -> Tensor:
    """Nearest-neighbour resampling of uint8 (b, c, h, w) by maps (b, 2, 3); outside is black, as in RandAugment."""
    b, _, h, w = images.shape
    y = torch.linspace((1 - h) / 2, (h - 1) / 2, h, device=images.device)
    x = torch.linspace((1 - w) / 2, (w - 1) / 2, w, device=images.device)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    points = torch.stack([grid_x, grid_y, torch.ones_like(grid_x)], -1).reshape(1, h * w, 3)
    scaled = theta.transpose(1, 2) / torch.tensor([w / 2, h / 2], device=images.device)
    grid = points.expand(b, -1, -1).bmm(scaled).reshape(b, h, w, 2)
    return nnf.grid_sample(images.float(), grid, mode="nearest", align_corners=False).round().to(torch.uint8)


SIGNED = {"Brightness", "Color", "Contrast", "Sharpness"}


def change_values(images: Tensor, name: str, ratio: Tensor) -> Tensor:
    """The operations that leave pixels in place; `ratio` (b, 1, 1, 1) is magnitude / 10, signed where that counts."""
    if name == "Posterize":
        dropped = 8 - (8 - ratio * 4).round().to(torch.uint8)
        return (images >> dropped) << dropped
    if name == "Solarize":
        return torch.where(images >= 255.0 * (1.0 - ratio).float(), 255 - images, images)
    if name == "AutoContrast":
        stretched: Tensor = tvf.autocontrast(images.flatten(0, 1)[:, None])  # per channel in any case
        return stretched.view_as(images)
    if name == "Equalize":
        equalized: Tensor = tvf.equalize(images)
        return equalized
    factor = 1.0 + 0.9 * ratio
    if name == "Brightness":
        return blend(images, torch.zeros((), device=images.device), factor)
    if name == "Sharpness":
        return blend(images, blurred(images), factor)
    if images.shape[1] == 3:
        grey = tvf.rgb_to_grayscale(images.float()).floor()
    elif name == "Contrast":
        grey = images.float()
    else:
        return images  # one channel has no colour to change
    return blend(images, grey.mean((1, 2, 3), keepdim=True) if name == "Contrast" else grey, factor)


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor * images + (1 - factor) * other, cut to 0..255."""
    return (images * factor.float() + other * (1.0 - factor).float()).clamp_(0, 255).to(torch.uint8)


def blurred(images: Tensor) -> Tensor:
    """Pillow's SMOOTH filter, (1 1 1, 1 5 1, 1 1 1) / 13, on the inner pixels; the border stays. Float (b, c, h, w)."""
    c, h, w = images.shape[1:]
    out = images.float()
    if h <= 2 or w <= 2:
        return out
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    out[..., 1:-1, 1:-1] = nnf.conv2d(images.float(), (kernel / 13).expand(c, 1, 3, 3), groups=c).round()
    return out


def torchvision_strong(preset: str = "fixmatch-paper") -> v2.Transform:
    """The random operations of a strong view as torchvision's public transforms, for one uint8 image (c, h, w).

    This is the definition that :func:`strong` follows between the weak view and the cutout. It takes 1 or 3 channels
    and draws from torch's global generator.
    """
    one = [v2.RandAugment(num_ops=1, magnitude=m, num_magnitude_bins=BINS) for m in range(1, BINS - 1)]
    return v2.Compose([v2.RandomChoice(one) for _ in range(PRESETS[preset])])
