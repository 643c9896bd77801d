"""Two views of each image of a batch, as tensor operations on all of them, each image with its own random draw.

Everything random is drawn first, on the CPU, by a generator that follows from (seed, step); it has one row an image, so
that a process computes its own rows alone and gets what one process would.

Two presets. "strokes", for small grey images (characters, symbols, spectra): the image turned, scaled, sheared, moved
and bent as another hand would draw it, its strokes thicker or thinner; no mirror. "photos", for colour: SimCLR's crops,
mirror, colour jitter and grey (arXiv:2002.05709, appendix A), blurred from 64 pixels on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from hume_ssl.train.devices import send

KNOTS = 4  # of the grid of random moves that bends an image, a side
BLURRED_FROM = 64  # pixels: what a smaller image shows would be lost


class Draw(NamedTuple):
    """What one view of b images is; float32 CPU tensors with b rows.

    place: (b, 2, 3), where each pixel of the view is taken from, in coordinates from -1 to 1.
    bend: (b, 2, KNOTS, KNOTS), moves added to that, in the same units.
    stroke: (b,) in [-1, 1]: thicker above 0, thinner below.
    colour: (b, 4), factors of brightness, contrast and saturation, and a turn of the colours in radians.
    grey, blur: (b,) 1 where the view has no colour; standard deviation of its blur in pixels, 0: none.
    """

    place: Tensor
    bend: Tensor
    stroke: Tensor
    colour: Tensor
    grey: Tensor
    blur: Tensor


def draw_views(
    b: int, height: int, width: int, generator: torch.Generator, *, preset: str, flip: bool, strength: float = 1.0
) -> Draw:
    """Draw one view each of b images of height x width pixels; `strength` multiplies the preset's ranges."""
    make = {"strokes": _draw_strokes, "photos": _draw_photos}[preset]
    draw = make(b, height, width, generator, strength)
    mirrored = torch.rand(b, generator=generator) < (0.5 if flip else 0.0)
    draw.place[:, 0] *= torch.where(mirrored, -1.0, 1.0)[:, None]
    return draw


def _draw_strokes(b: int, height: int, width: int, generator: torch.Generator, strength: float) -> Draw:
    def even(limit: float) -> Tensor:
        return (2 * torch.rand(b, generator=generator) - 1) * limit * strength

    angle, shear = even(math.radians(20)), even(0.3)
    scale, longer = even(0.25).exp(), even(0.125).exp()
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(b)
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    stretch = torch.stack([torch.stack([scale * longer, shear], 1), torch.stack([zero, scale / longer], 1)], 1)
    move = torch.stack([even(0.24), even(0.24)], 1)  # 12 % of the side: coordinates go from -1 to 1
    bend = torch.randn(b, 2, KNOTS, KNOTS, generator=generator) * 0.075 * strength
    stroke = even(0.7).clamp(-1, 1)
    place = torch.cat([turn @ stretch, move[:, :, None]], 2)
    return Draw(place, bend, stroke, _unchanged(b), torch.zeros(b), torch.zeros(b))


def _draw_photos(b: int, height: int, width: int, generator: torch.Generator, strength: float) -> Draw:
    def even() -> Tensor:
        return torch.rand(b, generator=generator)

    area = 1 - even() * min(0.8 * strength, 0.95)  # a crop of 20 % to all of the image
    ratio = ((2 * even() - 1) * math.log(4 / 3)).exp()
    tall, wide = (area / ratio).sqrt().clamp(max=1), (area * ratio).sqrt().clamp(max=1)
    down, right = (2 * even() - 1) * (1 - tall), (2 * even() - 1) * (1 - wide)
    zero = torch.zeros(b)
    place = torch.stack([torch.stack([wide, zero, right], 1), torch.stack([zero, tall, down], 1)], 1)
    jitter = torch.stack([(2 * even() - 1) * limit * strength for limit in (0.4, 0.4, 0.4)], 1).add(1).clamp(min=0)
    turn = (2 * even() - 1) * 0.1 * 2 * math.pi * strength
    colour = torch.cat([jitter, turn[:, None]], 1)
    colour = torch.where((even() < 0.8)[:, None], colour, _unchanged(b))
    grey = (even() < 0.2).float()
    sigma = (0.1 + 1.9 * even()) * (even() < 0.5) * (max(height, width) / 224)
    blur = sigma if max(height, width) >= BLURRED_FROM else torch.zeros(b)
    return Draw(place, torch.zeros(b, 2, KNOTS, KNOTS), torch.zeros(b), colour, grey, blur)


def _unchanged(b: int) -> Tensor:
    return torch.tensor([1.0, 1.0, 1.0, 0.0]).repeat(b, 1)


def rows(draw: Draw, part: slice) -> Draw:
    """The draw of these images only."""
    return Draw(*(field[part] for field in draw))


def apply_views(images: Tensor, draw: Draw) -> Tensor:
    """The views of images uint8 (b, c, h, w), float32 in [0, 1], of the same shape and on their device."""
    device, shape = images.device, images.shape
    grid = nnf.affine_grid(send(draw.place, device), list(shape), align_corners=False)  # (b, h, w, 2)
    if draw.bend.any():
        bend = nnf.interpolate(send(draw.bend, device), shape[-2:], mode="bicubic", align_corners=False)
        grid = grid + bend.permute(0, 2, 3, 1)
    views = nnf.grid_sample(images.float() / 255, grid, padding_mode="border", align_corners=False)
    if draw.stroke.any():
        views = thickened(views, send(draw.stroke, device)[:, None, None, None])
    if bool((draw.colour != _unchanged(1)).any()) or draw.grey.any():
        views = coloured(views, send(draw.colour, device), send(draw.grey, device))
    if draw.blur.any():
        views = blurred(views, send(draw.blur, device))
    return views


def thickened(views: Tensor, share: Tensor) -> Tensor:
    """Bright strokes thicker by up to a pixel (`share` 1: each pixel takes the largest of its neighbourhood), or
    thinner (-1: the smallest); share (b, 1, 1, 1) in [-1, 1]. On a bright ground it is the other way round."""
    padded = nnf.pad(views, (1, 1, 1, 1), mode="replicate")
    largest, smallest = nnf.max_pool2d(padded, 3, 1), -nnf.max_pool2d(-padded, 3, 1)
    return views + torch.where(share > 0, largest - views, views - smallest) * share


def coloured(views: Tensor, factors: Tensor, grey: Tensor) -> Tensor:
    """Brightness, contrast, saturation, and a turn about the grey axis; then no colour where `grey` (b,) is 1.

    Args:
        views: (b, c, h, w) in [0, 1]. Images without three channels keep to brightness and contrast.
        factors: (b, 4), see `Draw`.
    """
    each = factors[:, :, None, None, None]
    views = (views * each[:, 0]).clamp(0, 1)
    luma = _luma(views)
    mean = luma.mean((1, 2, 3), keepdim=True)
    views = (mean + (views - mean) * each[:, 1]).clamp(0, 1)
    if views.shape[1] != 3:
        return views
    luma = _luma(views)
    views = luma + (views - luma) * each[:, 2]
    cos, sin = factors[:, 3].cos(), factors[:, 3].sin()
    # Rodrigues' formula about (1, 1, 1) / sqrt(3): a turn of the hue that needs no other colour space.
    same, off = cos + (1 - cos) / 3, (1 - cos) / 3
    up, down = off + sin / math.sqrt(3), off - sin / math.sqrt(3)
    turn = torch.stack([same, down, up, up, same, down, down, up, same], 1).view(-1, 3, 3)
    views = torch.einsum("bij,bjhw->bihw", turn, views).clamp(0, 1)
    return torch.lerp(views, _luma(views).expand_as(views), grey[:, None, None, None])


def blurred(views: Tensor, sigma: Tensor) -> Tensor:
    """Each image under its own Gaussian of `sigma` (b,) pixels, rows and columns apart, edges repeated; 0: as it is."""
    b, c, _, _ = views.shape
    reach = max(1, math.ceil(2 * float(sigma.max())))
    at = torch.arange(-reach, reach + 1, device=views.device, dtype=views.dtype)
    kernel = (-(at**2) / (2 * sigma[:, None].clamp(min=1e-3) ** 2)).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)  # (b c, 2 reach + 1)
    flat = nnf.pad(views, (reach,) * 4, mode="replicate").flatten(0, 1)[None]
    flat = nnf.conv2d(flat, kernel[:, None, :, None], groups=b * c)
    return nnf.conv2d(flat, kernel[:, None, None, :], groups=b * c).view_as(views)


def _luma(views: Tensor) -> Tensor:
    """(b, 1, h, w): brightness of colour images with the usual weights; the mean of other channels."""
    if views.shape[1] != 3:
        return views.mean(1, keepdim=True)
    weights = views.new_tensor([0.299, 0.587, 0.114])
    return torch.einsum("c,bchw->bhw", weights, views)[:, None]
