"""The views of one step after another, made where the network runs or ahead of it by worker processes.

Everything random about step t comes from a generator of its own, made from (seed, t). So worker processes give the same
views as none, a resumed run the same as an uninterrupted one, and each of several ranks can draw for the whole batch
and make the views of its own part alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hume_ssl.train.batches import Shuffled, generator
from hume_ssl.train.sources import Source
from hume_ssl.workers import begin_worker

AHEAD = 4  # steps that each worker prepares


class Batch(NamedTuple):
    """One step: items (b,) and (u,) of the whole batch; views of this process's share of them, (b', ...), (u', ...)."""

    labelled: Tensor
    unlabelled: Tensor
    weak_labelled: Tensor
    weak: Tensor
    strong: Tensor


class Steps(Dataset[Batch]):
    """Step number -> its batch.

    Args:
        source: of the views.
        labelled: int64 (m,), labelled items.
        pool: int64 (p,), items to draw unlabelled ones from.
        b: labelled items a step.
        u: unlabelled items a step; 0 where nothing is learned from them.
        seed: of the order of the items and of the views.
        share: of how many processes, and which: (number, world).
    """

    def __init__(
        self, source: Source, labelled: Tensor, pool: Tensor, *, b: int, u: int, seed: int, share: tuple[int, int]
    ) -> None:
        first, second, views = (int(s) for s in np.random.SeedSequence([seed, 1]).generate_state(3))
        self.source, self.b, self.u = source, b, u
        self.labelled, self.pool = Shuffled(labelled, first), Shuffled(pool, second)
        self.seed = views
        self.parts = part(b, *share), part(u, *share)

    def __getitem__(self, step: int) -> Batch:
        with_label, without = self.labelled.at(step * self.b, self.b), self.pool.at(step * self.u, self.u)
        drawn = generator(self.seed, step)
        (x,) = self.source.views(with_label, ("weak",), drawn, self.parts[0])
        weak, strong = self.source.views(without, ("weak", "strong"), drawn, self.parts[1])
        return Batch(with_label, without, x, weak, strong)


def part(count: int, number: int, world: int) -> slice:
    """The rows that process `number` of `world` takes of `count`; `count` is a multiple of `world`."""
    return slice(number * count // world, (number + 1) * count // world)


def feed(steps: Steps, first: int, last: int, workers: int) -> Iterator[Batch]:
    """The batches of steps `first` to `last - 1` in order; `workers` processes make them ahead of time."""
    if workers == 0:
        yield from (steps[step] for step in range(first, last))
        return
    loader = DataLoader(
        steps,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_arrays,  # type: ignore[arg-type]  # without batching it is given one Batch, not a list
        worker_init_fn=begin_worker,
    )
    for arrays in loader:
        yield Batch(*(torch.from_numpy(array) for array in arrays))


def _as_arrays(batch: Batch) -> tuple[np.ndarray, ...]:
    """numpy, since a tensor would travel through shared memory, of which a container has 64 MB by default."""
    return tuple(tensor.numpy() for tensor in batch)
