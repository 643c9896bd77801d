"""torchvision's data sets by name: `torchvision:CIFAR10`, or `torchvision:CIFAR10?split=test`."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.images import naming, open_image, upright
from hume_ssl.sources.arrays import from_array
from hume_ssl.sources.source import Source

if TYPE_CHECKING:
    from PIL import Image

PREFIX = "torchvision:"
ROOT = "data"  # the folder where none is given

# Those that have one image an item. Left out: FakeData, videos, pairs, flow, boxes and masks; and LSUN, which unpickles
# a file that anybody may have put beside it. (CIFAR unpickles too, but only after torchvision has compared the md5 of
# each file with that of the published one; torch.load, where the others use it, is told to load weights only.)
NAMES = (
    *("CIFAR10", "CIFAR100", "CLEVRClassification", "Caltech101", "Caltech256", "CelebA", "Country211", "DTD"),
    *("EMNIST", "EuroSAT", "FER2013", "FGVCAircraft", "FashionMNIST", "Flowers102", "Food101", "GTSRB", "INaturalist"),
    *("ImageNet", "Imagenette", "KMNIST", "LFWPeople", "MNIST", "Omniglot", "OxfordIIITPet", "PCAM", "Places365"),
    *("QMNIST", "RenderedSST2", "SEMEION", "STL10", "SUN397", "SVHN", "StanfordCars", "USPS", "VOCDetection"),
)

_SPLITS = ("split", "image_set", "version")  # what the argument that names a split is called, beside `train`
_SAMPLE = 16  # images whose pixels tell one data set from another of the same name and length


@dataclass(frozen=True, eq=False)
class TorchvisionSource(Source):
    """The images of a data set that keeps them as files, or in a form of its own; labels are not looked at.

    Attributes:
        data_set: name, as in `torchvision.datasets`.
        root: torchvision's folder.
        split: as the data set calls it; None: what it takes for one where none is named.
        rows: (n,) of its items.
    """

    data_set: str
    root: Path
    split: str | None
    rows: NDArray[np.intp]

    kind = "torchvision"

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, i: int) -> str:
        """Data set and row."""
        return f"{self.rows[i]} of {_text(self.data_set, self.split)}"

    def entry(self, i: int) -> str:
        """Data set and row."""
        return self.name(i)

    def image(self, i: int) -> Image.Image:
        """See `Source.image`."""
        with naming(self.name(i)):
            image = self._open[int(self.rows[i])][0]
            image.load()
            return upright(image)

    def header(self, i: int) -> tuple[int, int, int]:
        """See `Source.header`; the image is decoded, as torchvision gives it no other way."""
        image = self.image(i)
        return image.height, image.width, 1 if image.mode == "L" else 3

    def check(self, i: int, *, decode: bool) -> None:
        """See `Source.check`; it is always decoded."""
        self.image(i)

    def take(self, rows: NDArray[np.intp]) -> TorchvisionSource:
        """See `Source.take`."""
        return replace(self, rows=self.rows[rows])

    def digest(self) -> str:
        """sha256 of the entries, and of some images evenly spread: torchvision gives a name to data, and no hash."""
        found = hashlib.sha256(super().digest().encode())
        for i in np.linspace(0, len(self) - 1, min(_SAMPLE, len(self))).round().astype(int):
            with contextlib.suppress(InputError):  # a broken one is found, and named, when images are checked
                image = self.image(int(i))
                found.update(f"{image.mode} {image.size}".encode() + image.tobytes())
        return found.hexdigest()

    @cached_property
    def _open(self) -> Any:
        return _construct(self.data_set, self.root, self.split, download=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open data set: another process opens its own."""
        return {key: value for key, value in self.__dict__.items() if key != "_open"}


def is_torchvision(images: str) -> bool:
    """Whether `--images` names a data set of torchvision."""
    return images.startswith(PREFIX)


def from_torchvision(text: str, root: str | Path | None = None, *, download: bool = False) -> Source:
    """The images of `torchvision:NAME[?split=SPLIT]`: an array where the data set holds one, else item by item.

    Args:
        text: the split is given to whatever the data set calls it: `split`, `train`, `image_set` or `version`. Without
            one it is the data set's own choice, for most "train".
        root: folder that torchvision keeps it in; None: `data`.
        download: fetch it into `root` if it is not there.

    Raises InputError for an unknown name (the nearest is offered) or split, and where the data are not there.
    """
    name, split = _parse(text)
    folder = Path(ROOT if root is None else root).expanduser()
    opened = _construct(name, folder, split, download=download)
    array = _as_array(opened)
    if array is not None:
        return from_array(array, _text(name, split))
    source = TorchvisionSource(name, folder, split, np.arange(len(opened)))
    source.__dict__["_open"] = opened  # where `cached_property` looks: it is not opened twice
    return source


def _as_array(opened: Any) -> NDArray[np.uint8] | None:
    """(n, h, w) or (n, h, w, 3) uint8 of a data set that has one in memory; None of others."""
    data = getattr(opened, "data", None)
    if not hasattr(data, "dtype"):
        return None
    array = np.asarray(data)
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        return None
    if array.ndim == 4 and array.shape[1] == 3:  # STL10 and SVHN have channels first
        array = array.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(array)


def _construct(name: str, root: Path, split: str | None, *, download: bool) -> Any:
    """The data set. Raises InputError, with the fix, for whatever torchvision raises."""
    from torchvision import datasets

    made, text = getattr(datasets, name), _text(name, split)
    takes = _arguments(made)
    given: dict[str, Any] = _split_argument(text, takes, split)
    if "loader" in takes:
        given["loader"] = open_image  # torchvision's own leaves images lying on their side
    if "download" in takes:
        given["download"] = download  # said in any case, as SEMEION downloads by default
    elif download:
        raise InputError(f"torchvision cannot download {name}: fetch it by hand, and give its folder with --root")
    if not download and not root.is_dir():
        raise InputError(_absent(text, root, "there is no such folder", "download" in takes))
    before = set(root.iterdir()) if root.is_dir() else set()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            return made(str(root), **given)
    except Exception as error:  # RuntimeError, OSError, URLError, KeyError ...: each data set has its own way
        for folder in set(root.iterdir()) - before if root.is_dir() else set():
            with contextlib.suppress(OSError):  # not empty, or no folder
                folder.rmdir()  # some make one before they look
        reason = str(error).partition("You can ")[0].strip(" .") or type(error).__name__
        if split is not None and isinstance(error, ValueError):
            raise InputError(f"{text} has no such split: {reason}") from error
        if download:
            raise InputError(f"cannot download {text} to {root}: {reason}; try again, or give --root") from error
        raise InputError(_absent(text, root, reason, "download" in takes)) from error


def _absent(text: str, root: Path, reason: str, downloadable: bool) -> str:
    fetched = "or --download to fetch it" if downloadable else "as torchvision cannot download it"
    return f"{text} is not in {root} ({reason}): give the folder it is in with --root, {fetched}"


def _split_argument(text: str, takes: dict[str, Any], split: str | None) -> dict[str, Any]:
    """The arguments that choose `split`. Raises InputError where there is none, or one is needed."""
    key = next((key for key in _SPLITS if key in takes), None)
    if split is None:
        if key is not None and takes[key] is inspect.Parameter.empty:
            raise InputError(f"{text} needs a split: write {text}?split=SPLIT")
        return {}
    if key is not None:
        return {key: split}
    if "train" not in takes:
        raise InputError(f"{text}: this data set has no splits; write it without ?split=")
    if split not in ("train", "test"):
        raise InputError(f"{text} has no such split: write ?split=train or ?split=test")
    return {"train": split == "train"}


def _arguments(made: type) -> dict[str, Any]:
    """What the class can be made with, and the defaults; where it hands `**kwargs` on, those of its base as well."""
    found: dict[str, Any] = {}
    for cls in made.__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(cls).parameters
        found = {key: one.default for key, one in parameters.items()} | found
        if all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
            break
    return found


def _parse(text: str) -> tuple[str, str | None]:
    name, question, query = text.removeprefix(PREFIX).partition("?")
    key, _, split = query.partition("=")
    if question and (key != "split" or not split):
        raise InputError(f"{text}: of {'?' + query!r} nothing is known; write {PREFIX}{name}?split=test")
    if name not in NAMES:
        from hume_ssl.config import nearest

        raise InputError(
            f"{name!r} is no data set of torchvision that has one image an item: {nearest(name, list(NAMES))}"
        )
    return name, split or None


def _text(name: str, split: str | None) -> str:
    return f"{PREFIX}{name}" + (f"?split={split}" if split else "")
