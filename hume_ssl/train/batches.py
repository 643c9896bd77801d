"""Which items each step takes: a function of the seed and the step alone, so that nothing has to be remembered."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


class Shuffled:
    """An endless stream of items in epochs, each a fresh permutation; sets smaller than a batch are tiled this way.

    Args:
        items: int64 (m,).
        seed: of the stream; epoch e is the permutation drawn from (seed, e).
    """

    def __init__(self, items: Tensor, seed: int) -> None:
        self.items = items
        self.seed = seed
        self._epoch = -1
        self._order = items[:0]

    def at(self, start: int, count: int) -> Tensor:
        """Items `start` to `start + count` of the stream, int64 (count,)."""
        parts = [self.items[:0]]
        while count > 0:
            epoch, offset = divmod(start, len(self.items))
            parts.append(self._permuted(epoch)[offset : offset + count])
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return torch.cat(parts)

    def _permuted(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            order = torch.randperm(len(self.items), generator=generator(self.seed, epoch))
            self._epoch, self._order = epoch, self.items[order]
        return self._order


def generator(seed: int, count: int) -> torch.Generator:
    """A CPU generator for what happens at the `count`-th time (step, epoch), whatever happened before."""
    drawn = np.random.SeedSequence([seed, count]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(drawn >> np.uint64(1)))


def spread(items: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` of the items, evenly spaced in their order."""
    if len(items) <= limit:
        return items
    return items[np.arange(limit) * len(items) // limit]


def chunks(items: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive parts of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
