"""Class sizes of a consensus, and whether the searches agree about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus.align import align

Labels = NDArray[np.integer[Any]]

SEARCHES = 25  # searches whose sizes are compared, evenly spread: matching many classes takes time
# Coefficient of variation of a class's size from which searches are said to disagree about it. On digits, usps and
# cifar10-dev, three seeds each, no class of the uniform prior's searches was above 0.12.
DISAGREE = 0.3


@dataclass(frozen=True)
class Sizes:
    """Train items of each class, and how far that differs from search to search."""

    items: NDArray[np.int64]  # (k,) in the consensus
    mean: NDArray[np.float64]  # (k,) in the searches
    variation: NDArray[np.float64]  # (k,) standard deviation over mean of the sizes in the searches; 0 = all equal

    @property
    def disputed(self) -> NDArray[np.bool_]:
        """(k,) whether the searches disagree about a class's size: a variation of 0.3 or more, and more than counting
        so few items would make by itself."""
        return np.asarray((self.variation >= DISAGREE) & (self.variation * self.mean > np.sqrt(self.mean)))


def class_sizes(
    labellings: Labels, labels: Labels, k: int, train: NDArray[np.bool_], asked: NDArray[np.integer[Any]]
) -> Sizes:
    """Sizes among train items, in the consensus and in up to 25 of the searches asked, matched to it.

    Args:
        labellings: (r, n) as found.
        labels: (n,) the consensus.
        train: (n,) True for train items.
        asked: which of the searches; those whose votes weigh most.
    """
    some = asked[np.linspace(0, len(asked) - 1, min(SEARCHES, len(asked))).astype(np.int64)]
    matched = align(labellings[some], labels, k, train)
    counts = np.array([np.bincount(one[train], minlength=k) for one in matched], dtype=np.float64)
    mean = counts.mean(0)
    variation = np.divide(counts.std(0), mean, out=np.zeros(k), where=mean > 0)
    return Sizes(np.bincount(labels[train], minlength=k).astype(np.int64), mean, variation)
