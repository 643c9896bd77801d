"""What `evaluate` reports: figures of finished artefacts against the truth, and the two baselines.

Pure functions over arrays. All shares are in [0, 1]; items whose truth is -1 are left out; NaN means that no item with
a known truth was there to count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hume_ssl import metrics
from hume_ssl.k_means import k_means

Array = NDArray[Any]
Mask = NDArray[np.bool_]

# Rows at unit norm have small components, for which scikit-learn's default of 1 shrinks too much.
PROBE_C = 10.0


def evaluate_consensus(labels: Array, truth: Array, train: Mask, k: int) -> tuple[dict[str, float], NDArray[np.int64]]:
    """Figures of a consensus, and its matching of found to true classes, made on train items.

    Args:
        labels: (n,) consensus classes 0..k-1.
        truth: (n,) true classes, -1 unknown; any number of them.
        train: (n,) True for train items.

    Returns:
        {"acc", "ari", "nmi"} on train items, "test_acc" where test items have truth; and the matching, (k,), that the
        selection and the training are judged by, so that they gain nothing from a matching of their own.
    """
    mapping = metrics.match_classes(labels[train], truth[train], k)
    figures = evaluate_predictions(labels, truth, train, mapping)
    test = figures.pop("test_acc", None)
    figures["ari"] = metrics.ari(labels[train], truth[train])
    figures["nmi"] = metrics.nmi(labels[train], truth[train])
    if test is not None:
        figures["test_acc"] = test
    return figures, mapping


def evaluate_predictions(predictions: Array, truth: Array, train: Mask, mapping: NDArray[np.int64]) -> dict[str, float]:
    """{"acc"} on train items, and "test_acc" where test items have truth, of (n,) predictions under `mapping` (k,)."""
    figures = {"acc": metrics.accuracy(predictions[train], truth[train], mapping)}
    if np.any(truth[~train] >= 0):
        figures["test_acc"] = metrics.accuracy(predictions[~train], truth[~train], mapping)
    return figures


def evaluate_history(
    evaluations: Array, index: Array, truth: Array, train: Mask, mapping: NDArray[np.int64]
) -> dict[str, Any]:
    """Accuracy of a training's last evaluations, so that no lucky one is reported alone.

    Args:
        evaluations: (e, m) class 0..k-1 that each evaluation gave each item it looked at.
        index: (m,) rows of those items in the item table.
        truth: (n,) true classes, -1 unknown.
        train: (n,) True for train items.
        mapping: (k,) the consensus's matching.

    Returns:
        {"n": evaluations, "items": items with a known truth, "split": "test" or "train", "mean", "std", "last"}: mean
        and standard deviation of the accuracy over them, and the last one.
    """
    accuracies = [metrics.accuracy(labels, truth[index], mapping) for labels in evaluations]
    return {
        "n": len(accuracies),
        "items": int(np.count_nonzero(truth[index] >= 0)),
        "split": "train" if train[index].any() else "test",
        "mean": float(np.mean(accuracies)),
        "std": float(np.std(accuracies)),
        "last": accuracies[-1],
    }


def evaluate_selection(labels: Array, index: Array, truth: Array, mapping: NDArray[np.int64], k: int) -> dict[str, Any]:
    """Figures of a selection: how many of the picked items are right.

    Args:
        labels: (m,) class 0..k-1 of each picked item.
        index: (m,) row of each picked item in the item table.
        truth: (n,) true classes, -1 unknown.
        mapping: (k,) the consensus's matching.

    Returns:
        {"n": items with a known truth, "correct", "accuracy", "per_class": right items of each label 0..k-1}.
    """
    truth = truth[index]
    right = metrics.correct(labels, truth, mapping)
    return {
        "n": int(np.count_nonzero(truth >= 0)),
        "correct": int(np.count_nonzero(right)),
        "accuracy": metrics.accuracy(labels, truth, mapping),
        "per_class": [int(count) for count in np.bincount(labels[right], minlength=k)],
    }


def kmeans_baseline(spaces: Sequence[Array], train: Mask, truth: Array, k: int, seed: int = 0) -> float:
    """ACC of k-means on all spaces side by side: what the search has to beat.

    Each of `spaces` is (n, d), its rows scaled to unit norm; scikit-learn's KMeans with 10 starts is fitted to all
    train items, and the accuracy counted on those with a known truth.
    """
    rows = np.hstack([unit_rows(space[train]) for space in spaces])
    return metrics.acc(k_means(rows, k, seed), truth[train], k)


def linear_probe(labeller: Array, truth: Array, train: Mask, seed: int = 0) -> float | None:
    """Accuracy of logistic regression taught with the truth: what full supervision gets out of the labeller space.

    Args:
        labeller: (n, d), its rows are scaled to unit norm.
        truth: (n,), -1 unknown.
        train: (n,) True for train items.

    Returns:
        Accuracy on test items; where none has a truth, over stratified 5-fold cross-validation of the train items
        (fewer folds where a class has fewer than five items; classes of one item are left out). None where fewer than
        two classes are left to tell apart.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    known, test = train & (truth >= 0), ~train & (truth >= 0)
    counts = np.bincount(truth[known])
    model = LogisticRegression(C=PROBE_C, max_iter=1000)
    if test.any():
        if np.count_nonzero(counts) < 2:
            return None
        model.fit(unit_rows(labeller[known]), truth[known])
        return float(np.mean(model.predict(unit_rows(labeller[test])) == truth[test]))
    known &= np.isin(truth, np.flatnonzero(counts >= 2))
    counts = counts[counts >= 2]
    if len(counts) < 2:
        return None
    folds = StratifiedKFold(min(5, int(counts.min())), shuffle=True, random_state=seed)
    predicted = cross_val_predict(model, unit_rows(labeller[known]), truth[known], cv=folds)
    return float(np.mean(predicted == truth[known]))


def objective_correlation(objective: ArrayLike, acc: ArrayLike) -> dict[str, float] | None:
    """Pearson correlation between the objective and 1 - acc of the searches, (r,) each, and its two-sided p-value.

    Positive is good: a lower objective then goes with fewer wrong labels, so that the objective, which needs no truth,
    tells good searches from bad. None below three searches, or where all are equal in one of the two.
    """
    from scipy.stats import pearsonr

    pairs = np.stack([np.asarray(objective, dtype=np.float64), 1 - np.asarray(acc, dtype=np.float64)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < 3 or np.any(pairs.min(axis=1) == pairs.max(axis=1)):
        return None
    rho, p = pearsonr(*pairs)
    return {"rho": float(rho), "p": float(p)}


def unit_rows(space: Array) -> NDArray[np.float32]:
    """(n, d) float32 with rows at Euclidean norm 1; a zero row stays zero."""
    rows: NDArray[np.float32] = np.asarray(space, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    norms[norms == 0] = 1
    return np.asarray(rows / norms, dtype=np.float32)
