"""One encoded image: open it, read its header, decode it to pixels. Every failure names the image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile

from hume_ssl.errors import InputError
from hume_ssl.progress import Progress

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

Encoded = str | Path | BinaryIO
"""An image as it is stored: a file's path, or an open binary file."""

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})
_CHUNK = 256


class BrokenImage(InputError):
    """An image that cannot be read; `reason` says why, without its name."""

    reason: str

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"cannot read the image {name}: {reason}; repair it or leave it out")
        self.reason = " ".join(reason.split())


def open_image(file: Encoded, name: str | None = None) -> Image.Image:
    """Decode one image, upright by its EXIF tag, as mode "L" (grey) or "RGB" with 8 bits a channel.

    Transparency is dropped, as torchvision's folder loader does. Of an animation, or a file of several pages, the first
    is taken.

    Args:
        file: the path, or the bytes as an open file.
        name: what messages call it; None: its path.

    Raises:
        BrokenImage: the file is missing, no image, broken, cut short, large enough to be a decompression bomb, or holds
            fractions, of which nobody knows what is white.
    """
    with naming(file, name), Image.open(file) as image:
        image.load()
        return upright(image)


def upright(image: Image.Image) -> Image.Image:
    """A decoded image turned as its EXIF tag says, as `as_grey_or_rgb` makes it."""
    turn = _TURNS.get(_orientation(image))
    if turn is not None:  # not by Pillow's exif_transpose, which writes the block anew, and fails at odd tags in it
        image = image.transpose(turn)
        image.info = {key: value for key, value in image.info.items() if key == "transparency"}  # is turned only once
    return as_grey_or_rgb(image)


def read_header(file: Encoded, name: str | None = None) -> tuple[int, int, int]:
    """Height and width in pixels once upright, and channels (1 grey, 3 colour), without decoding where possible."""
    with naming(file, name), Image.open(file) as image:
        width, height = image.size
        if isinstance(image, TiffImageFile):  # by Pillow's version its size is as stored, or already upright
            width, height = image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
        return height, width, 1 if _is_grey(image) else 3


def verify_image(file: Encoded, name: str | None = None, *, decode: bool) -> None:
    """Raise BrokenImage where it is no sound image; `decode` reads its pixels too, which finds one cut short."""
    with naming(file, name), Image.open(file) as image:
        _refuse_fractions(image)
        if decode:
            # The coarsest scale a JPEG offers: as good at finding a cut-off file, and several times faster.
            image.draft("L", (1, 1))
            image.load()
        else:
            image.verify()


def as_grey_or_rgb(image: Image.Image) -> Image.Image:
    """Mode "L" for every grey mode and "RGB" for every other; 16-bit grey is scaled down, not clipped."""
    if image.mode in ("L", "RGB"):
        return image
    _refuse_fractions(image)
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray((wide >> 8).astype(np.uint8))
    if image.mode in ("P", "PA"):
        # Straight to RGB, Pillow warns about palettes with transparency.
        image = image.convert("RGBA")
    return image.convert("L" if _is_grey(image) else "RGB")


def to_pixels(image: Image.Image, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """(height, width) or (height, width, 3) uint8; bilinear with antialiasing where the size differs."""
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def for_each(function: Callable[[int], object], n: int, progress: Progress | None = None) -> None:
    """Call function(0) ... function(n - 1) in a pool of threads (Pillow decodes outside Python's lock).

    The error raised is that of the lowest index of its chunk, so a folder with two bad files always names the same one.
    """
    with ThreadPoolExecutor(max_workers=min(16, available_cores())) as pool:
        # In chunks: a million tasks waiting at once would take more memory than the pixels.
        for start in range(0, n, _CHUNK):
            stop = min(start + _CHUNK, n)
            for _ in pool.map(function, range(start, stop)):
                pass
            if progress is not None:
                progress.advance(stop - start)


def available_cores() -> int:
    """CPU cores this process may use (a container or a batch queue may give fewer than the machine has)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_grey(image: Image.Image) -> bool:
    return image.mode in _GREY_MODES or image.mode.startswith("I;")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where the tag is absent or broken, for then the pixels are all there is to go by."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken EXIF block raises struct.error, SyntaxError, KeyError ... by what is broken in it
        return 1


def _refuse_fractions(image: Image.Image) -> None:
    """Pillow would cut them to 0..255, and an image of 0..1 would be black."""
    if image.mode.startswith("F"):
        raise ValueError("its pixels are fractions, of an unknown range; save it with 8 or 16 bits a channel")


@contextmanager
def naming(file: Encoded, name: str | None = None) -> Iterator[None]:
    """Turn whatever Pillow raises on a bad image into a BrokenImage that names it."""
    name = str(file) if name is None else name
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise BrokenImage(name, "there is no such file") from None
    except UnidentifiedImageError as error:  # whose words have a path or an address in them
        raise BrokenImage(name, "it is in none of the formats of images") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error ...
        reason = error.strerror if isinstance(error, OSError) else None  # a system's own words, without the path
        raise BrokenImage(name, reason or str(error) or type(error).__name__) from error
