"""Files the user hands in: a .npy array or a CSV, read without ever running what is in them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.files import any_text, read_npy

if TYPE_CHECKING:
    import pandas as pd


def open_array(path: str | Path) -> NDArray[Any]:
    """The array in a .npy file, memory-mapped and read-only; never unpickles.

    Raises:
        InputError: no such file, no .npy, a pickle, or cut short.
    """
    return read_npy(Path(path))


def read_table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV with all cells as text ("NA" and "" stay what they are); raises InputError where a column is missing."""
    import pandas as pd

    try:
        with any_text(), warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are cut to the header
            table = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                encoding_errors="surrogateescape",
                index_col=False,
            )
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; check its path") from None
    except pd.errors.ParserWarning as error:
        raise InputError(f"{path} has rows with more fields than its header: correct it") from error
    except (ValueError, OSError) as error:  # empty, ragged, not UTF-8
        raise InputError(f"cannot read {path} as a CSV: {error}") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path} has no column {missing[0]}, only {','.join(map(str, table.columns))}")
    return table
