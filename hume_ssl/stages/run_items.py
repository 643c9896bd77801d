"""The items of a run, as the user names them: loaded, looked at, and without the images that cannot be read."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hume_ssl.broken import Broken, skip_broken
from hume_ssl.errors import InputError
from hume_ssl.images import BrokenImage
from hume_ssl.items import DIGITS, Items, bare_items, check_images, load_items
from hume_ssl.progress import track
from hume_ssl.schema import ImagesConfig
from hume_ssl.sources.torchvision_sets import ROOT, is_torchvision

MANY = 5000  # images: of fewer, looking at all takes no time worth a line


def absolute_paths(data: ImagesConfig) -> dict[str, object]:
    """The recipe keys of the images with absolute paths, so that a copy of the recipe works from anywhere."""
    sets: dict[str, object] = {}
    if data.images is not None and is_torchvision(data.images):
        sets["data.root"] = full_path(data.root or ROOT)
    elif data.images is not None and data.images != DIGITS:
        sets["data.images"] = full_path(data.images)
    if isinstance(data.split, str):
        sets["data.split"] = full_path(data.split)
    return sets


def same_items(data: ImagesConfig) -> str:
    """The flags of another command, to paste behind --images, that take the same items and the same split."""
    words = ["--root", data.root] if data.root is not None else []
    words += ["--skip-broken"] if data.skip_broken else []
    words += ["--split", str(data.split)] if data.split is not None else []
    words += ["--set", f"data.split_seed={data.split_seed}"] if data.split_seed else []
    return f" {shlex.join(words)}" if words else ""


def full_path(path: str) -> str:
    """The absolute path of a file or folder; links stay."""
    return str(Path(path).expanduser().absolute())


def run_items(
    data: ImagesConfig, given: Mapping[str, NDArray[Any] | None], *, show: bool = False
) -> tuple[Items, list[Broken]]:
    """The items, and the images left out of them.

    Args:
        data: what the user says of the images.
        given: spaces (n, d) by the files they come from; without images there are as many items as rows.
        show: progress on stderr, where there are many images to look at.

    Raises InputError where there are none, or where left-out images would shift the rows of what is given.
    """
    if data.images is None:
        if data.root is not None or data.download:
            raise InputError("--root and --download are for --images torchvision:NAME: give that, or leave them out")
        return bare_items(next(len(array) for array in given.values() if array is not None)), []
    items = load_items(data.images, root=data.root, download=data.download)
    if not data.skip_broken:
        return items, []
    with track(len(items), "looking for broken images", show=show and len(items) >= MANY) as progress:
        items, broken = skip_broken(items, progress)
    by_row = list(given)
    if isinstance(data.split, str) and data.split.lower().endswith(".npy"):
        by_row.append(data.split)
    if broken and by_row:  # were they made of all images, or without the broken ones, or without others?
        raise InputError(
            f"{by_row[0]} goes by rows, and {len(broken)} images that cannot be read are left out (the first, "
            f"{broken[0].filepath}): take those images out of {data.images}, and their rows out of it"
        )
    return items, broken


def look_at_images(items: Items, data: ImagesConfig, *, show: bool = False) -> None:
    """Raise InputError for the first image that cannot be read, unless those are left out; `show` as above."""
    if data.skip_broken:
        return  # all have been decoded
    with offering_to_skip(), track(len(items), "checking images", show=show and len(items) >= MANY) as progress:
        check_images(items, progress=progress)


@contextmanager
def offering_to_skip() -> Iterator[None]:
    """Have the message of a broken image in the block say that it can be left out."""
    try:
        yield
    except BrokenImage as error:
        raise InputError(f"{error} (--skip-broken does)") from error
