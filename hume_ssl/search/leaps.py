"""How the inner descent is walked: every step, or several at once where the steps are tiny, to a stated error.

The published inner problem takes 300 steps of 0.001. In most spaces a step then changes next to nothing: along a
direction of the judge space with mean square lambda, the residual softmax(X theta) - Y shrinks by at most a share
x = eta lambda / 2 a step (1/2 bounds the softmax's Jacobian). Two savings follow; both are exact in the limit.

Leaps. m steps are taken at once from the gradient in the middle of them,
    theta_mid = theta - (m - 1)/2 eta g(theta),    theta' = theta - m eta g(theta_mid),
which is gradient descent's own m steps up to third order in m x (m = 1 is one step, exactly). Over all t steps the
relative error is, to leading order, at most min(t x, 1) (m x)^2 / 6.

Rotation. Along directions that move little even in all t steps, the logits keep the random start they have: only the
l leading directions are walked, the others are moved once, at the end, by the residuals added up on the way. What is
neglected is their feedback on those residuals, to leading order at most a share t x / 2 with x of the largest direction
left out. Measured errors are smaller: near uniform labels the softmax's Jacobian is about 1/k, not 1/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hume_ssl.search.steady import one_thread

SAFETY = 1.25  # a subset's directions may be that much larger than those of the items the spectrum was measured on
FIXED_COST = 3.0  # full-width products that a rotated descent needs beyond an unrotated one's


@dataclass(frozen=True)
class Plan:
    """How to walk one descent.

    Attributes:
        lr: eta, the size of a step.
        leaps: steps taken at once, in order; they sum to the number of steps.
        leading: (d, l) orthonormal directions that are walked, or None for all.
        error: bound, to leading order and without rounding, on the relative error of the derivative by the labels; 0 =
            every step, in every direction.
    """

    lr: float
    leaps: tuple[int, ...]
    leading: Tensor | None = None
    error: float = 0.0

    @property
    def evaluations(self) -> int:
        """Gradients taken on the way forward."""
        return sum(1 + (m > 1) for m in self.leaps)


def every_step(steps: int, lr: float) -> Plan:
    """The descent as it is written."""
    return Plan(lr, (1,) * steps)


def spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squares (d,) of the directions of the rows (n, d), largest first, and the directions (d, d), as columns."""
    rows = x.double()
    gram = rows.T @ rows / len(rows)
    with one_thread():
        values, vectors = torch.linalg.eigh(gram)
    return values.flip(0).clamp_min(0), vectors.flip(1)


def plan(steps: int, lr: float, tolerance: float, values: Tensor, directions: Tensor) -> Plan:
    """The cheapest walk whose error bound is at most `tolerance`.

    Args:
        steps, lr: of the descent.
        tolerance: relative error allowed in the derivative; half of it for leaps, half for rotation. 0: every step.
        values, directions: from `spectrum`.
    """
    if tolerance <= 0:
        return every_step(steps, lr)
    rates = (SAFETY * lr / 2 * values).tolist()  # x of each direction
    longest = longest_leap(steps, rates[0], tolerance / 2)
    leaps = _even(steps, longest)
    error = leap_error(steps, rates[0], max(leaps))
    walked = Plan(lr, leaps, None, error)
    width = next((place for place, x in enumerate(rates) if steps * x / 2 <= tolerance / 2), len(rates))
    width = max(1, width)  # products need one direction at least
    if width >= len(rates) or walked.evaluations * (1 - width / len(rates)) <= FIXED_COST:
        return walked
    return Plan(lr, leaps, directions[:, :width].contiguous(), error + steps * rates[width] / 2)


def leap_error(steps: int, rate: float, leap: int) -> float:
    """Bound on the relative error of leaps of `leap` steps, where the residual shrinks by `rate` a step."""
    return min(steps * rate, 1) * (leap * rate) ** 2 / 6 if leap > 1 else 0.0


def longest_leap(steps: int, rate: float, tolerance: float) -> int:
    """The most steps at once whose `leap_error` is at most `tolerance`."""
    if rate <= 0:
        return steps
    return max(1, min(steps, int(math.sqrt(6 * tolerance / min(steps * rate, 1)) / rate)))


def _even(steps: int, longest: int) -> tuple[int, ...]:
    """`steps` in as few leaps as possible, of lengths that differ by one at most; single steps where these cost no more
    gradients, of which a leap takes two."""
    count = -(-steps // longest)
    if 2 * count >= steps:
        return (1,) * steps
    short, longer = divmod(steps, count)
    return (short + 1,) * longer + (short,) * (count - longer)
