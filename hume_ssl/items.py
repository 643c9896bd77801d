"""The item table: `n` images in one fixed order, from wherever images come from (`hume_ssl.sources`)."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.harmless import as_path
from hume_ssl.inputs import open_array
from hume_ssl.item_columns import load_truth, make_split
from hume_ssl.progress import Progress
from hume_ssl.sources.arrays import ArraySource, digits, from_array
from hume_ssl.sources.image_files import FileSource, find_images, from_folder, from_list
from hume_ssl.sources.torchvision_sets import from_torchvision, is_torchvision

if TYPE_CHECKING:
    from PIL import Image

    from hume_ssl.sources.source import Source

__all__ = ["DIGITS", "Items", "bare_items", "check_images", "load_items", "load_truth", "make_split"]

DIGITS = "digits"
"""Name of the built-in images: scikit-learn's 1,797 handwritten digits."""

KINDS = (
    "a folder of images, a CSV with a column filepath, a .npy array, a .zip or .tar of images, torchvision:NAME, or a "
    "saved Hugging Face data set"
)

_DECODE_ALL_UP_TO = 50_000


@dataclass(frozen=True, eq=False)
class Items:
    """`n` items in order, with their images, or without any (spaces only).

    Attributes:
        filepaths: (n,) relative to `root` with forward slashes, or as a CSV or an archive has them, with "./" before
            what a spreadsheet would run; empty where there are no files.
        source: opens the images; None where there are none.
        hash: sha256 of what the images are known by: of files names and sizes in bytes, of an array shape and pixels.
    """

    filepaths: list[str]
    source: Source | None
    hash: str
    _pixels: dict[tuple[int, int], NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.filepaths)

    @property
    def has_images(self) -> bool:
        return self.source is not None

    @property
    def array(self) -> NDArray[np.uint8] | None:
        """(n, h, w) or (n, h, w, c) uint8, c 1 or 3, perhaps memory-mapped; None where the images are in no array."""
        return self.source.array if isinstance(self.source, ArraySource) else None

    @property
    def root(self) -> Path | None:
        """Folder that relative file paths start from; None where the images are no files of their own."""
        return self.source.root if isinstance(self.source, FileSource) else None

    @property
    def images(self) -> Source:
        """What opens the images. Raises InputError where there are none."""
        if self.source is None:
            raise InputError("these items have no images; give them with --images")
        return self.source

    @property
    def paths(self) -> list[Path]:
        """(n,) files to open. Raises InputError where the images are no files of their own."""
        if not isinstance(self.source, FileSource):
            raise InputError("these items have no image files; give them with --images")
        return [self.source.path(i) for i in range(len(self))]

    def image(self, i: int) -> Image.Image:
        """Item `i` upright, mode "L" or "RGB"."""
        return self.images.image(i)

    def take(self, rows: NDArray[np.intp]) -> Items:
        """Items `rows` (m,) alone, in that order. Raises InputError where there are no images."""
        return _items(self.images.take(rows))

    @cached_property
    def headers(self) -> NDArray[np.int64]:
        """(n, 3): height, width (pixels) and channels (1 or 3) of every item; each is looked at once, headers only."""
        from hume_ssl.sources.source import read_headers

        if self.array is None:
            return read_headers(self.images)
        return np.tile(np.array(self.images.header(0), dtype=np.int64), (len(self), 1))

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


def load_items(images: str | Path | NDArray[Any], *, root: str | Path | None = None, download: bool = False) -> Items:
    """The item table of `images`.

    Args:
        images: "digits" (scikit-learn's digits in `load_digits()` order, 8 x 8, scaled to 0..255); a folder (read
            recursively, sorted by relative path; names starting with a dot are skipped; folder names are never
            labels); a CSV with a column `filepath` (relative to the CSV's folder, row order kept); a .npy file or an
            array, (n, h, w) or (n, h, w, c) uint8; a .zip or an uncompressed .tar, read in place as the folder it would
            unpack to; "torchvision:NAME[?split=SPLIT]"; a folder that `save_to_disk` of Hugging Face's datasets made,
            with "?split=SPLIT" behind it where it holds several.
        root: folder of torchvision's data sets; None: `data`.
        download: fetch a torchvision data set that is not there.

    Raises:
        InputError: nothing there, no image in it, a listed file missing, a wrong array, an unknown data set, or `root`
            or `download` for anything but torchvision.
    """
    if isinstance(images, np.ndarray):
        return _items(from_array(images, "the images array"))
    if is_torchvision(str(images)):
        return _items(from_torchvision(str(images), root, download=download))
    if root is not None or download:
        raise InputError(
            f"--root and --download are for torchvision:NAME, and have no part in {images}: leave them out"
        )
    return _items(_from_path(images, Path(images).expanduser()))


def _from_path(images: str | Path, path: Path) -> Source:
    """The source of what `images` says, which as a path is `path`."""
    if str(images) == DIGITS:
        if path.is_dir() and find_images(path):
            raise InputError("'digits' names the built-in images, and a folder of images here: write ./digits for it")
        return digits()
    from hume_ssl.sources.saved_datasets import find_saved, from_saved

    if saved := find_saved(path):
        return from_saved(*saved)
    if path.is_dir():
        return from_folder(path)
    if not path.exists():
        raise InputError(f"there is no {images}; give {KINDS}")
    name = path.name.lower()
    if name.endswith(".csv"):
        return from_list(path)
    if name.endswith(".npy"):
        return from_array(open_array(path), str(images))
    if name.endswith(".zip"):
        from hume_ssl.sources.zip_archive import from_zip

        return from_zip(path)
    from hume_ssl.sources.tar_archive import COMPRESSED, from_tar

    if name.endswith((".tar", *COMPRESSED)):
        return from_tar(path)
    raise InputError(f"{images} holds no images that can be read; give {KINDS}")


def bare_items(n: int) -> Items:
    """`n` items without images, for runs that start from spaces."""
    return Items([""] * n, None, hashlib.sha256(f"bare {n}".encode()).hexdigest())


def check_images(items: Items, *, decode: bool | None = None, progress: Progress | None = None) -> None:
    """Look at every image, so that a bad one is found before anything is written.

    Args:
        decode: also read the pixels, which finds images cut short; None: of up to 50,000 images. Beyond that only
            headers are checked here, and embedding names an image that it cannot decode.

    Raises:
        BrokenImage: naming the first that cannot be read.
    """
    from hume_ssl.images import for_each

    if items.source is None or items.array is not None:
        return
    source, full = items.source, len(items) <= _DECODE_ALL_UP_TO if decode is None else decode
    for_each(lambda i: source.check(i, decode=full), len(source), progress)


def _items(source: Source) -> Items:
    return Items([as_path(path) for path in source.filepaths()], source, source.digest())
