"""The optimiser, its schedule and the averaged model."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def cosine(step: int, steps: int) -> float:
    """The factor on the learning rate before step `step` of `steps`: cos(7 pi t / (16 T)), 1 falling to about 0.195."""
    return math.cos(7 * math.pi * step / (16 * steps))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Kernels (two dimensions and more) with weight decay; biases, scales and shifts without."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def make_optimiser(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum 0.9."""
    return torch.optim.SGD(parameter_groups(model, weight_decay), lr=lr, momentum=0.9, nesterov=True)


def ema_decay(decay: float, updates: int) -> float:
    """The decay of the average after `updates` updates: min(decay, (1 + t) / (10 + t)).

    With the published 0.999 alone a schedule of 2,000 steps would keep 14 % of the random start.
    """
    return min(decay, (1 + updates) / (10 + updates))


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the parameters; buffers (batch-norm statistics) are copied at each update."""

    def average(mean: Any, current: Any, updates: Tensor | int) -> None:
        update = get_ema_multi_avg_fn(ema_decay(decay, int(updates)))  # type: ignore[no-untyped-call]
        update(mean, current, updates)

    ema = AveragedModel(model, multi_avg_fn=average, use_buffers=False)
    return ema.requires_grad_(False).eval()


def momentum_buffers(optimiser: torch.optim.Optimizer) -> Sequence[Tensor]:
    """One momentum buffer per parameter, in the order of the groups; made (as zeros) where there was no step yet."""
    buffers = []
    for parameter in (p for group in optimiser.param_groups for p in group["params"]):
        state = optimiser.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffers.append(state["momentum_buffer"])
    return buffers
