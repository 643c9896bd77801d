"""Which items come next, and their pixels as tensors."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

RESIDENT = 2 << 30  # bytes: pixels up to this size are kept on the device, larger ones are gathered batch by batch


class Shuffled:
    """An endless stream of items in epochs, each a fresh permutation; sets smaller than a batch are tiled this way.

    `order`, `position` and the generator's state are all that is needed to go on from the same place.
    """

    def __init__(self, items: Tensor, seed: int) -> None:
        self.items = items
        self.generator = torch.Generator().manual_seed(seed)
        self.order = items[:0]
        self.position = 0

    def next(self, count: int) -> Tensor:
        """The next `count` items, int64 (count,)."""
        parts = []
        while count > 0:
            if self.position == len(self.order):
                self.order = self.items[torch.randperm(len(self.items), generator=self.generator)]
                self.position = 0
            part = self.order[self.position : self.position + count]
            self.position += len(part)
            count -= len(part)
            parts.append(part)
        return torch.cat(parts)


def pixel_source(images: np.ndarray, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from item indices (b,) to uint8 images (b, c, h, w) on the device.

    Args:
        images: uint8 (n, h, w) or (n, h, w, c), perhaps memory-mapped.
    """

    def gather(items: Tensor) -> Tensor:
        return as_tensor(images[items.numpy()]).to(device)

    if images.nbytes > RESIDENT:
        return gather
    resident = as_tensor(np.ascontiguousarray(images)).to(device)
    return lambda items: resident[items.to(device)]


def as_tensor(images: np.ndarray) -> Tensor:
    """uint8 (b, h, w[, c]) as a tensor (b, c, h, w)."""
    pixels = torch.from_numpy(np.array(images)) if not images.flags.writeable else torch.from_numpy(images)
    return pixels[:, None] if pixels.ndim == 3 else pixels.movedim(3, 1).contiguous()


def channel_statistics(images: np.ndarray, items: np.ndarray, chunk: int = 4096) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (c,) of the pixels of `items`, in 0..255 units, in float64 over chunks."""
    total = squares = torch.zeros(1, dtype=torch.float64)
    count = 0
    for part in chunks(items, chunk):
        pixels = as_tensor(images[part]).double()
        total = total + pixels.sum((0, 2, 3))
        squares = squares + pixels.square().sum((0, 2, 3))
        count += pixels.numel() // pixels.shape[1]
    mean = total / count
    return mean, (squares / count - mean.square()).clamp_min(0).sqrt()


def chunks(items: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive parts of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
