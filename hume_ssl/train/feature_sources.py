"""What a head is trained on: stored views of a frozen encoder, or a space with noise for its views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.train.batches import chunks, spread
from hume_ssl.train.devices import send
from hume_ssl.train.sources import RESIDENT, Kind

Rows = Callable[[NDArray[np.int64]], NDArray[Any]]  # items (b,) -> vectors (b, d)
ASKED, AMONG, NEAR = 1024, 16_384, 5  # items whose neighbours are looked up, items that they are looked up among, k
_CHUNK = 4096


class ViewSource:
    """Views that were embedded before (:mod:`hume_ssl.train.feature_views`): a random one of an item's own each time.

    Features that are never negative, as after a ReLU, are replaced by their square roots: few of them are large, and
    these would outweigh all others.

    Args:
        views: (n, 1 + weak + strong, d), perhaps memory-mapped: of each item the plain image, weak and strong views.
        weak: how many of them are weak ones.
        device: where vectors come out.
    """

    def __init__(self, views: NDArray[Any], weak: int, device: torch.device) -> None:
        self.device = device
        self.n = len(views)
        self.shape: tuple[int, ...] = (int(views.shape[2]),)
        self._views = views
        self._resident = torch.from_numpy(np.array(views)).to(device) if views.nbytes <= RESIDENT else None
        # of each kind: its first view, and how many there are
        self._range = {"weak": (1, weak), "strong": (1 + weak, views.shape[1] - 1 - weak)}
        self.rooted = never_negative(views)

    def plain(self, items: Tensor) -> Tensor:
        """float32 (b, d): of the images as they are."""
        return self._take(items, torch.zeros_like(items))

    def views(
        self, items: Tensor, kinds: tuple[Kind, ...], generator: torch.Generator, part: slice = slice(None)
    ) -> tuple[Tensor, ...]:
        """float32 (b, d) for each kind."""
        made = []
        for kind in kinds:
            first, count = self._range[kind]
            which = first + torch.randint(count, (len(items),), generator=generator)
            made.append(self._take(items[part], which[part]))
        return tuple(made)

    def statistics(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (d,) of the plain images of `items`, float64."""
        return moments(lambda some: self.plain(torch.from_numpy(some)).cpu().numpy(), items)

    def _take(self, items: Tensor, which: Tensor) -> Tensor:
        if self._resident is not None:
            vectors = self._resident[send(items, self.device), send(which, self.device)].float()
        else:
            taken = self._views[items.numpy(), which.numpy()]
            vectors = send(torch.from_numpy(np.ascontiguousarray(taken)), self.device).float()
        return vectors.clamp_min(0).sqrt() if self.rooted else vectors  # a view may be where no plain image is


class NoisySource:
    """A space as it is for the weak view, with Gaussian noise for the strong one.

    The noise is as long in each direction as the differences between near neighbours are, times `noise`: what tells
    neighbours apart is what a classifier may best do without.

    Args:
        space: (n, d), perhaps memory-mapped.
        train: (n,) the items that neighbours are looked up among.
        noise: 1 = as much as from an item to a near one; 0 = none.
        device: where vectors come out.
    """

    def __init__(self, space: NDArray[Any], train: NDArray[np.bool_], noise: float, device: torch.device) -> None:
        self.device = device
        self.n = len(space)
        self.shape: tuple[int, ...] = (int(space.shape[1]),)
        self._space = space
        self._resident = torch.from_numpy(np.array(space)).to(device) if space.nbytes <= RESIDENT else None
        self.scale = (noise * neighbour_scale(space, np.flatnonzero(train))).float()  # (d,)

    def plain(self, items: Tensor) -> Tensor:
        """float32 (b, d)."""
        if self._resident is not None:
            return self._resident[send(items, self.device)].float()
        return send(torch.from_numpy(np.ascontiguousarray(self._space[items.numpy()])), self.device).float()

    def views(
        self, items: Tensor, kinds: tuple[Kind, ...], generator: torch.Generator, part: slice = slice(None)
    ) -> tuple[Tensor, ...]:
        """float32 (b, d) for each kind."""
        vectors = self.plain(items[part])
        made = []
        for kind in kinds:
            if kind == "weak":
                made.append(vectors)
            else:
                noise = torch.randn(len(items), *self.shape, generator=generator)[part] * self.scale
                made.append(vectors + send(noise, self.device))
        return tuple(made)

    def statistics(self, items: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (d,) of `items`, float64."""
        return moments(lambda some: self._space[some], items)


def never_negative(views: NDArray[Any]) -> bool:
    """Whether no feature of a plain image, views[:, 0], is negative: whether a head reads their square roots."""
    return all(bool((views[some, 0] >= 0).all()) for some in chunks(np.arange(len(views)), _CHUNK))


def moments(rows: Rows, items: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (d,) of the vectors of `items`, in float64 over chunks."""
    total = squares = torch.zeros(1, dtype=torch.float64)
    for some in chunks(items, _CHUNK):
        vectors = torch.from_numpy(np.asarray(rows(some), dtype=np.float64))
        total, squares = total + vectors.sum(0), squares + vectors.square().sum(0)
    mean = total / len(items)
    return mean, (squares / len(items) - mean.square()).clamp_min(0).sqrt()


def neighbour_scale(space: NDArray[Any], items: NDArray[np.int64]) -> Tensor:
    """Standard deviation (d,) of a feature among near neighbours: the root of half the mean squared difference between
    an item and each of its 5 nearest, by Euclidean distance, float64. Of a sample where there are many items.

    Two independent draws with standard deviation s differ by s * sqrt(2), hence the half.
    """
    among = torch.from_numpy(np.asarray(space[spread(items, AMONG)], dtype=np.float32))
    asked = torch.from_numpy(spread(np.arange(len(among)), ASKED))
    near = min(NEAR, len(among) - 1)
    if near < 1:
        return torch.zeros(space.shape[1], dtype=torch.float64)
    distances = torch.cdist(among[asked], among)
    distances[torch.arange(len(asked)), asked] = torch.inf  # not an item itself
    found = among[distances.topk(near, largest=False).indices]  # (asked, near, d)
    return (found - among[asked][:, None]).double().square().mean((0, 1)).div(2).sqrt()
