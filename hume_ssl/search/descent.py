"""The published inner problem: gradient descent on the cross-entropy, and the explicit adjoint of all its steps.

Labels are (n, k, r) as in `sparsemax`; x is (n, d) with a last column of ones, d = d2 + 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hume_ssl.search.inner import Inner
from hume_ssl.search.leaps import Plan
from hume_ssl.search.precision import Rows

KEPT_BYTES = 2 << 30  # class probabilities kept on the way forward, where they fit; else made again on the way back


def descent(x_tr: Rows, x_te: Rows, y_tr: Tensor, y_te: Tensor, theta: Tensor, plan: Plan) -> Inner:
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
    """
    n_tr, k, r = y_tr.shape
    n_te, step = len(y_te), plan.lr / n_tr
    walk = _Walk(x_tr, y_tr, theta.reshape(-1, k * r), plan)
    for m in plan.leaps:
        walk.forward(m, step)
    log_p = x_te.scores(walk.end(step)).to(y_te.dtype).view(n_te, k, r).log_softmax(1)
    adjoint = x_te.sums((log_p.exp() - y_te).view(n_te, k * r), theta.dtype) / n_te
    train = walk.backward(adjoint, step)
    return Inner(-(y_te * log_p).sum(1).mean(0), train.view(n_tr, k, r), -log_p / n_te)


class _Walk:
    """The way forward and back of one descent, in the directions that the plan walks."""

    def __init__(self, x: Rows, y: Tensor, theta: Tensor, plan: Plan) -> None:
        self.x, self.y, self.plan = x, y.to(x.x.dtype), plan
        self.theta, self.rows = theta, x
        self.offset = self.rest = self.drift = None
        if plan.leading is not None:
            self.theta = plan.leading.T @ theta
            self.rest = theta - plan.leading @ self.theta  # the directions that keep their start until the end
            self.rows = Rows(x.x @ plan.leading.to(x.x.dtype), x.x.dtype)
            self.offset = x.scores(self.rest)
            self.drift = torch.zeros_like(self.y)
        size = plan.evaluations * self.y.numel() * self.y.element_size()
        self.keeps = size <= KEPT_BYTES
        self.kept: list[Tensor] = []  # probabilities, or the theta they come from

    def forward(self, m: int, step: float) -> None:
        """m steps of the descent."""
        middle = self.theta
        if m > 1:
            middle = middle - (m - 1) / 2 * step * self._gradient(middle, 0)
        self.theta = self.theta - m * step * self._gradient(middle, m)

    def end(self, step: float) -> Tensor:
        """(d, k * r) where the descent ends."""
        if self.plan.leading is None or self.rest is None or self.drift is None:
            return self.theta
        moved = self.x.sums(self.drift.view(len(self.y), -1), self.theta.dtype)
        rest = self.rest - step * (moved - self.plan.leading @ (self.plan.leading.T @ moved))
        return self.plan.leading @ self.theta + rest

    def backward(self, adjoint: Tensor, step: float) -> Tensor:
        """(n_tr, k * r) derivative by the labels, from the one by the end of the descent, (d, k * r)."""
        slow = None
        if self.plan.leading is not None:
            walked = self.plan.leading.T @ adjoint
            slow = self.x.scores(adjoint - self.plan.leading @ walked)
            adjoint = walked
        total = torch.zeros_like(adjoint)
        for m in reversed(self.plan.leaps):
            by_middle = -m * step * self._curvature(adjoint, slow)
            total += m * adjoint
            adjoint = adjoint + by_middle
            if m > 1:
                half = (m - 1) / 2
                total += half * by_middle
                adjoint = adjoint - half * step * self._curvature(by_middle, None)
        by_labels = step * self.rows.scores(total).to(total.dtype)
        if slow is not None:
            by_labels += step * sum(self.plan.leaps) * slow
        return by_labels

    def _gradient(self, theta: Tensor, weight: int) -> Tensor:
        """X^T (P - Y) at theta (l, k * r); its residual is to count `weight` times in the drift of the rest."""
        p = self._probabilities(theta)
        self.kept.append(p if self.keeps else theta)
        residual = p - self.y
        if self.drift is not None and weight:
            self.drift.add_(residual, alpha=weight)
        return self.rows.sums(residual.view(len(residual), -1), theta.dtype)

    def _curvature(self, adjoint: Tensor, slow: Tensor | None) -> Tensor:
        """X^T (P*V - P*rowsum(P*V)) with V = X adjoint, at the last place not yet gone back to."""
        last = self.kept.pop()
        p = last if self.keeps else self._probabilities(last)
        v = self.rows.scores(adjoint)
        if slow is not None:
            v += slow
        pv = p * v.view(p.shape)
        change = torch.addcmul(pv, p, pv.sum(1, keepdim=True), value=-1)
        return self.rows.sums(change.view(len(p), -1), adjoint.dtype)

    def _probabilities(self, theta: Tensor) -> Tensor:
        """softmax over classes of the scores: (n, k, r)."""
        scores = self.rows.scores(theta)
        if self.offset is not None:
            scores += self.offset
        return scores.view(self.y.shape).softmax(1)
