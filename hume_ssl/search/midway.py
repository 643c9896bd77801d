"""The state of a batch of searches between two outer steps: kept now and then, so that a killed batch goes on.

What follows from the seeds alone (bases, fixed starts) is made again and not kept. A batch that goes on from a state
ends with the bytes it would have had: the state is everything else that the next step reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hume_ssl.search.engine import Batch, Watch

EVERY = 60.0  # seconds between two states kept: what a kill can cost

State = tuple[dict[str, Tensor], dict[str, Any]]  # named tensors and JSON facts


@dataclass
class Midway:
    """Where a batch's state is kept: what was there at the start, and how to keep another."""

    kept: State | None
    save: Callable[[dict[str, Tensor], dict[str, Any]], None]

    def __post_init__(self) -> None:
        self.saved = time.monotonic()

    def of(self, seeds: Sequence[int]) -> State | None:
        """The state that was kept of a batch with these seeds, or None."""
        return self.kept if self.kept is not None and self.kept[1].get("seeds") == list(seeds) else None

    def offer(self, state: Callable[[], State]) -> None:
        """Keep what `state` returns, if the last one kept is old enough."""
        if time.monotonic() - self.saved >= EVERY:
            self.save(*state())
            self.saved = time.monotonic()


def state_of(seeds: Sequence[int], step: int, batch: Batch, watch: Watch, ended: Ended, running: list[int]) -> State:
    """The state before outer step `step`; `running` are the places of the searches that go on."""
    tensors = {"raw": batch.raw, "mean": batch.mean, "square": batch.square, "weights": ended.weights}
    tensors["generators"] = torch.stack([generator.get_state() for generator in batch.generators])
    if watch.labels is not None:
        tensors |= {"labels": watch.labels, "quiet": watch.quiet}
    facts = {"seeds": list(seeds), "step": step, "running": running}
    return tensors, {**facts, "iterations": ended.iterations, "reasons": ended.reasons}


def restore(state: State, batch: Batch, watch: Watch, ended: Ended) -> tuple[int, list[int]]:
    """Put a state into a batch that has just begun, less the searches that had ended; its step and who is running."""
    tensors, facts = state
    device = batch.raw.device
    for name in ("raw", "mean", "square"):
        setattr(batch, name, _own(tensors[name], device))
    for generator, bits in zip(batch.generators, tensors["generators"], strict=True):
        generator.set_state(bits.clone())
    if "labels" in tensors:
        watch.labels, watch.quiet = _own(tensors["labels"], device), _own(tensors["quiet"], device)
    ended.weights.copy_(tensors["weights"])
    ended.iterations[:], ended.reasons[:] = facts["iterations"], facts["reasons"]
    return int(facts["step"]), list(facts["running"])


def _own(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy in memory of its own: products on memory that begins elsewhere in a cache line may round differently."""
    return tensor.to(device, copy=True)


@dataclass
class Ended:
    """What is known of the searches of a batch that have ended; of the others, what will be said at the last step."""

    weights: Tensor  # (r, d1, k)
    iterations: list[int]  # (r,)
    reasons: list[str]  # (r,)
