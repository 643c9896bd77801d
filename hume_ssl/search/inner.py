"""The inner problem: a linear classifier taught a labelling in the judge space, and how its error on held-out items
changes with every label. Two solvers, each a pure function over all searches of a batch.

Labels are (n, k, r) as in `sparsemax`; x is (n, d) with a last column of ones, d = d2 + 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Inner(NamedTuple):
    """Held-out error of the classifier taught by a labelling, and its derivative with respect to the labels."""

    loss: Tensor  # (r,) mean held-out cross-entropy L in nats; 0 = the held-out labels were predicted with certainty
    train: Tensor  # (n_tr, k, r) dL/dY_tr
    test: Tensor  # (n_te, k, r) dL/dY_te


def descent(x_tr: Tensor, x_te: Tensor, y_tr: Tensor, y_te: Tensor, theta: Tensor, steps: int, lr: float) -> Inner:
    """Gradient descent on the cross-entropy, and the explicit adjoint of all its steps (HUME eq. 5 and 7).

    theta_{t+1} = theta_t - lr/n_tr X_tr^T (softmax(X_tr theta_t) - Y_tr). Going back from
    A_T = X_te^T (P_te - Y_te)/n_te: with V = X_tr A_{t+1},
    A_t = A_{t+1} - lr/n_tr X_tr^T (P_t*V - P_t*rowsum(P_t*V)) and dL/dY_tr = lr/n_tr X_tr sum_t A_{t+1}.
    The theta_t are kept and the P_t made again on the way back: five products a step, memory (steps, d, k * r).
    Up to a constant a row, which sparsemax removes, these are the derivatives autograd finds.

    Args:
        x_tr, x_te: (n_tr, d), (n_te, d) judge space.
        y_tr, y_te: (n_tr, k, r), (n_te, k, r) labels.
        theta: (d, k, r) where the descent starts.
        steps: number of steps; lr: their size, eta in the paper.
    """
    n_tr, k, r = y_tr.shape
    n_te, step = len(y_te), lr / n_tr
    flat_tr = y_tr.reshape(n_tr, k * r)
    path = [theta.reshape(-1, k * r)]
    for _ in range(steps):
        path.append(path[-1] - step * (x_tr.T @ (_softmax(x_tr @ path[-1], k) - flat_tr)))
    log_p = (x_te @ path[-1]).view(n_te, k, r).log_softmax(1)
    adjoint = x_te.T @ ((log_p.exp() - y_te).view(n_te, k * r) / n_te)
    total = torch.zeros_like(adjoint)
    for theta_t in reversed(path[:-1]):
        total += adjoint
        p = _softmax(x_tr @ theta_t, k)
        pv = (p * (x_tr @ adjoint)).view(n_tr, k, r)
        change = pv - p.view(n_tr, k, r) * pv.sum(1, keepdim=True)
        adjoint = adjoint - step * (x_tr.T @ change.view(n_tr, k * r))
    loss = -(y_te * log_p).sum(1).mean(0)
    return Inner(loss, (step * (x_tr @ total)).view(n_tr, k, r), -log_p / n_te)


def ridge_map(x_tr: Tensor, x_te: Tensor, ridge: float) -> Tensor:
    """(n_te, n_tr): takes labels of the training items to ridge-regression scores of the held-out ones.

    X_te (X_tr^T X_tr/n_tr + ridge * mu * D)^-1 X_tr^T / n_tr, where mu is the mean square of a judge direction, so
    that `ridge` does not depend on the scale of the space, and D leaves the column of ones free. One Cholesky
    factor serves all searches. Made in float64: kernel features are close to linearly dependent.
    """
    train = x_tr.double()
    gram = train.T @ train / len(train)
    free = gram.diagonal()[:-1]
    free += ridge * free.mean() + 1e-9 * gram.diagonal().max()
    solved = torch.cholesky_solve(x_te.double().T, torch.linalg.cholesky(gram))  # the held-out side has fewer rows
    return (solved.T @ (train.T / len(train))).to(x_tr.dtype)


def ridge(hat: Tensor, y_tr: Tensor, y_te: Tensor, scale: float) -> Inner:
    """The closed form: scores of ridge regression on the labels, times `scale`, in the same held-out cross-entropy.

    Args:
        hat: (n_te, n_tr) from `ridge_map`.
        y_tr, y_te: (n_tr, k, r), (n_te, k, r) labels.
        scale: what makes scores, about 0 to 1, into logits; a plain squared error tends to uniform labels.
    """
    n_tr, k, r = y_tr.shape
    n_te = len(y_te)
    log_p = (scale * (hat @ y_tr.reshape(n_tr, k * r))).view(n_te, k, r).log_softmax(1)
    # Rows of y_te sum to one, so the derivative of the cross-entropy by the logits is P - Y.
    d_logits = (log_p.exp() - y_te) * (scale / n_te)
    train = (hat.T @ d_logits.view(n_te, k * r)).view(n_tr, k, r)
    return Inner(-(y_te * log_p).sum(1).mean(0), train, -log_p / n_te)


def entropy_gradient(mean: Tensor, weight: float, n: int) -> Tensor:
    """Derivative of -weight * entropy(mean label) by each of the n labels in the mean: (k, r) from the mean (k, r).

    weight (log mean + 1)/n, 0 where a class is empty: sparsemax keeps it empty there, and log 0 is kept out.
    """
    used = mean > 0
    return torch.where(used, torch.where(used, mean, 1).log() + 1, 0) * (weight / n)


def _softmax(scores: Tensor, k: int) -> Tensor:
    """Softmax over classes of (n, k * r) scores, in the same shape."""
    return scores.view(len(scores), k, -1).softmax(1).view(len(scores), -1)
