"""What a DataLoader reads: the images of a source, each made into what a network takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hume_ssl.errors import InputError
from hume_ssl.sources.source import Source

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class DecodedImages:
    """The images, or the message of the error. Holds a source and settings only, for a worker process."""

    source: Source
    preprocess: Callable[[Image.Image], Any]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> Any:
        try:
            return self.preprocess(self.source.image(i))
        except InputError as error:
            # As a value: DataLoader would wrap the exception of a worker in its traceback, many lines long.
            return str(error)
