"""A file of answers, as `select --ask` writes it and a person fills it in, read row by row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hume_ssl.errors import InputError
from hume_ssl.files import read_csv
from hume_ssl.harmless import is_formula

WRONG = -1  # not its present class; the true one is unknown
DEFAULT_NAME = re.compile(r"class-\d+")
COLUMNS = ("index", "label")  # read as text: spreadsheets and pandas write 3 as 3.0


@dataclass(frozen=True)
class Answer:
    """What was said of one item: a class of the run, a name, or both; or WRONG."""

    label: int | None  # None: the name decides, once it is known which class it means
    name: str  # "" = none given


def read_answers(
    path: Path, filepaths: list[str], train: Any, labels: Any, names: list[str], *, stored: bool = False
) -> dict[int, Answer]:
    """Item -> answer, of the rows with one. Raises InputError, naming the row, for what cannot be.

    `label` is a class 0..k-1, -1 or "wrong", or a name; `class_name` is always a name. A name that a class of the run
    has means that class; of several classes with that name the item's own, else the first.

    Args:
        filepaths, train, labels: (n,) of the run's items; labels are the consensus.
        names: (k,) present names of the classes.
        stored: the run's own answers.csv, whose names may be older than the classes': labels decide.
    """
    table = read_csv(path, COLUMNS, _separator(path))
    columns = set(table.columns)
    if "index" not in columns or not columns & {"label", "class_name"}:
        raise InputError(f"{path} needs the columns index and label or class_name: take those that --ask writes")
    answers: dict[int, Answer] = {}
    rows: dict[int, int] = {}
    for row, record in enumerate(table.to_dict("records"), start=1):
        where = f"{path} row {row}"
        label, name = _text(record.get("label")), _text(record.get("class_name"))
        if not label and not name:
            continue
        if unreadable := next((sign for sign in label + name if sign < " " or "\ud800" <= sign <= "\udfff"), None):
            raise InputError(f"{where}: {label or name!r} has the sign {unreadable!r}: save the file as CSV in UTF-8")
        if formula := next(filter(is_formula, (label, name)), None):
            raise InputError(f"{where}: the name {formula!r} is a formula to a spreadsheet: let it begin otherwise")
        index = _item(where, record["index"], record.get("filepath", ""), filepaths)
        if not train[index]:
            raise InputError(f"{where}: item {index} is a test item: answer for train items only, remove that row")
        if stored and label:
            name = ""
        answer = _answer(where, label, name, int(labels[index]), names)
        if index in answers and answers[index] != answer:
            raise InputError(f"{where}: item {index} has another answer in row {rows[index]}: keep one of the two")
        answers[index], rows[index] = answer, row
    return answers


def _separator(path: Path) -> str:
    """What parts the fields: a semicolon or a tab where the header has no comma, as spreadsheets write them."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(1000)
    except OSError:  # what is wrong is said by who reads it
        return ","
    return next((sign for sign in ",;\t" if sign in header), ",")


def _item(where: str, value: object, filepath: str, filepaths: list[str]) -> int:
    number = pd.to_numeric(str(value), errors="coerce")
    if not np.isfinite(number) or number != int(number) or not 0 <= number < len(filepaths):
        raise InputError(f"{where}: index {value} is not an item from 0 to {len(filepaths) - 1}: correct that row")
    index = int(number)
    if filepath.strip() not in ("", filepaths[index].strip()):
        is_known = filepath in filepaths
        fix = f"that file is item {filepaths.index(filepath)}" if is_known else "is the file of another run?"
        raise InputError(f"{where}: item {index} is {filepaths[index] or 'without a file'}, not {filepath}: {fix}")
    return index


def _answer(where: str, label: str, name: str, present: int, names: list[str]) -> Answer:
    if whole := re.fullmatch(r"(-?\d+)\.0*", label):
        label = whole[1]
    if label.lower() in (str(WRONG), "wrong"):
        if name and name != names[present]:
            raise InputError(f"{where}: label {label} says that the class is unknown, class_name {name!r}: keep one")
        return Answer(WRONG, "")
    if not re.fullmatch(r"-?\d+([.,]\d+)?", label):
        if label and name and label != name:
            raise InputError(f"{where}: label {label!r} and class_name {name!r} name two classes: keep one of them")
        name = name or label
        if DEFAULT_NAME.fullmatch(name) and name not in names:
            raise InputError(f"{where}: no class is called {name} (any more): write what you see, or its new name")
        return Answer(_known(name, present, names), name)
    number = int(label) if len(label) < 10 and label.lstrip("-").isdecimal() else -1  # int refuses 4,301 digits
    if not 0 <= number < len(names):
        raise InputError(
            f"{where}: label {label} is no class from 0 to {len(names) - 1}: give one of those, -1 for "
            "wrong, or write what you see in class_name"
        )
    if name and name in names and name != names[number]:
        raise InputError(
            f"{where}: label {label} is {names[number]}, class_name {name!r} is class {names.index(name)}: keep one"
        )
    return Answer(number, name)


def _known(name: str, present: int, names: list[str]) -> int | None:
    """The class of a name that some class has already; None where none has."""
    ids = [label for label, known in enumerate(names) if known == name]
    return (present if present in ids else ids[0]) if ids else None


def _text(value: object) -> str:
    """A field as text, on one line; "" where the column or the field is not there."""
    return " ".join(value.split()) if isinstance(value, str) else ""
