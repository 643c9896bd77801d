"""Tables, arrays, tensors and JSON in files, and their hashes: what the run folder is made of.

Where files lie is `hume_ssl.run`'s business.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hume_ssl.disk import atomic_path
from hume_ssl.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Columns that are text whatever they look like: a file may be called "007" or "NA".
TEXT_COLUMNS = ("filepath", "file", "file_name", "split", "class_name", "name", "reason", "stop_reason", "left_out")


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_array(array: np.ndarray[Any, Any]) -> str:
    """sha256 of an array's dtype, shape and values in row order, read in pieces, so that it may be memory-mapped."""
    import numpy as np

    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    rows = np.atleast_1d(array)
    step = max(1, (1 << 26) // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        digest.update(np.ascontiguousarray(rows[start : start + step]).tobytes())
    return digest.hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8 with the line ends it has; file names that are no UTF-8 keep their bytes."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: object) -> None:
    """Write JSON: NaN and infinity as null, arrays as lists, keys in the order given."""
    write_text(path, json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def any_text() -> Iterator[None]:
    """Have pandas keep text in Python's own strings: in pyarrow's, where that is installed, file names that are no
    UTF-8 cannot be."""
    import pandas as pd

    with pd.option_context("mode.string_storage", "python"):
        yield


def table_of(columns: Mapping[str, Any]) -> pd.DataFrame:
    """A table of these columns, in which file names may be any."""
    import pandas as pd

    with any_text():
        return pd.DataFrame(dict(columns))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index; numbers read back equal, NaN is an empty field."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, encoding="utf-8", errors="surrogateescape", **_csv_form(table))


def csv_bytes(table: pd.DataFrame) -> bytes:
    """The bytes that `write_csv` writes."""
    return str(table.to_csv(**_csv_form(table))).encode("utf-8", "surrogateescape")


def _csv_form(table: pd.DataFrame) -> dict[str, Any]:
    """How pandas is to write a table. All text is quoted where a file name has a carriage return, which Python's csv
    leaves bare beside our line ends, and which ends a row when it is read."""
    texts = [table[column] for column in TEXT_COLUMNS if column in table]
    returns = any("\r" in str(value) for column in texts for value in column)
    return {
        "index": False,
        "lineterminator": "\n",
        "quoting": csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,
    }


def read_csv(path: Path, text: tuple[str, ...] = (), separator: str = ",") -> pd.DataFrame:
    """Read a table. Columns of names, and those in `text`, stay text ("NA", "007", ""); else empty fields are NaN.

    Raises InputError if the file is absent or no CSV table, or if rows have more fields than the header: pandas would
    take their first ones for an index, and read all others under the wrong name.
    """
    import pandas as pd

    how: dict[str, Any] = {"encoding": "utf-8-sig", "encoding_errors": "surrogateescape", "keep_default_na": False}
    how |= {"sep": separator, "index_col": False}
    if int(pd.__version__.partition(".")[0]) < 3:  # later ones always read the nearest number
        how["float_precision"] = "round_trip"
    try:
        header = pd.read_csv(path, nrows=0, **how).columns
        how["dtype"] = {column: str for column in header if column in TEXT_COLUMNS + text}
        how["na_values"] = {column: [""] for column in header if column not in TEXT_COLUMNS + text}
        with any_text(), warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are cut to the header
            table: pd.DataFrame = pd.read_csv(path, **how)
    except pd.errors.ParserWarning as error:
        raise InputError(f"{path} has rows with more fields than its header: correct it") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # pandas' own errors are ValueErrors: no columns, ragged rows
        raise InputError(f"{path} is not a CSV table: {error}: correct it") from error
    return table


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises InputError if the file is absent, no JSON, or holds anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # no JSON, or brackets without end
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object")
    return value


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file with a JSON object on each line. Raises InputError if it is absent, or a line is anything else."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON, line by line: {error}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} has a line that holds no JSON object")
    return rows


def write_npy(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array; never a pickle."""
    import numpy as np

    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)


def read_npy(path: Path, mmap: bool = True) -> np.ndarray[Any, Any]:
    """Read an array, memory-mapped and read-only unless `mmap` is false.

    Raises InputError if the file is absent, a pickle, cut short or no npy file.
    """
    import numpy as np

    try:
        # Always mapped: numpy would make room for the shape in the header before it looks at the size of the file.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # what parses the header raises whatever a broken one leads to, as TokenError
        raise InputError(f"{path} is not a readable npy array (a pickle, cut short, or another format)") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} holds several arrays (npz); save the one meant with numpy.save as .npy")
    made: np.ndarray[Any, Any] = array if mmap else np.array(array)
    return made


def plain(value: Any) -> Any:
    """`value` as JSON has it: dicts, lists, text, whole numbers, finite numbers, None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if hasattr(value, "tolist"):  # numpy and torch, arrays and numbers
        return plain(value.tolist())
    return str(value)
