"""Which searches are heard, and how loudly: who is left out and why, and the weights of the others. No truth needed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Figures = NDArray[np.float64]
Weighting = Literal["equal", "objective", "score", "stability"]

ALONE = 0.5  # of the median stability: a search below agrees with the others no better than by half of what is usual
SHARPNESS = 6.0  # where all searches agree, one half-way down the order weighs exp(-6) of the best
ROUNDING = 1e-6  # of a figure: what lies no further apart is one figure, worked out in float32


def left_out(classes_found: NDArray[np.integer[Any]], stability: Figures, k: int) -> list[str]:
    """(r,) why a search is left out of matching, votes and agreement; "" where it is not.

    Collapsed: it has fewer classes than others do. Alone: its stability is below half of the median of the whole ones.
    Where fewer than half of the searches have as many classes as any, none is left out: too few to say who is right.

    Args:
        classes_found: (r,) classes each search has among train items.
        stability: (r,) mean adjusted Rand index with the other searches, from `stability`.
        k: classes asked for.
    """
    reasons = [""] * len(classes_found)
    most = int(classes_found.max())
    whole = classes_found == most
    if 2 * np.count_nonzero(whole) < len(whole):
        return reasons
    for search in np.flatnonzero(~whole):
        reasons[search] = f"collapsed: {classes_found[search]} of {k} classes"
    usual = float(np.median(stability[whole]))
    for search in np.flatnonzero(whole & (stability < ALONE * usual)) if usual > 0 else ():  # 0 or less: all differ
        reasons[search] = f"alone: ARI {stability[search]:.2f} with the others, where {usual:.2f} is usual"
    return reasons


def vote_weights(
    weighting: Weighting, heard: NDArray[np.bool_], objective: Figures, scores: Figures, stability: Figures
) -> Figures:
    """(r,) how much the vote of each search counts, at most 1, the best search's weight; 0 for those not heard.

    "equal" is the paper. By a figure, w = exp(-6 s (best - x) / (best - median)), with s the mean stability, best and
    median over those heard. The scale of the figure falls out. Where searches agree on most (s near 1), what they share
    they share in their errors too, and the best few decide; where they differ (s near 0), each errs in its own way,
    which votes even out, and all count. Where half of the searches share the best figure, they weigh alike and the
    others next to nothing.

    Args:
        weighting: "equal", or the figure: "objective" (lower is better), "score" (generalization score), "stability".
        heard: (r,) False for searches left out.
        objective, scores, stability: (r,) each.
    """
    if weighting == "equal":
        return heard.astype(np.float64)
    figure = {"objective": -objective, "score": scores, "stability": stability}[weighting]
    best, median = float(figure[heard].max()), float(np.median(figure[heard]))
    sharpness = SHARPNESS * max(0.0, float(stability[heard].mean()))
    if sharpness == 0:
        return np.where(np.isfinite(best), heard, np.nan)
    span = max(best - median, ROUNDING * max(abs(best), abs(median)), float(np.finfo(np.float64).tiny))
    with np.errstate(over="ignore"):
        weights = np.exp(-sharpness * (best - np.where(heard, figure, best)) / span)
    return np.where(heard, weights, 0.0)
