"""What is said of each item from outside: train or test, and (for evaluation only) its true label."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.inputs import open_array, read_table

SPLITS = ("train", "test")


def make_split(
    n: int, split: float | str | Path | None, seed: int, filepaths: Sequence[str], root: Path | None = None
) -> NDArray[np.str_]:
    """'train' or 'test' for each of `n` items, (n,).

    Args:
        split: None: all train; a number in (0, 1): that share of test items, drawn with `seed`; a file: CSV with
            columns filepath and split, or .npy of n words.
        filepaths: (n,) names of the items, empty strings where they are not files.
        root: folder the names start from, so that a CSV elsewhere may name the same files by its own folder.

    Raises:
        InputError: a share outside (0, 1) or one that leaves no train or no test item; a word other than train or
            test; an item the file does not list; another length than `n`.
    """
    if split is None:
        return np.full(n, "train")
    share = _as_number(split)
    if share is None:
        return _split_file(n, Path(str(split)).expanduser(), filepaths, root)
    if not 0 < share < 1:
        raise InputError(f"the split {split} is no share of test items; give one between 0 and 1, or a file")
    tests = round(share * n)
    if not 0 < tests < n:
        raise InputError(f"the split {split} of {n} items makes {tests} test items; keep both train and test items")
    words = np.full(n, "train")
    words[np.random.default_rng(seed).permutation(n)[:tests]] = "test"
    return words


def load_truth(
    path: str | Path, filepaths: Sequence[str], root: Path | None = None
) -> tuple[NDArray[np.int64], list[str]]:
    """True labels as class ids 0..k-1, (n,) int64 with -1 for unknown, and the k class names in id order.

    Args:
        path: .npy in the order of the items (whole numbers or words), or a CSV with columns filepath and label, in any
            order; a CSV without file names is taken in row order. Unknown: -1, an empty cell, or an item not listed.
        filepaths: (n,) names of the items, empty strings where they are not files.
        root: see `make_split`.

    Ids follow the sorted labels: by value where all are whole numbers, else as text.

    Raises:
        InputError: another length than n (both are named), none of the CSV's files among the items, two labels for
            one file, labels that are neither whole numbers nor words.
    """
    path = Path(path).expanduser()
    n = len(filepaths)
    if path.suffix.lower() == ".csv":
        given = _by_file(path, "label", filepaths, root)
        values = [""] * n if given is None else given
        if given is None:
            values = read_table(path, ("label",))["label"].tolist()
    else:
        values = _label_texts(open_array(path), path)
    if len(values) != n:
        raise InputError(f"{path} has {len(values)} labels for {n} items; give one an item, in the order of items.csv")
    return _number(values)


def _split_file(n: int, path: Path, filepaths: Sequence[str], root: Path | None) -> NDArray[np.str_]:
    if path.suffix.lower() == ".csv":
        words = _by_file(path, "split", filepaths, root)
        if words is None:
            words = read_table(path, ("split",))["split"].tolist()
    else:
        array = open_array(path)
        if array.ndim != 1 or array.dtype.kind not in "US":
            raise InputError(f"{path} is {array.dtype} of shape {array.shape}; a split is n words, train or test")
        words = _words(array, path)
    if len(words) != n:
        raise InputError(f"{path} has {len(words)} rows for {n} items; give one an item")
    for i, word in enumerate(words):
        if word not in SPLITS:
            what = f"has no split for item {i} {filepaths[i]}".rstrip() if word == "" else f"has the split {word!r}"
            raise InputError(f"{path} {what}; every item is train or test")
    if "train" not in words:
        raise InputError(f"{path} makes every item a test item; the search needs train items")
    return np.array(words, dtype="<U5")


def _by_file(path: Path, column: str, filepaths: Sequence[str], root: Path | None) -> list[str] | None:
    """The column's cell for each item by its file name ("" where not listed); None where either side has no names."""
    table = read_table(path, (column,))
    if "filepath" not in table.columns or not any(table["filepath"]):
        return None
    if not any(filepaths):
        raise InputError(f"{path} goes by file names, and these items have none; give a .npy in their order")
    rows: dict[str, list[int]] = {}
    for i, name in enumerate(filepaths):
        rows.setdefault(_key(name, root), []).append(i)
    values: list[str | None] = [None] * len(filepaths)
    for name, value in zip(table["filepath"], table[column], strict=True):
        # A list may lie beside the images or elsewhere: its names start from the images' folder, or from its own.
        for i in rows.get(_key(name, root)) or rows.get(_key(name, path.absolute().parent), []):
            if values[i] not in (None, value):
                raise InputError(f"{path} gives {name} twice, as {values[i]!r} and as {value!r}; keep one")
            values[i] = value
    if all(value is None for value in values):
        raise InputError(
            f"{path} names none of the items: it has {table['filepath'].iloc[0]}, they have {filepaths[0]}"
        )
    return [value or "" for value in values]


def _key(name: str, root: Path | None) -> str:
    name = name.strip()
    return os.path.normpath(name if root is None else os.path.join(root.absolute(), name))


def _label_texts(array: NDArray[Any], path: Path) -> list[str]:
    if array.ndim != 1:
        raise InputError(f"{path} has shape {array.shape}; truth is one label an item, (n,)")
    if array.dtype.kind == "f":
        known = np.isfinite(array)
        if np.any(array[known] != np.rint(array[known])):
            raise InputError(f"{path} holds fractions such as {array[known][0]}; labels are whole numbers or words")
        array = np.where(known, array, -1).astype(np.int64)
    if array.dtype.kind not in "biuUS":
        raise InputError(f"{path} is {array.dtype}; labels are whole numbers or words")
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    return _words(array, path)


def _words(array: NDArray[Any], path: Path) -> list[str]:
    """The texts in an array; raises InputError where a sign in one is none, as in a damaged file."""
    try:
        return [str(value) for value in array.astype(np.str_)]
    except (ValueError, SystemError) as error:
        raise InputError(f"{path} holds text that is not Unicode: save it again with numpy.save") from error


def _number(values: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    texts = [value.strip() for value in values]
    names = sorted(set(texts) - {"", "-1"})
    if all(_is_whole(name) for name in names):
        names.sort(key=int)
    ids = {name: i for i, name in enumerate(names)}
    return np.array([ids.get(text, -1) for text in texts], dtype=np.int64), names


def _is_whole(text: str) -> bool:
    return len(text) <= 4000 and text.removeprefix("-").isdecimal()  # int refuses 4,301 digits


def _as_number(split: float | str | Path) -> float | None:
    try:
        return float(str(split))
    except ValueError:
        return None
