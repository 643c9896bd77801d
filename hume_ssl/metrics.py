"""How well found classes agree with the truth: accuracy after the best matching (ACC), ARI and NMI.

Labels are whole numbers 0..k-1; a truth of -1 is unknown and its item left out. A found label of -1 (no label) counts
as wrong. Where no truth is known at all, every figure is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]


def confusion(a: Labels, b: Labels, k_a: int, k_b: int) -> NDArray[np.int64]:
    """(k_a, k_b) counts of items with label i in `a` and j in `b`, (n,) each; negative labels are left out."""
    a, b = np.asarray(a), np.asarray(b)
    both = (a >= 0) & (b >= 0)
    cells = a[both].astype(np.int64) * k_b + b[both]
    return np.bincount(cells, minlength=k_a * k_b).reshape(k_a, k_b).astype(np.int64)


def match_classes(found: Labels, truth: Labels, k: int) -> NDArray[np.int64]:
    """Found class -> true class, (k,) int64: the one-to-one matching with the most items right (Hungarian method).

    `found` and `truth` are (n,). A found class is -1 where there are fewer true classes than found ones.
    """
    from scipy.optimize import linear_sum_assignment

    mapping = np.full(k, -1, dtype=np.int64)
    k_truth = int(np.max(truth, initial=-1)) + 1
    rows, columns = linear_sum_assignment(confusion(found, truth, k, k_truth), maximize=True)
    mapping[rows] = columns
    return mapping


def correct(found: Labels, truth: Labels, mapping: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether each item's found class, renamed by `mapping`, is its true class; False where truth is -1."""
    found, truth = np.asarray(found), np.asarray(truth)
    renamed = np.where(found >= 0, mapping[found], -1)
    right: NDArray[np.bool_] = (renamed == truth) & (truth >= 0)
    return right


def accuracy(found: Labels, truth: Labels, mapping: NDArray[np.int64]) -> float:
    """Share of the items with a known truth that are right under `mapping`; 1 = all right, NaN = no truth known."""
    known = int(np.count_nonzero(np.asarray(truth) >= 0))
    return float(np.count_nonzero(correct(found, truth, mapping)) / known) if known else float("nan")


def acc(found: Labels, truth: Labels, k: int) -> float:
    """Accuracy after the best matching of the k found classes to the true ones; 1/k or so = no better than chance."""
    return accuracy(found, truth, match_classes(found, truth, k))


def ari(found: Labels, truth: Labels) -> float:
    """Adjusted Rand index (Hubert and Arabie, 1985) by scikit-learn; 1 = the same partition, 0 = chance."""
    from sklearn.metrics import adjusted_rand_score

    found, truth = _known(found, truth)
    return float(adjusted_rand_score(truth, found)) if truth.size else float("nan")


def nmi(found: Labels, truth: Labels) -> float:
    """Normalised mutual information (arithmetic mean) by scikit-learn; 1 = the same partition, 0 = independent."""
    from sklearn.metrics import normalized_mutual_info_score

    found, truth = _known(found, truth)
    return float(normalized_mutual_info_score(truth, found)) if truth.size else float("nan")


def _known(found: Labels, truth: Labels) -> tuple[Labels, Labels]:
    known = np.asarray(truth) >= 0
    return np.asarray(found)[known], np.asarray(truth)[known]
