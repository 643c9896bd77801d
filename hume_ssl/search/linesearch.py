"""Line search for many problems side by side: each has its own interval and step, all are evaluated together.

It is that of Moré and Thuente (1994), which L-BFGS in SciPy uses: a step is taken once it satisfies the strong Wolfe
conditions f(t) <= f(0) + 0.001 t f'(0) and |f'(t)| <= 0.9 |f'(0)|. Left out is their modified function for steps of
too little decrease, which matters only far from where a quasi-Newton step ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DECREASE, CURVATURE = 1e-3, 0.9
SLACK = 1e-6  # of |f(0)|: float32 sums cannot tell smaller differences
TRIALS = 20

Reals = NDArray[np.float64]
Which = NDArray[np.bool_]


class LineSearch:
    """Steps of p problems along a direction each; every array is (p,)."""

    def __init__(self, loss: Reals, slope: Reals, step: Reals) -> None:
        """`loss` and `slope` (negative) at 0, and the first step to try."""
        self.loss, self.slope, self.step = loss, slope, step.copy()
        zero = np.zeros_like(step)
        self.best = [zero.copy(), loss.copy(), slope.copy()]  # step with the least loss so far: step, loss, slope
        self.other = [zero.copy(), loss.copy(), slope.copy()]  # the other end of the interval, once there is one
        self.bracketed = np.zeros(len(step), dtype=bool)
        self.width = np.full((2, len(step)), np.inf)  # of the interval, one and two trials ago
        self.open = np.ones(len(step), dtype=bool)  # still searching

    def tell(self, loss: Reals, slope: Reals) -> None:
        """Loss and slope at `step`; afterwards `step` is the next one to try, or the one taken where not `open`."""
        enough = loss <= self.loss + DECREASE * self.step * self.slope + SLACK * np.abs(self.loss)
        with np.errstate(all="ignore"):
            self.open &= ~(enough & (np.abs(slope) <= CURVATURE * np.abs(self.slope)))
            trial = [self.step, loss, slope]
            step = self._interpolated(trial)
            higher = loss > self.best[1]
            turned = ~higher & (slope * self.best[2] < 0)
            for i in range(3):
                self.other[i] = np.where(higher, trial[i], np.where(turned, self.best[i], self.other[i]))
                self.best[i] = np.where(higher, self.best[i], trial[i])
            self.bracketed |= higher | turned
            now = np.abs(self.other[0] - self.best[0])
            halve = self.bracketed & (now >= 0.66 * self.width[1])
            step = np.where(halve, self.best[0] + 0.5 * (self.other[0] - self.best[0]), step)
            self.width = np.where(self.bracketed, np.stack([now, self.width[0]]), self.width)
            # An interval of no width left, or numbers gone bad: the best step found is the answer.
            narrow = self.bracketed & (now <= 0.1 * np.maximum(self.best[0], self.other[0]))
            self.step = np.where(self.open, np.where(narrow | ~np.isfinite(step), self.best[0], step), self.step)

    def _interpolated(self, trial: list[Reals]) -> Reals:
        """The next step from cubic, quadratic and secant steps through the best and the last one; four cases."""
        (at, f, slope), (low, f_low, slope_low) = trial, self.best
        cubic = _cubic(low, f_low, slope_low, at, f, slope)
        secant = at + slope / (slope - slope_low) * (low - at)
        quadratic = low + slope_low / ((f_low - f) / (at - low) + slope_low) / 2 * (at - low)
        near = np.abs(cubic - low) <= np.abs(quadratic - low)
        higher = np.where(near, cubic, (cubic + quadratic) / 2)
        farther = np.abs(cubic - at) > np.abs(secant - at)
        turned = np.where(farther, cubic, secant)
        # Same sign, flatter: beyond the trial, within 1.1 to 4 times the last stretch, or two thirds of the interval.
        least, most = at + 1.1 * (at - low), at + 4 * (at - low)
        beyond = np.where((cubic - at) * (at - low) > 0, cubic, most)
        outside = np.clip(np.where(np.abs(beyond - at) > np.abs(secant - at), beyond, secant), least, most)
        within = np.where(np.abs(beyond - at) < np.abs(secant - at), beyond, secant)
        third = at + 0.66 * (self.other[0] - at)
        within = np.where(at > low, np.minimum(third, within), np.maximum(third, within))
        flatter = np.where(self.bracketed, within, outside)
        steeper = np.where(self.bracketed, _cubic(self.other[0], self.other[1], self.other[2], at, f, slope), most)
        last = np.where(np.abs(slope) < np.abs(slope_low), flatter, steeper)
        return np.asarray(np.where(f > f_low, higher, np.where(slope * slope_low < 0, turned, last)))


def _cubic(a: Reals, f_a: Reals, slope_a: Reals, b: Reals, f_b: Reals, slope_b: Reals) -> Reals:
    """Where the cubic with these values and slopes at a and b has its minimum (Nocedal and Wright, eq. 3.59)."""
    first = slope_a + slope_b - 3 * (f_a - f_b) / (a - b)
    second = np.sign(b - a) * np.sqrt(np.maximum(first**2 - slope_a * slope_b, 0))
    minimum: Reals = b - (b - a) * (slope_b + second - first) / (slope_b - slope_a + 2 * second)
    return minimum
