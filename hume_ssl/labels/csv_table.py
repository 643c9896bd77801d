"""csv: one table of all items; for spreadsheets, pandas, and whatever has no format of its own."""

from __future__ import annotations

from pathlib import Path

from hume_ssl.files import table_of, write_csv
from hume_ssl.labels.labelled import How, Labelled, table_columns


def check() -> None:
    """Nothing is needed."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """labels.csv: index, filepath, split, label, class_name, agreement, neighbour_agreement, reliable, selected.

    Names are written as they are, for programs: a spreadsheet may take one that begins with = for a formula.
    """
    path = folder / "labels.csv"
    write_csv(path, table_of(table_columns(labelled)))
    return [path]
