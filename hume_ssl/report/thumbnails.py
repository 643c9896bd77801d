"""Small pictures of items as data URIs, within a number of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hume_ssl.images import BrokenImage, for_each

if TYPE_CHECKING:
    from PIL import Image

    from hume_ssl.items import Items
    from hume_ssl.progress import Progress

SIDE = 96  # pixels of the longer side, at most
LOSSLESS = 1024  # values (pixels times channels) up to which an image keeps every one of them
TRIED = 48  # pictures from which the size of all is told beforehand


def thumbnail(image: Image.Image, side: int = SIDE) -> str:
    """An upright "L" or "RGB" image as a data URI, at most `side` pixels a side; small ones keep their pixels."""
    from PIL import Image, features

    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
    kind = "PNG" if image.width * image.height * len(image.getbands()) <= LOSSLESS else "WEBP"
    if kind == "WEBP" and not features.check("webp"):
        kind = "JPEG"
    out = io.BytesIO()
    if kind == "PNG":
        image.save(out, kind, optimize=True)
    else:
        image.save(out, kind, quality=72)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def thumbnails(
    items: Items, rows: Sequence[int], progress: Progress | None = None, *, side: int = SIDE
) -> dict[int, str]:
    """The pictures of items `rows`, by item; those that cannot be read are absent."""
    made: dict[int, str] = {}

    def make(at: int) -> None:
        try:
            made[rows[at]] = thumbnail(items.image(rows[at]), side)
        except BrokenImage:  # it was whole when it was embedded; the page names it instead
            return

    for_each(make, len(rows), progress)
    return made


def fitting(items: Items, rows: Sequence[int], budget: int, *, side: int = SIDE) -> int:
    """How many pictures like those of `rows` fit into `budget` bytes, from the mean size of some of them."""
    some = list(rows)[:: max(1, len(rows) // TRIED)][:TRIED]
    made = thumbnails(items, some, side=side)
    mean = sum(map(len, made.values())) / max(1, len(made))
    return int(budget / max(1.0, mean))
