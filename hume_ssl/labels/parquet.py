"""parquet: the table of csv, smaller and with its types."""

from __future__ import annotations

from pathlib import Path

from hume_ssl.disk import atomic_path
from hume_ssl.labels.labelled import How, Labelled, need, table_columns


def check() -> None:
    """Raise InputError without pyarrow."""
    need("pyarrow", "parquet", "parquet")


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """labels.parquet, the columns of csv. Signs of file names that are no Unicode become "?": parquet has no others."""
    import pandas as pd

    columns = table_columns(labelled)
    for name in ("filepath", "class_name"):
        columns[name] = [text.encode("utf-8", "replace").decode("utf-8") for text in columns[name]]
    path = folder / "labels.parquet"
    with atomic_path(path) as temporary:
        pd.DataFrame(columns).to_parquet(temporary, engine="pyarrow", index=False)
    return [path]
