"""How the classes of a run's searches stand to its consensus, and what each search's vote weighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus import match
from hume_ssl.files import read_arrays
from hume_ssl.run import RunFolder
from hume_ssl.stages.table import Found, check_as_left


@dataclass(frozen=True)
class Votes:
    """What r searches say of n items."""

    labellings: NDArray[Any]  # (r, n) as found, memory-mapped
    matching: NDArray[np.int64]  # (r, k) the consensus class of each class of each search
    weights: NDArray[np.float64]  # (r,) of the votes; 0 = not counted


def stored_votes(run: RunFolder, found: Found) -> Votes:
    """The votes of a finished run; `found` is its consensus as `load_found` has it."""
    for path in (run.labellings_npy, run.searches_csv, run.matching):
        check_as_left(run, path)
    labellings = run.read_npy(run.labellings_npy)
    table = run.read_csv(run.searches_csv)
    # Runs from before votes had weights counted them alike.
    weights = table["weight"].to_numpy(dtype=np.float64) if "weight" in table else np.ones(len(labellings))
    if not run.matching.is_file():  # nor did they keep the matching
        return Votes(labellings, match(np.asarray(labellings), found.labels, len(found.names), found.train), weights)
    kept = read_arrays(run.matching)
    return Votes(labellings, kept["ids"][kept["matching"]].astype(np.int64), weights)
