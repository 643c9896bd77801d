"""The closed form of the inner problem: ridge regression on the labels, its scores taken as logits.

Labels are (n, k, r) as in `sparsemax`; x is (n, d) with a last column of ones, d = d2 + 1. For a subset, scores of
the held-out items are a fixed linear map of the training items' labels, the same for all searches:
X_te G^-1 X_tr^T / n_tr with G = X_tr^T X_tr/n_tr + ridge * mu * D. Here mu is the mean square of a judge direction,
so that `ridge` does not depend on the scale of the space, and D leaves the column of ones free.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hume_ssl.search.inner import Inner, cross_entropy
from hume_ssl.search.steady import log_softmax, one_thread, product


def ridge_factor(x_tr: Tensor, ridge: float) -> Tensor:
    """(d, d) Cholesky factor of G, in float64: kernel features are close to linearly dependent."""
    train = x_tr.double()
    gram = train.T @ train / len(train)
    free = gram.diagonal()[:-1]
    free += ridge * free.mean() + 1e-9 * gram.diagonal().max()
    with one_thread():
        factor: Tensor = torch.linalg.cholesky(gram)
    return factor


class Hat:
    """The map as one matrix (n_te, n_tr): the fastest form, where it is not too large to keep."""

    def __init__(self, x_tr: Tensor, x_te: Tensor, factor: Tensor, dtype: torch.dtype) -> None:
        with one_thread():
            solved = torch.cholesky_solve(x_te.double().T, factor)  # the held-out side has fewer rows
        self.matrix = (solved.T @ (x_tr.double().T / len(x_tr))).to(dtype)

    def scores(self, y_tr: Tensor) -> Tensor:
        """(n_te, c) scores of labels (n_tr, c)."""
        return product(self.matrix, y_tr.to(self.matrix.dtype)).to(y_tr.dtype)

    def pull_back(self, d_scores: Tensor) -> Tensor:
        """(n_tr, c) derivative by the labels, from the one by the scores (n_te, c)."""
        return product(self.matrix.T, d_scores.to(self.matrix.dtype)).to(d_scores.dtype)


class FactoredMap:
    """The map as its factors, for large subsets: G^-1 is small and kept, the rows are there only while in use."""

    def __init__(self, x_tr: Tensor, x_te: Tensor, inverse: Tensor) -> None:
        self.x_tr, self.x_te, self.inverse = x_tr, x_te, inverse  # inverse: (d, d) G^-1 / n_tr

    def scores(self, y_tr: Tensor) -> Tensor:
        """(n_te, c) scores of labels (n_tr, c)."""
        return product(self.x_te, product(self.inverse, product(self.x_tr.T, y_tr)))

    def pull_back(self, d_scores: Tensor) -> Tensor:
        """(n_tr, c) derivative by the labels, from the one by the scores (n_te, c)."""
        return product(self.x_tr, product(self.inverse, product(self.x_te.T, d_scores)))


def ridge_inverse(x_tr: Tensor, factor: Tensor) -> Tensor:
    """(d, d) G^-1 / n_tr in the rows' format."""
    with one_thread():
        return (torch.cholesky_inverse(factor) / len(x_tr)).to(x_tr.dtype)


def ridge(solved: Hat | FactoredMap, y_tr: Tensor, y_te: Tensor, scale: float) -> Inner:
    """Held-out cross-entropy of ridge regression's scores times `scale`, and its derivative by every label.

    Args:
        solved: the subset's map from labels to scores.
        y_tr, y_te: (n_tr, k, r), (n_te, k, r) labels.
        scale: what makes scores, about 0 to 1, into logits; a plain squared error tends to uniform labels.
    """
    n_tr, k, r = y_tr.shape
    n_te = len(y_te)
    log_p = log_softmax((scale * solved.scores(y_tr.reshape(n_tr, k * r))).view(n_te, k, r))
    # Rows of y_te sum to one, so the derivative of the cross-entropy by the logits is P - Y.
    d_logits = (log_p.exp() - y_te) * (scale / n_te)
    train = solved.pull_back(d_logits.view(n_te, k * r)).view(n_tr, k, r)
    return Inner(cross_entropy(y_te, log_p), train, -log_p / n_te)
