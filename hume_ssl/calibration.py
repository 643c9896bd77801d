"""Whether agreement says how often the consensus is right: items counted in bins of agreement (a reliability diagram).

Three witnesses are counted alike: the agreement of the searches, the neighbour agreement, and the weaker of the two,
by which items are ranked. How many items lie in a bin needs no truth and is what `select` prints; how many of them are
right is known to `evaluate` alone.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]
Mask = NDArray[np.bool_]

# (above, up to]: what is not reliable in one bin, tenths above it, and unanimity, the commonest value, by itself.
EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BINS = (*pairwise(EDGES), (1.0, 1.0))
NAMES = ("up to 0.5", *(f"to {high}" for _, high in BINS[1:5]), "below 1", "exactly 1")
WITNESSES = {"agreement": "searches", "neighbour_agreement": "neighbours", "weaker": "weaker of both"}


def bin_of(shares: Shares) -> NDArray[np.int64]:
    """(n,) which of `BINS` each share lies in: 0 = up to 0.5 included, 5 = above 0.9 and below 1, 6 = exactly 1.

    A share within 1e-9 of an edge counts as that edge, since sums of weights need not come out round.
    """
    rounded = np.round(np.asarray(shares, dtype=np.float64), 9)
    return np.searchsorted(EDGES[1:-1], rounded, side="left") + (rounded >= 1)


def agreement_bins(shares: Shares) -> list[dict[str, Any]]:
    """How many of the items with these shares (n,) lie in each bin: {"from", "to", "n"} each, seven of them."""
    counts = np.bincount(bin_of(shares), minlength=len(BINS))
    return [{"from": low, "to": high, "n": int(n)} for (low, high), n in zip(BINS, counts, strict=True)]


def reliability(shares: Shares, right: Mask) -> dict[str, Any]:
    """How many items of each bin are right, and how far shares are from that on the whole.

    Args:
        shares: (n,) agreement of items with a known truth, in [0, 1].
        right: (n,) whether the consensus class of each is the true one.

    Returns:
        {"bins": seven of {"from", "to", "n", "right", "accuracy" right / n, "mean_agreement" mean share}, "ece"}, with
        None where there is nothing to count. "ece" is the expected calibration error (Naeini et al., 2015, AAAI): the
        mean over items of the distance between accuracy and mean share of their bin; 0 = a share of 0.8 means 80 %
        right, 0.1 = it is ten points off on average, to whichever side.
    """
    place = bin_of(shares)
    n = np.bincount(place, minlength=len(BINS))
    hits = np.bincount(place, right, minlength=len(BINS))
    sums = np.bincount(place, shares, minlength=len(BINS))
    rows = []
    for (low, high), count, hit, total in zip(BINS, n, hits, sums, strict=True):
        some = count > 0
        rows.append(
            {
                "from": low,
                "to": high,
                "n": int(count),
                "right": int(hit),
                "accuracy": float(hit / count) if some else None,
                "mean_agreement": float(total / count) if some else None,
            }
        )
    return {"bins": rows, "ece": float(np.abs(hits - sums).sum() / n.sum()) if n.sum() else None}


def calibration(agreement: Shares, neighbour_agreement: Shares, right: Mask) -> dict[str, Any]:
    """`reliability` by each witness: {"agreement", "neighbour_agreement", "weaker"}; all arguments are (n,)."""
    witnesses = (agreement, neighbour_agreement, np.minimum(agreement, neighbour_agreement))
    return {name: reliability(shares, right) for name, shares in zip(WITNESSES, witnesses, strict=True)}


def bins_table(agreement: Shares, neighbour_agreement: Shares) -> list[str]:
    """Lines for a person: how many items lie in each bin, by each witness; both arguments are (n,)."""
    lines = [f"{'items by share':14}" + "".join(f"{name:>10}" for name in NAMES)]
    shares = (agreement, neighbour_agreement, np.minimum(agreement, neighbour_agreement))
    for name, values in zip(WITNESSES.values(), shares, strict=True):
        lines.append(f"{name:14}" + "".join(f"{row['n']:>10,}" for row in agreement_bins(values)))
    return lines


def calibration_table(figures: dict[str, Any]) -> list[str]:
    """Lines for a person: items and the share of them that is right, by bin and witness; `figures` of `calibration`."""
    lines = [f"{'share who agree':17}" + "".join(f"{WITNESSES[name]:>20}" for name in figures)]
    lines.append(f"{'':17}" + f"{'items':>11}{'right':>9}" * len(figures))
    for row, name in enumerate(NAMES):
        cells = [value["bins"][row] for value in figures.values()]
        lines.append(f"{name:17}" + "".join(f"{cell['n']:>11,}{_share(cell['accuracy']):>9}" for cell in cells))
    return [*lines, f"{'error (ECE)':17}" + "".join(f"{_share(value['ece']):>20}" for value in figures.values())]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
