"""Weak and strong views of a batch: all that is random is drawn first, on the CPU, then applied where the images are.

A draw has one row an image, so parts of a batch can be computed apart (:func:`rows`) with equal results. The presets
and where they come from are in :mod:`hume_ssl.train.augment_presets`.
"""

from functools import lru_cache
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from hume_ssl.errors import InputError
from hume_ssl.train.augment_presets import OPERATIONS, PRESETS, Between, Cutout, padding
from hume_ssl.train.devices import send
from hume_ssl.train.operations import apply_operation, move_pixels


class WeakDraw(NamedTuple):
    """What the weak views of b images are; CPU tensors (b,).

    down, right: int64, the crop's offset in pixels from the image itself. mirrored: bool, after the crop.
    """

    down: Tensor
    right: Tensor
    mirrored: Tensor


class StrongDraw(NamedTuple):
    """What the strong views of b images are; CPU tensors with b rows.

    down, right, mirrored: as in :class:`WeakDraw`. op, value: int64 and float64 (b, operations), indices into
    OPERATIONS and their values in the units of :class:`~hume_ssl.train.augment_presets.Preset`. hole: int64 (b, 4),
    rows [0] to [1] and columns [2] to [3], ends excluded, empty where the ends are equal. colour: uint8 (b, 3).
    """

    down: Tensor
    right: Tensor
    mirrored: Tensor
    op: Tensor
    value: Tensor
    hole: Tensor
    colour: Tensor


Draw = TypeVar("Draw", WeakDraw, StrongDraw)


def rows(draw: Draw, part: slice) -> Draw:
    """The draw of these images only."""
    return type(draw)(*(field[part] for field in draw))


def draw_weak(b: int, height: int, width: int, generator: torch.Generator, *, flip: bool, preset: str) -> WeakDraw:
    """Draw the weak views of `b` images.

    Args:
        height, width: of the images, in pixels.
        generator: a CPU generator, whatever the device of the images, so that a seed means the same everywhere.
        flip: mirror each image with probability 1/2. False where mirror images are other things, such as digits.
        preset: a key of PRESETS; weak views are the same in all of them.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise InputError(f"no augmentation preset {preset!r}; give one of {', '.join(PRESETS)}")
    pad_h, pad_w = padding(height), padding(width)
    down = torch.randint(-pad_h, pad_h + 1, (b,), generator=generator)
    right = torch.randint(-pad_w, pad_w + 1, (b,), generator=generator)
    mirrored = torch.rand(b, generator=generator) < (0.5 if flip else 0.0)
    return WeakDraw(down, right, mirrored)


def draw_strong(b: int, height: int, width: int, generator: torch.Generator, *, flip: bool, preset: str) -> StrongDraw:
    """Draw the strong views of `b` images: a weak view, the preset's operations, cutout; see :func:`draw_weak`."""
    weak = draw_weak(b, height, width, generator, flip=flip, preset=preset)
    chosen = PRESETS[preset]
    shape = (b, chosen.operations)
    op = torch.randint(len(OPERATIONS), shape, generator=generator)
    if chosen.chance < 1:
        op = op * (torch.rand(shape, generator=generator) < chosen.chance)  # 0 is the identity
    value = values_at(preset, height, width, op, torch.rand(shape, generator=generator, dtype=torch.float64))
    hole = torch.zeros(b, 4, dtype=torch.int64)
    colour = torch.zeros(b, 3, dtype=torch.uint8)
    if chosen.cutout:
        hole = draw_hole(b, height, width, generator, chosen.cutout)
        colour = torch.tensor(chosen.cutout.colour, dtype=torch.uint8).repeat(b, 1)
    return StrongDraw(*weak, op, value, hole, colour)


def values_at(preset: str, height: int, width: int, op: Tensor, share: Tensor) -> Tensor:
    """The values of operations `op` at quantiles `share` in [0, 1) of their laws; float64 of the same shape."""
    start, length, count = cells(preset, height, width)
    place = share * count[op]
    cell = place.floor()
    value = start[op, cell.long()] + (place - cell) * length[op]
    whole = (op == OPERATIONS.index("TranslateX")) | (op == OPERATIONS.index("TranslateY"))
    return torch.where(whole, value.round(), value)


@lru_cache(maxsize=32)
def cells(preset: str, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The laws of all values as equally likely cells: start (14, most), their length (14,) and number (14,)."""
    values = PRESETS[preset].values(height, width)
    laws = [values.get(name, (0.0,)) for name in OPERATIONS]
    starts = [(law.low,) if isinstance(law, Between) else law for law in laws]
    start = torch.zeros(len(OPERATIONS), max(map(len, starts)), dtype=torch.float64)
    for row, one in zip(start, starts, strict=True):
        row[: len(one)] = torch.tensor(one, dtype=torch.float64)
    length = [law.high - law.low if isinstance(law, Between) else 0.0 for law in laws]
    return start, torch.tensor(length, dtype=torch.float64), torch.tensor([len(one) for one in starts])


def draw_hole(b: int, height: int, width: int, generator: torch.Generator, cutout: Cutout) -> Tensor:
    """Where the holes of `b` images are: int64 (b, 4), rows from and to, columns from and to, within the image."""
    if not cutout.inside:  # whole pixels throughout
        tall, wide = int(cutout.high * height), int(cutout.high * width)
        top = torch.randint(height, (b,), generator=generator) - tall // 2
        left = torch.randint(width, (b,), generator=generator) - wide // 2
        bottom, right = top + tall, left + wide
    else:
        share, y, x = torch.rand(3, b, generator=generator, dtype=torch.float64)
        side = width * (cutout.low + (cutout.high - cutout.low) * share)
        top, left = ((y * height - side / 2).clamp_min(0).long(), (x * width - side / 2).clamp_min(0).long())
        bottom, right = top + side.long() + 1, left + side.long() + 1
    ends = torch.stack([top, bottom], 1).clamp(0, height), torch.stack([left, right], 1).clamp(0, width)
    return torch.cat(ends, 1)


def apply_weak(images: Tensor, draw: WeakDraw) -> Tensor:
    """The weak views of images uint8 (b, c, h, w), of the same shape and on their device; the draw has b rows."""
    return crop(images, draw.down, draw.right, draw.mirrored)


def apply_strong(images: Tensor, draw: StrongDraw) -> Tensor:
    """The strong views of images uint8 (b, c, h, w), of the same shape and on their device; the draw has b rows."""
    views = crop(images, draw.down, draw.right, draw.mirrored)
    for op, value in zip(draw.op.T, draw.value.T, strict=True):
        views = apply_operation(views, op, value)
    return cut(views, draw.hole, draw.colour)


def crop(images: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Crops of the same size, `down` and `right` of the image (b,), from reflect padding, then mirrored if so (b,)."""
    h, w = images.shape[-2:]
    at_row = reflect(torch.arange(h) + down[:, None], h)  # (b, h)
    at_column = reflect(torch.arange(w) + right[:, None], w)  # (b, w)
    at_column = torch.where(mirrored[:, None], at_column.flip(1), at_column)
    at = send(torch.cat([at_row * w, at_column], 1), images.device)
    return move_pixels(images, at[:, :h, None] + at[:, None, h:])


def reflect(index: Tensor, side: int) -> Tensor:
    """Coordinates outside [0, side) reflected at the border pixels (the border itself is not repeated)."""
    inside = index.abs()
    return torch.where(inside > side - 1, 2 * (side - 1) - inside, inside)


def cut(images: Tensor, hole: Tensor, colour: Tensor) -> Tensor:
    """Fill the holes (b, 4) with colours (b, 3); images without three channels take the middle value."""
    if not bool((hole[:, 1] > hole[:, 0]).any()):
        return images
    h, w = images.shape[-2:]
    row, column = torch.arange(h), torch.arange(w)
    in_row = (row >= hole[:, 0:1]) & (row < hole[:, 1:2])  # (b, h)
    in_column = (column >= hole[:, 2:3]) & (column < hole[:, 3:4])  # (b, w)
    paint = send(colour if images.shape[1] == 3 else colour[:, 1:2], images.device)[:, :, None, None]
    inside = send(torch.cat([in_row, in_column], 1).to(torch.uint8).neg_(), images.device)  # 0 or all bits
    inside = (inside[:, :h, None] & inside[:, None, h:])[:, None]
    return images ^ ((images ^ paint) & inside)  # on a CPU many times faster than torch.where
