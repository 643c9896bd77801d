"""How large the classes of a labelling should be: the term that keeps them from becoming one.

Without it the trivial labelling, one class for all, would have the lowest cross-entropy. HUME's term, -H * entropy of
the mean label, draws all classes to one size. Where the user knows the sizes it is H * KL(mean label || shares), which
for equal shares is HUME's up to a constant.

Where nobody knows the sizes, the term is HUME's with a smaller weight, above a floor that no class may fall below. How
much smaller follows from the data: a few searches are run at each of three weights, and the run goes on with the one
whose classes lie most clearly apart in the judge space (`silhouettes`), if they do so by a margin: objectives and
generalization scores of labellings with different sizes cannot be compared, as uneven classes are easier to predict.
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

# "free": strengths and margin are chosen on 17 subsets of digits, usps and cifar10-dev, 1 : 10 and balanced.
STRENGTHS = (1.0, 0.3, 0.1)  # factors on the entropy weight that are tried
TRIED = 10  # searches at each, or one batch where that has fewer
# How far the silhouette has to be above the uniform prior's: on balanced digits 1.036 would have cost eight points of
# accuracy; balanced sets above the margin (digits 1.043, cifar10-dev 1.053) lost one.
MARGIN = 1.04
ITEMS = 20_000  # train items that the silhouette is measured on, evenly spread, where there are more
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


def silhouettes(rows: Tensor, labellings: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """(r,) mean over items of (b - a)/max(a, b): a is the distance to the mean of the item's own class, b to the
    nearest mean of another (the simplified silhouette of Hruschka, de Castro and Campello, 2004).

    From -1 to 1: 1 = every item lies on the mean of its class, 0 = no nearer to it than to another. An item alone in
    its class, like a labelling of one class, counts 0.

    Args:
        rows: (m, d) judge space.
        labellings: (r, m) classes 0..k-1.
    """
    found = np.zeros(len(labellings))
    for place, labelling in enumerate(labellings):
        labels = torch.from_numpy(labelling.astype(np.int64)).to(rows.device)
        counts = torch.bincount(labels, minlength=k)
        if int((counts > 0).sum()) < 2:
            continue
        means = torch.zeros(k, rows.shape[1], dtype=rows.dtype, device=rows.device).index_add_(0, labels, rows)
        distances = torch.cdist(rows, means / counts.clamp(min=1)[:, None])
        distances[:, counts == 0] = torch.inf
        own = distances.gather(1, labels[:, None])[:, 0]
        other = distances.scatter(1, labels[:, None], torch.inf).amin(1)
        share = (other - own) / torch.maximum(own, other).clamp_min(torch.finfo(rows.dtype).tiny)
        found[place] = float(torch.where(counts[labels] > 1, share, 0).double().mean())
    return found
