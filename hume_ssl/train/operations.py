"""The random operations on a batch, each image with its own; torchvision's functions are what they must equal.

torchvision gives all images of a batch the same operation. Here images are sorted by operation, and each kind is
computed for all that have it: the geometric ones by moving pixels from nearest neighbours, most others by one table of
256 values an image and channel. Positions are equal to torchvision's, values to one grey level of 255 (rounding).
What is computed for an image does not depend on the others of its batch. On a GPU nothing waits for the device.

With one channel colour is the identity, as is equalize below 256 pixels (both as in torchvision and Pillow). Images of
two, four or more channels, which torchvision refuses, keep the operations that need no meaning of colour.
"""

import torch
from torch import Tensor
from torch.nn import functional as nnf
from torchvision.transforms.v2 import functional as tvf

from hume_ssl.train.augment_presets import OPERATIONS
from hume_ssl.train.devices import send


def apply_operation(images: Tensor, op: Tensor, value: Tensor) -> Tensor:
    """Apply to each image its own operation.

    Args:
        images: uint8 (b, c, h, w).
        op: int64 (b,) on the CPU, indices into OPERATIONS.
        value: float64 (b,) on the CPU, in the units of :class:`~hume_ssl.train.augment_presets.Preset`.

    Returns:
        uint8 (b, c, h, w); see the module for how it relates to torchvision's output.
    """
    order = op.argsort(stable=True)
    ends = torch.bincount(op, minlength=len(OPERATIONS)).cumsum(0).tolist()
    begins = [0, *ends[:-1]]
    op, value = op[order], value[order]
    sort = send(torch.stack([order, order.argsort()]), images.device)
    out = images.index_select(0, sort[0])

    def part(first: str, last: str = "") -> slice:
        return slice(begins[OPERATIONS.index(first)], ends[OPERATIONS.index(last or first)])

    one = part("ShearX", "Rotate")
    if one.start < one.stop:
        out[one] = warp(out[one], op[one], value[one])
    for name, change in (("Color", grey_of), ("Sharpness", blurred)):
        one = part(name)
        if one.start < one.stop and not (name == "Color" and images.shape[1] != 3):
            out[one] = blend(out[one], change(out[one]), send(value[one].float(), images.device))
    one = part("Brightness", "AutoContrast")
    if one.start < one.stop:
        values = send(value.float(), images.device)
        tables = []
        for name, table in TABLES.items():
            each = part(name)
            if each.start < each.stop:
                tables.append(table(out[each], values[each][:, None, None]).expand(-1, images.shape[1], -1))
        out[one] = look_up(torch.cat(tables), out[one])
    one = part("Equalize")
    if one.start < one.stop and images.shape[-2] * images.shape[-1] >= 256:
        out[one] = tvf.equalize(out[one])
    return out.index_select(0, sort[1])


def warp(images: Tensor, op: Tensor, value: Tensor) -> Tensor:
    """The geometric operations on uint8 (b, c, h, w): nearest neighbours, outside is black, as in torchvision."""
    h, w = images.shape[-2:]
    size = torch.tensor([w, h])[:, None]
    theta = inverse_affine(op, value, h, w) / (size / 2)
    x_by, y_by, move, size = send(torch.cat([theta, size.expand(len(op), 2, 1)], 2), images.device)[
        ..., None, None
    ].unbind(2)  # (b, 2, 1, 1)
    y = torch.linspace((1 - h) / 2, (h - 1) / 2, h, device=images.device)[:, None]
    x = torch.linspace((1 - w) / 2, (w - 1) / 2, w, device=images.device)
    # products and sums one by one, as in torchvision's grid and its unfolding, so that ties fall on the same side
    grid = (x * x_by + y * y_by).add_(move).add_(1).mul_(size).sub_(1).mul_(0.5).round_()  # (b, 2, h, w)
    column, row = grid.unbind(1)
    framed = nnf.pad(images, (1, 1, 1, 1))  # all that is outside comes from a black frame
    at = row.clamp_(-1, h).mul_(w + 2).add_(column.clamp_(-1, w)).add_(w + 3)  # whole, and far below 2**24
    return move_pixels(framed, at.long())


def inverse_affine(op: Tensor, value: Tensor, h: int, w: int) -> Tensor:
    """Output-to-input maps, float32 (b, 2, 3), in pixel coordinates from the centre, of the geometric operations.

    Shear (degrees) is about the top left corner, rotation (degrees) about the centre, translation is in pixels. Each
    map is cos * identity + size * one of the directions below; cos is 1 but for rotations.
    """
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    directions = torch.tensor(
        [
            [[0, 1, h / 2], [0, 0, 0]],  # ShearX
            [[0, 0, 0], [1, 0, w / 2]],  # ShearY
            [[0, 0, -1], [0, 0, 0]],  # TranslateX
            [[0, 0, 0], [0, 0, -1]],  # TranslateY
            [[0, -1, 0], [1, 0, 0]],  # Rotate
        ],
        dtype=torch.float64,
    )
    angle, turned = torch.deg2rad(value), op == OPERATIONS.index("Rotate")
    size = torch.where(op <= OPERATIONS.index("ShearY"), angle.tan(), torch.where(turned, angle.sin(), value))
    cos = torch.where(turned, angle.cos(), 1.0)
    direction = directions[op - OPERATIONS.index("ShearX")]
    return (cos[:, None, None] * identity + size[:, None, None] * direction).float()


def move_pixels(images: Tensor, at: Tensor) -> Tensor:
    """Pixels from elsewhere: images (b, c, any, any), at int64 (b, h, w), indices into their pixels; (b, c, h, w)."""
    b, c, shape = len(images), images.shape[1], at.shape[1:]
    return images.flatten(2).gather(2, at.flatten(1)[:, None].expand(-1, c, -1)).view(b, c, *shape)


def look_up(tables: Tensor, images: Tensor) -> Tensor:
    """Replace each value of uint8 (b, c, h, w) by that of its table, uint8 (b, c, 256)."""
    return tables.gather(2, images.flatten(2).long()).view_as(images)


def to_grey(values: Tensor) -> Tensor:
    """Cut to 0..255 and drop fractions, as torchvision does."""
    return values.clamp_(0, 255).to(torch.uint8)


def levels(images: Tensor) -> Tensor:
    """All values a pixel can have, float32 (256,)."""
    return torch.arange(256.0, device=images.device)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Table of brightness, (b, 1, 256). In all tables here: images uint8 (b, c, h, w), value float32 (b, 1, 1)."""
    return to_grey(levels(images) * factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Table of contrast, (b, 1, 256): away from or towards the mean grey."""
    grey = grey_of(images) if images.shape[1] == 3 else images
    mean = (grey.flatten(1).sum(1, dtype=torch.float64) / grey[0].numel()).float()  # exact, so the order is no matter
    return to_grey(levels(images) * factor + mean[:, None, None] * (1 - factor))


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Table of posterize, (b, 1, 256): the upper bits only."""
    dropped = 8 - bits.int()
    return (levels(images).int() >> dropped << dropped).to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Table of solarize, (b, 1, 256): greys from the threshold on are inverted."""
    level = levels(images)
    return to_grey(torch.where(level >= threshold, 255 - level, level))


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Table of autocontrast, (b, c, 256): each channel stretched to 0..255; one grey throughout stays."""
    low, high = (end[:, :, None].float() for end in images.flatten(2).aminmax(dim=2))
    flat = low == high
    scale = torch.where(flat, 1.0, (high - low) * (1.0 / 255.0))
    return to_grey((levels(images) - torch.where(flat, 0.0, low)) / scale)


TABLES = {
    "Brightness": brightness,
    "Contrast": contrast,
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": autocontrast,
}


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor * images + (1 - factor) * other, cut to 0..255; factor (b,). Pixels equal in both stay as they are."""
    return to_grey((other - images) * (1 - factor)[:, None, None, None] + images)


def grey_of(images: Tensor) -> Tensor:
    """Whole greys, float32 (b, 1, h, w), of colour images (b, 3, h, w), with torchvision's weights."""
    red, green, blue = images.float().unbind(1)
    return (red * 0.2989 + green * 0.587 + blue * 0.114).floor_()[:, None]


def blurred(images: Tensor) -> Tensor:
    """Pillow's SMOOTH filter, (1 1 1, 1 5 1, 1 1 1) / 13, on the inner pixels; the border stays. Float (b, c, h, w)."""
    out = images.float()
    if images.shape[-2] <= 2 or images.shape[-1] <= 2:
        return out
    across = out[..., :-2] + out[..., 1:-1] + out[..., 2:]
    box = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]
    out[..., 1:-1, 1:-1] = ((box + 4 * out[..., 1:-1, 1:-1]) / 13).round_()
    return out
