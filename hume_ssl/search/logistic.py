"""Unregularised logistic regression for many labellings and folds at once, as scikit-learn fits one at a time.

L-BFGS (Liu and Nocedal, 1989; ten pairs of memory, as in SciPy) from zero. A problem is a labelling and a fold; the
weights of p problems in k classes are the rows of one product with the items X that all share, and a fold's left-out
items have weight zero in the residual. Along a direction the logits are linear in the step, so that the line search
costs no products: an iteration is two, direction @ X^T and residual @ X. Every problem has steps of its own and ends
where the largest component of its gradient is below 1e-4, scikit-learn's rule, or after 100 iterations.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.search.linesearch import TRIALS, LineSearch
from hume_ssl.search.steady import product_of_rows

ITERATIONS = 100  # scikit-learn's max_iter
TOLERANCE = 1e-4  # scikit-learn's tol
MEMORY = 10  # pairs of steps and changes of gradient
BLOCK = 1 << 17  # logits worked on at once: they stay in a core's cache


def held_out_hits(
    x: Tensor, labels: Tensor, folds: Tensor, k: int, dtype: torch.dtype, problems: int
) -> NDArray[np.int64]:
    """(r, f) left-out items that the classifier fitted to each labelling without a fold gets right.

    Args:
        x: (n, d), the last column ones: the intercept is as free as the weights.
        labels: (r, n) int64 classes 0..k-1. A class that a fold's other items lack is left out, as in scikit-learn.
        folds: (n,) int64, the fold 0..f-1 that leaves each item out.
        dtype: of the products; sums of them and all else are in float32 (float64 if the products are).
        problems: labellings times folds fitted side by side.
    """
    f = int(folds.max()) + 1
    learn = folds != torch.arange(f, device=x.device)[:, None]
    x = torch.nn.functional.pad(x, (0, -x.shape[1] % 32)).to(dtype)  # whole vectors
    hits = np.zeros(len(labels) * f, dtype=np.int64)
    for start in range(0, len(hits), problems):
        which = torch.arange(start, min(len(hits), start + problems), device=x.device)
        hits[start : start + problems] = _Batch(x, labels[which // f], learn[which % f], k).run()
    return hits.reshape(-1, f)


class _Batch:
    """p problems under way. Their order is the first axis everywhere, so that each is one stretch of memory."""

    def __init__(self, x: Tensor, labels: Tensor, learn: Tensor, k: int) -> None:
        """X (n, d); labels (p, n); learn (p, n) True for items that are learned from."""
        self.x = x
        p, n = labels.shape
        device, self.real = self.x.device, torch.float64 if self.x.dtype == torch.float64 else torch.float32
        self.labels, self.learn = labels[:, None], learn[:, None]
        self.share = (learn / learn.sum(1, keepdim=True)).to(self.real)[:, None]  # (p, 1, n) weights of the mean loss
        seen = torch.zeros(p, k, device=device).scatter_add_(1, labels, learn.float())
        absent = torch.where(seen > 0, 0.0, -1e30).to(self.real)
        self.z = absent[:, :, None].expand(p, k, n).contiguous()
        self.residual = torch.empty(p, k, n, dtype=self.x.dtype, device=device)
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # step s, change of gradient y, both (p, k d); 1 / (s.y)
        self.hits = np.zeros(p, dtype=np.int64)
        self.numbers = np.arange(p)  # which problem each row is
        self.alive = np.ones(p, dtype=bool)

    def run(self) -> NDArray[np.int64]:
        """(p,) left-out items each fitted classifier gets right."""
        loss, _ = self._move(np.arange(len(self.numbers)), None, np.zeros(len(self.numbers)))
        gradient = self._gradient()
        for iteration in range(ITERATIONS + 1):
            self.alive &= (gradient.abs().amax(1) > TOLERANCE).cpu().numpy()
            if iteration == ITERATIONS or not self.alive.any():
                break
            if self.alive.sum() <= 0.85 * len(self.alive):
                kept = self._leave()
                gradient, loss = gradient[kept], loss[kept.cpu().numpy()]
            direction = self._direction(gradient)
            slope = _dots(direction, gradient).double().cpu().numpy()
            rounded = direction.view(-1, self.x.shape[1]).to(self.x.dtype)
            # The step is remembered as rounded: pairs must belong to the logits that are there.
            direction = rounded.to(self.real).view(direction.shape)
            along = product_of_rows(rounded, self.x.T).view(self.z.shape)
            first = np.ones(len(slope)) if iteration else 1 / np.sqrt(np.maximum(-slope, 1e-300))
            taken, loss = self._search(along, loss, slope, first)
            before, gradient = gradient, self._gradient()
            self._remember(direction.mul_(torch.from_numpy(taken).to(gradient)[:, None]), gradient - before)
        self._count(np.arange(len(self.numbers)))
        return self.hits

    def _search(
        self, along: Tensor, loss: NDArray[np.float64], slope: NDArray[np.float64], first: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(p,) steps taken along the directions, and losses there; the logits have moved. Ended problems stay."""
        self.alive &= slope < 0  # else no descent is left within rounding
        at, new, slopes = np.zeros_like(loss), loss.copy(), slope.copy()
        line = LineSearch(loss, slope, np.where(self.alive, first, 0.0))
        line.open &= self.alive
        for trial in range(TRIALS):
            again = np.flatnonzero(line.open)
            if not len(again):
                break
            if trial == TRIALS - 1:
                line.step = np.where(line.open, line.best[0], line.step)
            new[again], slopes[again] = self._move(again, along, (line.step - at)[again])
            at = line.step.copy()
            line.open &= ~((line.step == line.best[0]) & (trial > 0))  # back at the best step known: taken as it is
            line.tell(new, slopes)
        return at, new

    def _move(
        self, which: NDArray[np.int64], along: Tensor | None, change: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Move the logits of some problems, (m,), by `change` (m,) times `along` (p, k, n), and set their residuals.

        Returns their (m,) mean losses and slopes there.
        """
        step = torch.from_numpy(change).to(self.z)[:, None, None]
        total = torch.zeros(2, len(which), dtype=self.real, device=self.z.device)
        size = max(1, BLOCK // self.z[0].numel()) if self.z.device.type == "cpu" else len(which)
        for start in range(0, len(which), size):
            stop = min(len(which), start + size)
            rows: slice | Tensor = slice(int(which[start]), int(which[stop - 1]) + 1)
            if which[stop - 1] - which[start] != stop - 1 - start:  # not side by side
                rows = torch.from_numpy(which[start:stop]).to(self.z.device)
            z, label, share = self.z[rows], self.labels[rows], self.share[rows]
            if along is not None:
                ahead = along[rows].to(self.real)
                z = z.add_(ahead * step[start:stop])
                if not isinstance(rows, slice):
                    self.z[rows] = z
            top = z.amax(1, keepdim=True)
            p = (z - top).clamp_(min=-70).exp_()
            mass = p.sum(1, keepdim=True)
            loss = (mass.log() + top - z.gather(1, label)) * share
            p.mul_(share / mass).scatter_add_(1, label, -share)
            total[0, start:stop] = loss.sum((1, 2))
            if along is not None:
                total[1, start:stop] = _dots(ahead.flatten(1), p.flatten(1))
            self.residual[rows] = p.to(self.residual.dtype)
        loss, slope = total.double().cpu().numpy()
        return loss, slope

    def _gradient(self) -> Tensor:
        """(p, k d) of the mean losses."""
        return product_of_rows(self.residual.view(-1, len(self.x)), self.x).to(self.real).view(len(self.z), -1)

    def _direction(self, gradient: Tensor) -> Tensor:
        """(p, k d) minus the gradient times the inverse Hessian that the remembered pairs stand for (two loops)."""
        direction = -gradient
        size = max(1, BLOCK // gradient.shape[1]) if gradient.device.type == "cpu" else len(gradient)
        for start in range(0, len(direction) if self.pairs else 0, size):
            pairs = [tuple(part[start : start + size] for part in pair) for pair in self.pairs]
            q = direction[start : start + size]
            shares = []
            for s, y, rho in reversed(pairs):
                shares.append(rho * _dots(s, q)[:, None])
                q -= y * shares[-1]
            s, y, rho = pairs[-1]
            q *= torch.where(rho > 0, 1 / (rho * _dots(y, y)[:, None]).clamp(min=1e-37), 1)
            for (s, y, rho), share in zip(pairs, reversed(shares), strict=True):
                q += s * (share - rho * _dots(y, q)[:, None])
        return direction

    def _remember(self, s: Tensor, y: Tensor) -> None:
        """Keep a pair. Where it has no positive curvature its weight is zero, which leaves it out."""
        product = _dots(s, y)[:, None]
        self.pairs = [*self.pairs[-MEMORY + 1 :], (s, y, torch.where(product > 0, 1 / product, 0))]

    def _leave(self) -> Tensor:
        """Take ended problems out of the batch; the rows kept."""
        self._count(np.flatnonzero(~self.alive))
        index = torch.from_numpy(np.flatnonzero(self.alive)).to(self.z.device)
        for name in ("z", "residual", "labels", "learn", "share"):
            setattr(self, name, getattr(self, name)[index])
        self.pairs = [(s[index], y[index], rho[index]) for s, y, rho in self.pairs]
        self.numbers, self.alive = self.numbers[self.alive], self.alive[self.alive]
        return index

    def _count(self, rows: NDArray[np.int64]) -> None:
        """Count the hits of some problems."""
        for row in rows:
            right = (self.z[row].argmax(0) == self.labels[row, 0]) & ~self.learn[row, 0]
            self.hits[self.numbers[row]] = int(right.sum())


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """(p,) inner products of the rows of two (p, m)."""
    return (a * b).sum(1)
