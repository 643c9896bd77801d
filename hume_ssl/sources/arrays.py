"""Images in an array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.files import sha256_array
from hume_ssl.sources.source import Source

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, eq=False)
class ArraySource(Source):
    """`array`: (n, h, w) or (n, h, w, c) uint8, c 1 or 3, perhaps memory-mapped. Its images are never broken."""

    array: NDArray[np.uint8]

    kind = "array"

    def __len__(self) -> int:
        return len(self.array)

    def name(self, i: int) -> str:
        """Its row."""
        return f"row {i}"

    def entry(self, i: int) -> str:
        """Not what the hash is made from: see `digest`."""
        return sha256_array(self.array[i])

    def image(self, i: int) -> Image.Image:
        """See `Source.image`."""
        from PIL import Image

        pixels = np.asarray(self.array[i])
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))

    def header(self, i: int) -> tuple[int, int, int]:
        """The same for every image."""
        height, width, *channels = self.array.shape[1:]
        return height, width, *(channels or [1])

    def check(self, i: int, *, decode: bool) -> None:
        """Nothing to find."""

    def take(self, rows: NDArray[np.intp]) -> ArraySource:
        """See `Source.take`."""
        return ArraySource(self.array[rows])

    def digest(self) -> str:
        """sha256 of shape and pixels."""
        return sha256_array(self.array)


def from_array(array: NDArray[Any], name: str) -> ArraySource:
    """The images of an array that messages call `name`. Raises InputError unless it is as `ArraySource` has it."""
    shape = array.shape
    if array.dtype != np.uint8:
        raise InputError(f"{name} is {array.dtype}; images must be uint8, 0..255")
    if array.ndim == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        raise InputError(f"{name} has shape {shape}: channels must come last, (n, h, w, c); use transpose(0, 2, 3, 1)")
    if array.ndim not in (3, 4) or (array.ndim == 4 and shape[3] not in (1, 3)):
        raise InputError(f"{name} has shape {shape}; images must be (n, h, w) or (n, h, w, c) with c 1 or 3")
    if 0 in shape:
        raise InputError(f"{name} has shape {shape}, so there is no image in it")
    return ArraySource(array)


def digits() -> ArraySource:
    """scikit-learn's 1,797 handwritten digits in `load_digits()` order, 8 x 8, scaled to 0..255."""
    from sklearn.datasets import load_digits

    images: NDArray[np.float64] = load_digits().images
    return ArraySource(np.rint(images * (255 / 16)).astype(np.uint8))
