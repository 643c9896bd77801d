"""What a network is trained on: items as they are, and their weak and strong views."""

import math
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from hume_ssl.train.batches import chunks
from hume_ssl.train.devices import send
from hume_ssl.train.views import apply_strong, apply_weak, draw_strong, draw_weak, rows

Kind = Literal["weak", "strong"]
VALUES = 1 << 22  # pixel values widened at once
RESIDENT = 2 << 30  # bytes: pixels up to this size are kept on the device, larger ones are gathered batch by batch


class Source(Protocol):
    """n items a network can be trained on.

    Attributes:
        n: number of items.
        shape: of one item as the network takes it: (c, h, w) of images, (d,) of vectors.
    """

    n: int
    shape: tuple[int, ...]

    def plain(self, items: Tensor) -> Tensor:
        """Items (b,) as they are, (b, *shape), on the source's device."""
        ...

    def views(
        self, items: Tensor, kinds: tuple[Kind, ...], generator: torch.Generator, part: slice = slice(None)
    ) -> tuple[Tensor, ...]:
        """One tensor (b, *shape) for each kind: a random view of each item.

        What is random is drawn for all `items`; views are made of `items[part]` only, as they would be among all.
        """
        ...

    def statistics(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (c,) or (d,) of `items`, float64."""
        ...


class PixelSource:
    """Images with random views of a named preset.

    Args:
        images: uint8 (n, h, w) or (n, h, w, c), perhaps memory-mapped.
        device: where views are made and come out.
        flip: whether a view may be a mirror image.
        preset: of :mod:`hume_ssl.train.augment_presets`.
    """

    def __init__(self, images: np.ndarray, device: torch.device, *, flip: bool, preset: str) -> None:
        self.images, self.device, self.flip, self.preset = images, device, flip, preset
        self.n = len(images)
        self.shape = (1 if images.ndim == 3 else images.shape[3], *images.shape[1:3])
        fits = images.nbytes <= RESIDENT
        self._resident = as_tensor(np.ascontiguousarray(images)).to(device) if fits else None

    def plain(self, items: Tensor) -> Tensor:
        """uint8 (b, c, h, w)."""
        if self._resident is not None:
            return self._resident[send(items, self.device)]
        return send(as_tensor(self.images[items.numpy()]), self.device)

    def views(
        self, items: Tensor, kinds: tuple[Kind, ...], generator: torch.Generator, part: slice = slice(None)
    ) -> tuple[Tensor, ...]:
        """uint8 (b, c, h, w) for each kind; the items are read once."""
        images = self.plain(items[part])
        count, (height, width) = len(items), self.shape[1:]
        made = []
        for kind in kinds:
            if kind == "weak":
                weak = draw_weak(count, height, width, generator, flip=self.flip, preset=self.preset)
                made.append(apply_weak(images, rows(weak, part)))
            else:
                strong = draw_strong(count, height, width, generator, flip=self.flip, preset=self.preset)
                made.append(apply_strong(images, rows(strong, part)))
        return tuple(made)

    def statistics(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Of each channel (c,), in 0..255 units, over chunks: sums of whole numbers, so exact."""
        total = squares = torch.zeros(self.shape[0], dtype=torch.int64)
        for some in chunks(items, max(1, VALUES // math.prod(self.shape))):
            pixels = as_tensor(self.images[some]).int()
            total = total + pixels.sum((0, 2, 3))
            squares = squares + pixels.square().sum((0, 2, 3))
        count = len(items) * math.prod(self.shape[1:])
        mean, squares = total.double() / count, squares.double()
        return mean, (squares / count - mean.square()).clamp_min(0).sqrt()


def as_tensor(images: np.ndarray) -> Tensor:
    """uint8 (b, h, w[, c]) as a tensor (b, c, h, w)."""
    pixels = torch.from_numpy(np.array(images)) if not images.flags.writeable else torch.from_numpy(images)
    return pixels[:, None] if pixels.ndim == 3 else pixels.movedim(3, 1).contiguous()
