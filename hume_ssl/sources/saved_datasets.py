"""Hugging Face data sets as `save_to_disk` leaves them: `DIR`, or `DIR?split=train` where the folder holds several.

Read with the library `datasets`, an extra. The first column of type Image is read, and no other.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.images import Encoded, naming
from hume_ssl.sources.source import EncodedSource

_ROWS = 1000  # looked at together


@dataclass(frozen=True, eq=False)
class SavedSource(EncodedSource):
    """The image column of a saved data set. A process that is sent it maps the files anew.

    Attributes:
        folder: of the data set, or of its split.
        column: the images' name.
        rows: (n,) of the data set.
        paths: (n,) as the column has them; "" where it has none.
        sizes: (n,) encoded, in bytes.
    """

    folder: Path
    column: str
    rows: NDArray[np.intp]
    paths: list[str]
    sizes: NDArray[np.int64]

    kind = "datasets"

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, i: int) -> str:
        """Folder and row, and the image's own path where there is one."""
        own = f" ({self.paths[i]})" if self.paths[i] else ""
        return f"{self.rows[i]} of {self.folder}{own}"

    def entry(self, i: int) -> str:
        """Row, path and size."""
        return f"{self.rows[i]}\t{self.paths[i]}\t{self.sizes[i]}"

    def encoded(self, i: int) -> Encoded:
        """The image's bytes; where the data set has its path alone, that file, if it is in its folder."""
        with naming(self.name(i)):
            cell = self._table[int(self.rows[i])]
            data = cell[f"{self.column}.bytes"]
            if data is None and not self.paths[i]:
                raise ValueError("the data set has neither bytes nor a path for it")
            return self._inside(self.paths[i]) if data is None else io.BytesIO(data)

    def _inside(self, name: str) -> Path:
        folder = self.folder.resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise ValueError("the data set has only a path for it, which leads out of its folder")
        return path

    def take(self, rows: NDArray[np.intp]) -> SavedSource:
        """See `Source.take`."""
        return replace(self, rows=self.rows[rows], paths=[self.paths[i] for i in rows], sizes=self.sizes[rows])

    def filepaths(self) -> list[str]:
        """The images' own paths; all "" where two have the same, as of images saved from several folders: a table that
        goes by names could not tell them apart."""
        own = [path for path in self.paths if path]
        return list(self.paths) if len(set(own)) == len(own) else [""] * len(self)

    @cached_property
    def _table(self) -> Any:
        return _image_table(self.folder, self.column)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open table."""
        return {key: value for key, value in self.__dict__.items() if key != "_table"}


def find_saved(images: Path) -> tuple[Path, str | None] | None:
    """Folder and split of `DIR[?split=SPLIT]`; None where no data set is saved there."""
    folder, question, split = str(images).partition("?split=")
    for path, chosen in ((images, None), (Path(folder), split)):
        if (path / "dataset_dict.json").is_file() or (
            (path / "dataset_info.json").is_file() and (path / "state.json").is_file()
        ):
            return path, chosen if question else None
    return None


def from_saved(folder: Path, split: str | None = None) -> SavedSource:
    """The images of a saved data set, in its order.

    Raises InputError where `datasets` is not installed, the folder holds several splits and none of them is named, or
    one and another is named, no column holds images, or the files cannot be read.
    """
    folder = _of_split(folder, split)
    column = _image_column(folder)
    table = _image_table(folder, column)
    if not len(table):
        raise InputError(f"{folder} has no rows, so there is no image in it")
    import pyarrow.compute as pc

    paths: list[str] = []
    sizes: list[NDArray[np.int64]] = []
    arrow = table.with_format("arrow")
    for start in range(0, len(table), _ROWS):
        part = arrow[start : start + _ROWS]
        paths += [path or "" for path in part[f"{column}.path"].to_pylist()]
        lengths = pc.fill_null(pc.binary_length(part[f"{column}.bytes"]), 0)
        sizes.append(np.asarray(lengths.to_numpy(), dtype=np.int64))
    source = SavedSource(folder, column, np.arange(len(table)), paths, np.concatenate(sizes))
    source.__dict__["_table"] = table  # where `cached_property` looks: it is not opened twice
    return source


def _of_split(folder: Path, split: str | None) -> Path:
    """The folder of one split."""
    listing = folder / "dataset_dict.json"
    if not listing.is_file():
        if split is not None:
            raise InputError(f"{folder} holds one data set, without splits: give it without ?split={split}")
        return folder
    try:
        splits = [str(name) for name in json.loads(listing.read_text(encoding="utf-8"))["splits"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"cannot read {listing}: {error!r}; save the data set again") from error
    if split not in splits:
        what = "several splits" if split is None else f"no split {split!r}"
        offers = ", ".join(f"{folder}?split={name}" for name in splits)
        raise InputError(f"{folder} holds {what}: give one of {offers}")
    return folder / str(split)


def _image_column(folder: Path) -> str:
    datasets = _library()
    features = _load(folder).features
    found = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if not found:
        raise InputError(
            f"{folder} has no column of type Image, only {', '.join(features)}; cast the one that is meant"
        )
    return str(found[0])


def _image_table(folder: Path, column: str) -> Any:
    """The data set with the columns COLUMN.bytes and COLUMN.path alone, undecoded."""
    chosen = _load(folder).select_columns([column])
    try:
        chosen.data.validate(full=True)  # places beyond the end of a damaged file would end the process
        return chosen.cast_column(column, _library().Image(decode=False)).flatten()
    except Exception as error:  # ValueError, pyarrow's own, TypeError ... by what is damaged
        raise InputError(f"cannot read the data set in {folder}: {error}; save it again") from error


def _load(folder: Path) -> Any:
    try:
        return _library().load_from_disk(str(folder))
    except InputError:
        raise
    except Exception as error:  # OSError, ValueError, pyarrow's own ...
        raise InputError(f"cannot read the data set in {folder}: {error}; save it again") from error


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            "a saved Hugging Face data set needs the library datasets: pip install 'hume_ssl[datasets]'"
        ) from error
    return datasets
