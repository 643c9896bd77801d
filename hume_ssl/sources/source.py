"""What every source of images can do: name, open and check image `i` of `n`, in one fixed order."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hume_ssl.images import Encoded, for_each, open_image, read_header, verify_image

if TYPE_CHECKING:
    from PIL import Image

    from hume_ssl.progress import Progress


class Source(ABC):
    """`n` images. A process can be sent one (whatever it has opened stays behind), and threads can share one."""

    kind: ClassVar[str]  # begins what the hash is made from

    @abstractmethod
    def __len__(self) -> int:
        """n."""

    @abstractmethod
    def name(self, i: int) -> str:
        """What messages call image `i`."""

    @abstractmethod
    def entry(self, i: int) -> str:
        """What image `i` is known by, cheaply: two sources with the same entries hold the same images."""

    @abstractmethod
    def image(self, i: int) -> Image.Image:
        """Image `i` upright, mode "L" or "RGB". Raises BrokenImage, naming it, where it cannot be read."""

    @abstractmethod
    def header(self, i: int) -> tuple[int, int, int]:
        """Height and width in pixels once upright, and channels (1 or 3). Raises as `image`."""

    @abstractmethod
    def check(self, i: int, *, decode: bool) -> None:
        """Raise BrokenImage where image `i` cannot be read; `decode` looks at its pixels too."""

    @abstractmethod
    def take(self, rows: NDArray[np.intp]) -> Self:
        """Images `rows` (m,) alone, in that order."""

    def filepaths(self) -> list[str]:
        """(n,) as tables name the images; "" where they are no files."""
        return [""] * len(self)

    def digest(self) -> str:
        """sha256 of all entries."""
        found = hashlib.sha256(self.kind.encode())
        for i in range(len(self)):
            found.update(f"\n{self.entry(i)}".encode("utf-8", "surrogateescape"))
        return found.hexdigest()


class EncodedSource(Source):
    """A source of encoded images: only where their bytes lie is its own."""

    @abstractmethod
    def encoded(self, i: int) -> Encoded:
        """Image `i` as it is stored. Raises BrokenImage where it cannot be got at."""

    def image(self, i: int) -> Image.Image:
        """See `Source.image`."""
        return open_image(self.encoded(i), self.name(i))

    def header(self, i: int) -> tuple[int, int, int]:
        """See `Source.header`; pixels are not decoded."""
        return read_header(self.encoded(i), self.name(i))

    def check(self, i: int, *, decode: bool) -> None:
        """See `Source.check`."""
        verify_image(self.encoded(i), self.name(i), decode=decode)


def read_headers(source: Source, progress: Progress | None = None) -> NDArray[np.int64]:
    """(n, 3): height, width and channels of every image."""
    headers = np.zeros((len(source), 3), dtype=np.int64)

    def read(i: int) -> None:
        headers[i] = source.header(i)

    for_each(read, len(source), progress)
    return headers


def find_broken(source: Source, progress: Progress | None = None) -> dict[int, str]:
    """Which images cannot be read, and why: all are decoded."""
    from hume_ssl.images import BrokenImage

    reasons: dict[int, str] = {}

    def look(i: int) -> None:
        try:
            source.check(i, decode=True)
        except BrokenImage as error:
            reasons[i] = error.reason

    for_each(look, len(source), progress)
    return dict(sorted(reasons.items()))  # threads find them in any order
