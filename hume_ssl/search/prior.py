"""How large the classes of a labelling should be: the term that keeps them from becoming one.

Without it the trivial labelling, one class for all, would have the lowest cross-entropy. HUME's term, -H * entropy of
the mean label, draws all classes to one size. Where the user knows the sizes it is H * KL(mean label || shares), which
for equal shares is HUME's up to a constant.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hume_ssl.search.inner import entropy_gradient

Prior = Literal["uniform", "free"] | tuple[float, ...]
UNIFORM: Literal["uniform"] = "uniform"


def size_gradient(mean: Tensor, weight: float, n: int, prior: Prior) -> Tensor:
    """Derivative of the term by each of the n labels in the mean: (k, r) from the mean label (k, r).

    Args:
        mean: mean label of each of r searches, columns on the simplex.
        weight: H.
        prior: "uniform": -H * entropy(mean); k shares, the largest first: H * KL(mean || shares), the shares going to
            the classes by rank.

    Returns:
        0 where a class is empty: sparsemax keeps it empty there, and log 0 is kept out.
    """
    gradient = entropy_gradient(mean, weight, n)
    if isinstance(prior, tuple):
        gradient -= torch.where(mean > 0, ranked(mean, prior).log(), 0) * (weight / n)
    return gradient


def ranked(mean: Tensor, shares: tuple[float, ...]) -> Tensor:
    """(k, r) the share each class is to have: the largest for the class that is largest now, and so on; of equals the
    first is the larger.

    Of all ways to give k shares to k classes this one has the lowest KL(mean || shares), by the rearrangement
    inequality: a search need not be told which of its classes is which.
    """
    rank = mean.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
    return torch.tensor(shares, dtype=mean.dtype, device=mean.device)[rank]
