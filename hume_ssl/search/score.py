"""The generalization score: how well a linear classifier in the judge space learns a labelling. No truth is needed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hume_ssl.search.subsets import Spaces

FOLDS = 10
RIDGE = 1e-3  # times the mean square of a judge direction
ITEMS = 20_000  # train items the score is measured on, drawn once, where there are more
COLUMNS = 4096  # one-hot columns solved for at once


def generalization_scores(spaces: Spaces, labellings: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """Cross-validated accuracy of a linear classifier on each labelling, in the judge space (HUME, section 3.4).

    Ten folds, shuffled once with seed 1 as in the published code, shared by all searches. The classifier is ridge
    regression on one-hot labels with a free intercept, so that one factorisation a fold serves all searches; the
    published code takes unregularised logistic regression.

    Args:
        labellings: (r, m) classes of the train items, in the order of `spaces.train`.
        classes: k.

    Returns:
        (r,) accuracy in [0, 1]; 1 = the judge space holds every class apart linearly. A labelling with few distinct
        classes is easy to learn, so compare scores only between searches that found all classes.
    """
    m = labellings.shape[1]
    picked = np.arange(m)
    if m > ITEMS:
        picked = np.sort(np.random.default_rng(1).choice(m, ITEMS, replace=False))
    x = spaces.judge_rows(spaces.train[picked]).double()
    labels = torch.from_numpy(labellings[:, picked].astype(np.int64)).to(x.device)
    order = np.random.default_rng(1).permutation(len(picked))
    hits = np.zeros(len(labellings))
    for fold in np.array_split(order, min(FOLDS, len(order))):
        learn = np.setdiff1d(order, fold)
        hits += _fold_hits(x[learn], x[fold], labels[:, learn], labels[:, fold], classes)
    return hits / len(picked)


def _fold_hits(
    x_tr: torch.Tensor, x_te: torch.Tensor, y_tr: torch.Tensor, y_te: torch.Tensor, k: int
) -> NDArray[np.float64]:
    """(r,) held-out items each labelling's classifier gets right; x (n, d), y (r, n)."""
    gram = x_tr.T @ x_tr / len(x_tr)
    free = gram.diagonal()[:-1]
    free += RIDGE * free.mean() + 1e-9 * gram.diagonal().max()
    factor = torch.linalg.cholesky(gram)
    hits = []
    for some in range(0, len(y_tr), step := max(1, COLUMNS // k)):
        one_hot = torch.nn.functional.one_hot(y_tr[some : some + step], k)  # (r, n, k)
        sums = torch.einsum("nd,rnk->drk", x_tr, one_hot.to(x_tr)) / len(x_tr)
        theta = torch.cholesky_solve(sums.flatten(1), factor)
        predicted = (x_te @ theta).view(len(x_te), -1, k).argmax(2)
        hits.append((y_te[some : some + step] == predicted.T).sum(1))
    return torch.cat(hits).double().cpu().numpy()
