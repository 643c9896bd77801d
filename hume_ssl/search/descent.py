"""The published inner problem: gradient descent on the cross-entropy, and the explicit adjoint of all its steps.

Labels are (n, k, r) as in `sparsemax`; x is (n, d) with a last column of ones, d = d2 + 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hume_ssl.search.inner import Inner, cross_entropy
from hume_ssl.search.leaps import Plan
from hume_ssl.search.precision import Rows
from hume_ssl.search.steady import log_softmax, product, softmax, sum_over

KEPT_BYTES = 3 << 29  # class probabilities kept on the way forward, where they fit; else made again on the way back


def descent(
    x_tr: Tensor, x_te: Tensor, y_tr: Tensor, y_te: Tensor, theta: Tensor, plan: Plan, products: torch.dtype
) -> Inner:
    """Teach a linear classifier the labels of some items; its error on the others, and how every label changes it.

    HUME, eq. 5 and 7: theta_{t+1} = theta_t - lr/n_tr X_tr^T (softmax(X_tr theta_t) - Y_tr). Going back from
    A_T = X_te^T (P_te - Y_te)/n_te: with V = X_tr A_{t+1},
    A_t = A_{t+1} - lr/n_tr X_tr^T (P_t*V - P_t*rowsum(P_t*V)) and dL/dY_tr = lr/n_tr X_tr sum_t A_{t+1}.
    Up to a constant a row, which sparsemax removes, these are the derivatives autograd finds. Where the plan takes
    leaps or rotates, they are the exact derivatives of what was walked.

    Args:
        x_tr, x_te: (n_tr, d), (n_te, d) judge space.
        y_tr, y_te: (n_tr, k, r), (n_te, k, r) labels.
        theta: (d, k, r) where the descent starts.
        plan: how it is walked.
        products: number format of the products inside; the four from and to the ends keep that of `x_tr`.
    """
    n_tr, k, r = y_tr.shape
    n_te, step = len(y_te), plan.lr / n_tr
    begin = theta.reshape(-1, k * r)
    walk = _Walk(x_tr, y_tr, product(x_tr, begin), plan, products)
    for m in plan.leaps:
        walk.forward(m, step)
    end = begin - step * product(x_tr.T, walk.drift)
    log_p = log_softmax(product(x_te, end).view(n_te, k, r))
    adjoint = product(x_te.T, (log_p.exp() - y_te).view(n_te, k * r) / n_te)
    train = walk.backward(product(x_tr, adjoint), step)
    return Inner(cross_entropy(y_te, log_p), train.view(n_tr, k, r), -log_p / n_te)


class _Walk:
    """The way forward and back of one descent, as moves away from where either begins.

    Scores X theta_0 and X A_T come from outside, exact, and the end is made from the residuals added up; only what the
    moves in between add to the scores is made in the products' format and in the directions that the plan walks: small
    moves have small errors.
    """

    def __init__(self, x: Tensor, y: Tensor, scores: Tensor, plan: Plan, products: torch.dtype) -> None:
        self.x, self.plan = x, plan
        self.rows = Rows(x if plan.leading is None else x @ plan.leading, products, scores.shape[1])
        self.y, self.begun, self.products = y, scores, products  # (n, k, r), (n, k * r)
        self.move: Tensor | None = None  # (l, k * r) of theta
        self.drift = torch.zeros_like(scores)  # (n, k * r) sum of all steps' residuals P - Y: theta moves by X^T drift
        self.keeps = plan.evaluations * y.numel() * products.itemsize <= KEPT_BYTES
        self.kept: list[Tensor | None] = []  # probabilities, or the move they come from

    def forward(self, m: int, step: float) -> None:
        """m steps of the descent."""
        middle = self.move
        if m > 1:
            middle = _sum(middle, -(m - 1) / 2 * step * self._gradient(middle, 0))
        self.move = _sum(self.move, -m * step * self._gradient(middle, m))

    def backward(self, scores: Tensor, step: float) -> Tensor:
        """(n_tr, k * r) derivative by the labels, from X A_T with A_T the one by the end of the descent."""
        ended = scores.to(self.products)
        move: Tensor | None = None  # (l, k * r) of the adjoint
        total: Tensor | None = None
        for m in reversed(self.plan.leaps):
            by_middle = -m * step * self._curvature(move, ended)
            if move is not None:
                total = _sum(total, m * move)
            move = _sum(move, by_middle)
            if m > 1:
                half = (m - 1) / 2
                total = _sum(total, half * by_middle)
                move = _sum(move, -half * step * self._curvature(by_middle, None))
        by_labels = sum(self.plan.leaps) * scores
        if total is not None:
            by_labels += self.rows.scores(total)
        return by_labels.mul_(step)

    def _gradient(self, move: Tensor | None, weight: int) -> Tensor:
        """X^T (P - Y) after a move (l, k * r); the residual counts `weight` times in the drift."""
        scores = self.begun if move is None else self.begun + self.rows.scores(move)
        p, residual = residuals(scores, self.y)
        self.kept.append(p.to(self.products) if self.keeps else move)
        if weight:
            self.drift.add_(residual * weight if weight > 1 else residual)
        return self.rows.sums(residual, self.x.dtype)

    def _curvature(self, move: Tensor | None, scores: Tensor | None) -> Tensor:
        """X^T (P*V - P*rowsum(P*V)) with V = X move + scores, at the last place not yet gone back to."""
        last = self.kept.pop()
        if self.keeps and last is not None:
            p = last
        else:
            begun = self.begun if last is None else self.begun + self.rows.scores(last)
            p = residuals(begun, self.y)[0].to(self.products)
        if move is None:
            assert scores is not None  # a walk back begins with the scores of its end
            v = scores
        else:
            v = self.rows.scores(move)
            v = v if scores is None else v.add_(scores)
        return self.rows.sums(curved(p, v), self.x.dtype)


def residuals(scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """P = softmax(scores), (n, k, r), and P - Y, (n, k * r)."""
    p = softmax(scores.view(y.shape))
    return p, (p - y).view(scores.shape)


def curved(p: Tensor, v: Tensor) -> Tensor:
    """The softmax's Jacobian at P, (n, k, r), times V, (n, k * r): P*V - P*rowsum(P*V)."""
    pv = p * v.view(p.shape)
    return pv.sub_(p * sum_over(pv, 1)).view(v.shape)


def _sum(a: Tensor | None, b: Tensor) -> Tensor:
    """a + b; None is 0."""
    return b if a is None else a + b
