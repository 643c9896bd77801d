"""crowd-kit: the votes of all searches as a long table task, worker, label."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hume_ssl.disk import atomic_path
from hume_ssl.errors import InputError
from hume_ssl.labels.labelled import How, Labelled, vote_shares_of

MOST_ROWS = 50_000_000


def check() -> None:
    """Nothing is needed to write it."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """votes.csv: a row for each item and search with a vote; task is the item, worker the place of the search in
    searches.csv, label a class 0..k-1; and classes.csv with their names.

    Raises InputError beyond 50 million rows, which crowd-kit could not read either.
    """
    import pandas as pd

    from hume_ssl.files import table_of, write_csv

    given, weights = vote_shares_of(labelled)
    voting = np.flatnonzero(weights > 0)
    if len(voting) * len(labelled) > MOST_ROWS:
        raise InputError(
            f"{len(labelled):,} items of {len(voting)} searches are {len(voting) * len(labelled):,} rows, more than "
            f"{MOST_ROWS:,}: give --of selection, or --to cleanlab"
        )
    path, names = folder / "votes.csv", folder / "classes.csv"
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write("task,worker,label\n")
        for search in voting:
            rows = pd.DataFrame({"task": labelled.index, "worker": search, "label": given[search]})
            rows.to_csv(file, header=False, index=False, lineterminator="\n")
    write_csv(names, table_of({"label": np.arange(len(labelled.names)), "name": list(labelled.names)}))
    return [path, names]
