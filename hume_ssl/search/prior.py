"""How large the classes of a labelling should be: the term that keeps them from becoming one.

Without it the trivial labelling, one class for all, would have the lowest cross-entropy. HUME's term, -H * entropy of
the mean label, draws all classes to one size. Where the user knows the sizes it is H * KL(mean label || shares), which
for equal shares is HUME's up to a constant.

Where nobody knows the sizes, the term is HUME's with a smaller weight, above a floor that no class may fall below. How
much smaller follows from the data: a few searches are run at each of three weights, and the run goes on with the one
whose labellings the judge space predicts best, as a share of what there is to predict (`explained`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.search.inner import entropy_gradient

Prior = Literal["uniform", "free"] | tuple[float, ...]
UNIFORM: Literal["uniform"] = "uniform"

# "free", chosen on 1 : 10 and balanced subsets of digits and cifar10-dev:
STRENGTHS = (1.0, 0.3, 0.1)  # factors on the entropy weight that are tried
TRIED = 10  # searches at each, or one batch where that has fewer
FLOOR, FLOOR_PULL = 0.1, 10.0  # of an even share, 1/k; how many times the entropy's weight holds a class above it


def size_gradient(mean: Tensor, weight: float, n: int, prior: Prior) -> Tensor:
    """Derivative of the term by each of the n labels in the mean: (k, r) from the mean label (k, r).

    Args:
        mean: mean label of each of r searches, columns on the simplex.
        weight: H.
        prior: "uniform": -H * entropy(mean); k shares, the largest first: H * KL(mean || shares), the shares going to
            the classes by rank; "free": the entropy's and, of each class of share p below f = 0.1/k,
            10 H (p log(p/f) - p + f), which is 0 at f and above.

    Returns:
        0 where a class is empty: sparsemax keeps it empty there, and log 0 is kept out.
    """
    gradient = entropy_gradient(mean, weight, n)
    if isinstance(prior, tuple):
        gradient -= torch.where(mean > 0, ranked(mean, prior).log(), 0) * (weight / n)
    elif prior == "free":
        low = torch.where(mean > 0, mean * (len(mean) / FLOOR), 1).clamp(max=1)
        gradient += low.log() * (FLOOR_PULL * weight / n)
    return gradient


def ranked(mean: Tensor, shares: tuple[float, ...]) -> Tensor:
    """(k, r) the share each class is to have: the largest for the class that is largest now, and so on; of equals the
    first is the larger.

    Of all ways to give k shares to k classes this one has the lowest KL(mean || shares), by the rearrangement
    inequality: a search need not be told which of its classes is which.
    """
    rank = mean.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
    return torch.tensor(shares, dtype=mean.dtype, device=mean.device)[rank]


def explained(objective: NDArray[np.float64], labellings: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """(r,) share of a labelling's entropy that the judge space's classifier predicts on held-out items, at most 1.

    1 - CE/entropy of the hard labels, a bound on their mutual information with the judge space over their entropy
    (Theil's uncertainty coefficient). Objectives of labellings with different sizes cannot be compared: the more uneven
    the classes, the less there is to predict. 0 = no better than knowing the sizes alone.

    Args:
        objective: (r,) held-out cross-entropy in nats.
        labellings: (r, m) classes 0..k-1 of the train items.
    """
    shares = np.stack([np.bincount(labelling, minlength=k) for labelling in labellings]) / labellings.shape[1]
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logs).sum(1)
    found: NDArray[np.float64] = 1 - objective / np.maximum(entropy, 1e-12)
    return found
