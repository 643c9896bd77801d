"""cleanlab: labels, the searches as annotators, and their votes as probabilities, in one npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hume_ssl.disk import atomic_path
from hume_ssl.labels.labelled import How, Labelled, vote_shares_of


def check() -> None:
    """Nothing is needed to write it."""


def write(labelled: Labelled, folder: Path, how: How) -> list[Path]:
    """cleanlab.npz, without pickles:

    - labels (m,) int64, classes 0..k-1;
    - pred_probs (m, k) float32, the share of the votes, by weight, for each class; rows sum to 1. These are votes of
      searches that saw the items, not probabilities of a classifier for items that it did not see, which is what
      `find_label_issues` is best given;
    - labels_multiannotator (m, v) float64, the class that each of the v searches with a vote gives each item;
    - class_names (k,), index (m,), filepaths (m,).
    """
    given, weights = vote_shares_of(labelled)
    voting = np.flatnonzero(weights > 0)
    shares = np.zeros((len(labelled), len(labelled.names)))
    rows = np.arange(len(labelled))
    for search in voting:
        shares[rows, given[search]] += weights[search]
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    path = folder / "cleanlab.npz"
    filepaths = [text.encode("utf-8", "replace").decode("utf-8") for text in labelled.filepaths]
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            labels=labelled.target,
            pred_probs=shares.astype(np.float32),
            labels_multiannotator=given[voting].T.astype(np.float64),
            class_names=np.array(list(labelled.names), dtype=np.str_),
            index=labelled.index,
            filepaths=np.array(filepaths, dtype=np.str_),
        )
    return [path]
