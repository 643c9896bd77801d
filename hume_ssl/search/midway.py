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

from hume_ssl.errors import InputError

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
        if self.kept is None or self.kept[1].get("seeds") != list(seeds):
            return None
        if not _is_state(self.kept[1], len(seeds)):
            raise _damaged(seeds, "its facts are not those of such a batch")
        return self.kept

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
    try:
        _check(state, batch, watch, ended)
        return _restore(state, batch, watch, ended)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # RuntimeError: bits that no generator has
        raise _damaged(state[1]["seeds"], " ".join(str(error).split())) from error


def _restore(state: State, batch: Batch, watch: Watch, ended: Ended) -> tuple[int, list[int]]:
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


def _is_state(facts: dict[str, Any], r: int) -> bool:
    """Whether the facts are those that `state_of` keeps of r searches."""
    running, iterations, reasons = (facts.get(name) for name in ("running", "iterations", "reasons"))
    if not all(isinstance(values, list) for values in (running, iterations, reasons)):
        return False
    assert isinstance(running, list) and isinstance(iterations, list) and isinstance(reasons, list)
    numbers = all(type(value) is int for value in [*running, *iterations, facts.get("step")])
    if not numbers or not all(isinstance(reason, str) for reason in reasons) or len(iterations) != r:
        return False
    return bool(running) and len(reasons) == r and sorted(set(running) & set(range(r))) == running


def _check(state: State, batch: Batch, watch: Watch, ended: Ended) -> None:
    """Raise KeyError or ValueError unless step and tensors fit a batch that has just begun."""
    tensors, facts = state
    if not 0 <= facts["step"] <= max(ended.iterations):
        raise ValueError(f"step {facts['step']} of {max(ended.iterations)}")
    r = len(batch.raw)
    shapes = dict.fromkeys(("raw", "mean", "square"), batch.raw.shape) | {"weights": ended.weights.shape}
    if "labels" in tensors:
        shapes |= {"labels": torch.Size((len(watch.rows), r)), "quiet": torch.Size((r,))}
    for name, shape in shapes.items():
        wanted = torch.int64 if name in ("labels", "quiet") else batch.raw.dtype
        if tensors[name].shape != shape or tensors[name].dtype != wanted:
            raise ValueError(f"{name} is {tensors[name].dtype} of shape {tuple(tensors[name].shape)}")


def _damaged(seeds: Sequence[int], why: str) -> InputError:
    return InputError(
        f"the kept state of the searches from seed {seeds[0]} on is damaged ({why}): remove "
        "searches/checkpoint-batch-*.safetensors from the run, or start again with --overwrite"
    )


def _own(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy in memory of its own: products on memory that begins elsewhere in a cache line may round differently."""
    return tensor.to(device, copy=True)


@dataclass
class Ended:
    """What is known of the searches of a batch that have ended; of the others, what will be said at the last step."""

    weights: Tensor  # (r, d1, k)
    iterations: list[int]  # (r,)
    reasons: list[str]  # (r,)
