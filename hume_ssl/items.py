"""The item table: `n` images in one fixed order, from a folder, a CSV or an array."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.files import sha256_array
from hume_ssl.inputs import open_array, read_table
from hume_ssl.item_columns import load_truth, make_split
from hume_ssl.progress import Progress

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["DIGITS", "Items", "bare_items", "check_images", "load_items", "load_truth", "make_split"]

DIGITS = "digits"
"""Name of the built-in images: scikit-learn's 1,797 handwritten digits."""

_DECODE_ALL_UP_TO = 50_000


@dataclass(frozen=True, eq=False)
class Items:
    """`n` items in order: image files (`root`, `filepaths`), an array of images (`array`), or neither (spaces only).

    Attributes:
        filepaths: (n,) relative to `root` with forward slashes, or as a CSV has them; empty where there are no files.
        root: folder that relative file paths start from; None where there are no files.
        array: (n, h, w) or (n, h, w, c) uint8, c 1 or 3, perhaps memory-mapped; None where there is none.
        hash: sha256 of the list (paths and file sizes in bytes) or of the array (shape and pixels).
    """

    filepaths: list[str]
    root: Path | None
    array: NDArray[np.uint8] | None
    hash: str
    _pixels: dict[tuple[int, int], NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.filepaths)

    @property
    def has_images(self) -> bool:
        return self.array is not None or self.root is not None

    @property
    def paths(self) -> list[Path]:
        """(n,) files to open; raises InputError where the items are not files."""
        if self.root is None:
            raise InputError("these items have no image files; give them with --images")
        return [self.root / name for name in self.filepaths]

    def image(self, i: int) -> Image.Image:
        """Item `i` upright, mode "L" or "RGB"."""
        from PIL import Image

        from hume_ssl.images import open_image

        if self.array is None:
            return open_image(self._root() / self.filepaths[i])
        pixels = np.asarray(self.array[i])
        return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels))

    @cached_property
    def headers(self) -> NDArray[np.int64]:
        """(n, 3): height, width (pixels) and channels (1 or 3) of every item; files are read once, headers only."""
        from hume_ssl.images import read_headers

        if self.array is None:
            return read_headers(self.paths)
        height, width, *channels = self.array.shape[1:]
        return np.tile(np.array([height, width, *(channels or [1])], dtype=np.int64), (len(self), 1))

    @cached_property
    def common_size(self) -> tuple[int, int]:
        """(height, width) that most items have; of equally frequent sizes the one that comes first."""
        (size, _), *_ = Counter(map(tuple, self.headers[:, :2].tolist())).most_common(1)
        return int(size[0]), int(size[1])

    @cached_property
    def channels(self) -> int:
        """3 if any item has colour, else 1."""
        return int(self.headers[:, 2].max())

    def pixels(
        self,
        size: int | tuple[int, int] | None = None,
        *,
        limit_bytes: int = 4 << 30,
        progress: Progress | None = None,
    ) -> NDArray[np.uint8]:
        """(n, h, w) uint8 for grey items, (n, h, w, 3) where any has colour: all items at one size.

        Args:
            size: pixels a side, or (height, width); None: the size most items have. Others are resized to it,
                bilinear with antialiasing, without keeping their proportions.
            limit_bytes: refuse to make an array larger than this.
            progress: advanced by one an item decoded.

        The last array made is kept, so the spaces and the training of one run decode once. Do not write to it.

        Raises:
            InputError: there are no images, one cannot be read, or the array would exceed `limit_bytes`.
        """
        height, width = self.common_size if size is None else (size, size) if isinstance(size, int) else size
        shape = (len(self), height, width) + ((3,) if self.channels == 3 else ())
        if self.array is not None and self.array.shape[1:3] == (height, width):
            return self.array.reshape(shape)
        needed = int(np.prod(shape, dtype=np.int64))
        if needed > limit_bytes:
            raise InputError(
                f"{len(self)} images at {height} x {width} pixels need {needed / 2**30:.1f} GiB of memory, "
                f"more than the {limit_bytes / 2**30:.1f} GiB allowed; give a smaller size"
            )
        if (height, width) not in self._pixels:
            decoded = self._decode(np.empty(shape, dtype=np.uint8), progress)
            self._pixels.clear()
            self._pixels[height, width] = decoded
        return self._pixels[height, width]

    def _decode(self, out: NDArray[np.uint8], progress: Progress | None) -> NDArray[np.uint8]:
        from hume_ssl.images import for_each, to_pixels

        def decode(i: int) -> None:
            out[i] = to_pixels(self.image(i), out.shape[1], out.shape[2], self.channels)

        for_each(decode, len(self), progress)
        return out

    def _root(self) -> Path:
        if self.root is None:
            raise InputError("these items have no images; give them with --images")
        return self.root


def load_items(images: str | Path | NDArray[Any]) -> Items:
    """The item table of `images`.

    Args:
        images: "digits" (scikit-learn's digits in `load_digits()` order, 8 x 8, scaled to 0..255); a folder (read
            recursively, sorted by relative path; names starting with a dot are skipped; folder names are never
            labels); a CSV with a column `filepath` (relative to the CSV's folder, row order kept); a .npy file or an
            array, (n, h, w) or (n, h, w, c) uint8.

    Raises:
        InputError: nothing there, no image in the folder, a listed file missing, a wrong array.
    """
    if isinstance(images, np.ndarray):
        return _from_array(images, "the images array")
    path = Path(images).expanduser()
    if str(images) == DIGITS:
        if path.is_dir() and _find_images(path):
            raise InputError("'digits' names the built-in images, and a folder of images here: write ./digits for it")
        return _from_array(_digits(), "digits")
    if path.is_dir():
        names = _find_images(path)
        if not names:
            from hume_ssl.images import SUFFIXES

            raise InputError(f"no image in the folder {images}; it looks for {' '.join(sorted(SUFFIXES))}")
        return _from_files(path, names)
    if not path.exists():
        raise InputError(
            f"there is no {images}; give a folder of images, a CSV with a column filepath, or a .npy array"
        )
    if path.suffix.lower() == ".csv":
        names = read_table(path, ("filepath",))["filepath"].tolist()
        if not names:
            raise InputError(f"{images} lists no image; give at least one row below the header")
        if "" in names:
            raise InputError(f"{images}: row {names.index('') + 1} has no filepath")
        return _from_files(path.parent, names)
    if path.suffix.lower() == ".npy":
        return _from_array(open_array(path), str(images))
    raise InputError(f"{images} is neither a folder, a .csv nor a .npy file")


def bare_items(n: int) -> Items:
    """`n` items without images, for runs that start from spaces."""
    return Items([""] * n, None, None, hashlib.sha256(f"bare {n}".encode()).hexdigest())


def check_images(items: Items, *, decode: bool | None = None, progress: Progress | None = None) -> None:
    """Open every image file, so that a bad one is found before anything is written.

    Args:
        decode: also read the pixels, which finds files cut short; None: for up to 50,000 files. Beyond that only
            headers are checked here, and embedding names a file it cannot decode.

    Raises:
        InputError: naming the first file that cannot be read.
    """
    from hume_ssl.images import for_each, verify_image

    if items.root is None:
        return
    paths = items.paths
    full = len(paths) <= _DECODE_ALL_UP_TO if decode is None else decode
    for_each(lambda i: verify_image(paths[i], decode=full), len(paths), progress)


def _digits() -> NDArray[np.uint8]:
    from sklearn.datasets import load_digits

    images: NDArray[np.float64] = load_digits().images
    return np.rint(images * (255 / 16)).astype(np.uint8)


def _find_images(folder: Path) -> list[str]:
    """Relative paths with forward slashes, sorted as text. Links to folders are followed, each real folder once."""
    from hume_ssl.images import SUFFIXES

    names: list[str] = []
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                names.append(Path(here, name).relative_to(folder).as_posix())
    return sorted(names)


def _from_files(root: Path, names: list[str]) -> Items:
    digest = hashlib.sha256(b"files")
    for name in names:
        path = root / name
        if not path.is_file():
            raise InputError(f"the image {path} does not exist; check the list")
        digest.update(f"\n{name}\t{path.stat().st_size}".encode("utf-8", "surrogateescape"))
    return Items(list(names), root, None, digest.hexdigest())


def _from_array(array: NDArray[Any], name: str) -> Items:
    shape = array.shape
    if array.dtype != np.uint8:
        raise InputError(f"{name} is {array.dtype}; images must be uint8, 0..255")
    if array.ndim == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        raise InputError(f"{name} has shape {shape}: channels must come last, (n, h, w, c); use transpose(0, 2, 3, 1)")
    if array.ndim not in (3, 4) or (array.ndim == 4 and shape[3] not in (1, 3)):
        raise InputError(f"{name} has shape {shape}; images must be (n, h, w) or (n, h, w, c) with c 1 or 3")
    if 0 in shape:
        raise InputError(f"{name} has shape {shape}, so there is no image in it")
    return Items([""] * len(array), None, array, sha256_array(array))
