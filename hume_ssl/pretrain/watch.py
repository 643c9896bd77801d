"""Figures of a running self-supervised training, none of which needs a label: does it learn, and has it collapsed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

COLLAPSED = 0.1  # of `spread`: below it hardly anything tells items apart
CHUNK = 1024


def spread(z: Tensor) -> float:
    """How far features (n, d) point in different directions: 0 = all in one (collapsed), 1 = evenly in all.

    The mean standard deviation of a coordinate over rows at unit norm, times sqrt(d): lightly's `std_of_l2_normalized`
    (arXiv:2011.10566, figure 2) in units of what an isotropic Gaussian gives.
    """
    return float(nnf.normalize(z.double(), dim=1).std(0).mean() * z.shape[1] ** 0.5)


def effective_rank(z: Tensor) -> float:
    """Directions that centred rows (n, d) at unit norm really use: exp of the entropy of their singular values
    (Roy and Vetterli, 2007); 1 = a line, d = all alike. A training can keep its spread in a few of them."""
    rows = nnf.normalize(z.double(), dim=1)
    values = torch.linalg.svdvals(rows - rows.mean(0))
    if float(values.sum()) <= 1e-9:
        return 1.0
    share = values / values.sum()
    return float(torch.exp(-(share * share.clamp_min(1e-300).log()).sum()))


def found_again(first: Tensor, second: Tensor) -> float:
    """Share of items whose view is nearest to the other view of the same item, among those of all, by cosine.

    1/n = chance, 1 = every item is known again under all that the views do to it.

    Args:
        first, second: (n, d), features of two views of n items.
    """
    one, other = nnf.normalize(first.float(), dim=1), nnf.normalize(second.float(), dim=1)
    hits = 0
    for start in range(0, len(one), CHUNK):
        nearest = (one[start : start + CHUNK] @ other.T).argmax(1).cpu()
        hits += int((nearest == torch.arange(start, start + len(nearest))).sum())
    return hits / len(one)


def figures(first: Tensor, second: Tensor) -> dict[str, float]:
    """All of them, from features (n, d) of two views of n items."""
    aligned = nnf.cosine_similarity(first.double(), second.double()).mean()
    return {
        "found_again": found_again(first, second),
        "alignment": float(aligned),
        "spread": spread(first),
        "effective_rank": effective_rank(first),
    }
