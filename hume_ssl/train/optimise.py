"""The optimiser, its schedule and the averaged model."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def cosine(step: int, steps: int) -> float:
    """The factor on the learning rate before step `step` of `steps`: cos(7 pi t / (16 T)), 1 falling to about 0.195."""
    return math.cos(7 * math.pi * step / (16 * steps))


def layer_of(parameter: str) -> str:
    """Which layer a parameter belongs to: its name up to the first number in it.

    `network.layer1.0.conv1.weight` to `network.layer1`; `features.3.squeeze.bias` to `features.3`; a name without a
    number loses its last part.
    """
    parts = parameter.split(".")
    numbered = (i for i, part in enumerate(parts) if any(character.isdigit() for character in part))
    return ".".join(parts[: next(numbered, len(parts) - 2) + 1])


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Kernels (two dimensions and more) with weight decay; biases, scales and shifts without.

    Each group has a `scale`, its factor on the learning rate: `layer_decay` to the power of how many layers follow, so
    that what was learned before changes the less the nearer it is to the pixels (arXiv:2208.07204 for semi-supervised
    learning). With a `layer_decay` of 1 there are two groups, for kernels and the rest.
    """
    layers = dict.fromkeys(layer_of(name) if layer_decay < 1 else "" for name, _ in model.named_parameters())
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    for number, layer in enumerate(layers):
        for decayed in (True, False):
            scale = layer_decay ** (len(layers) - 1 - number)
            decay = weight_decay if decayed else 0.0
            groups[layer, decayed] = {"params": [], "weight_decay": decay, "scale": scale}
    for name, parameter in model.named_parameters():
        groups[layer_of(name) if layer_decay < 1 else "", parameter.ndim > 1]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


def make_optimiser(
    model: nn.Module, lr: float, weight_decay: float, kind: str = "sgd", layer_decay: float = 1.0
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum 0.9 ("sgd"), or AdamW with torch's betas (0.9, 0.999) ("adamw").

    Weight decay is part of SGD's gradient, and apart from AdamW's. Every step begins with :func:`set_rate`.
    """
    groups = parameter_groups(model, weight_decay, layer_decay)
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=lr)
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step: `lr` times each group's `scale`."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["scale"]


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser remembers, as "NUMBER/NAME" in the order of its groups; {} before the first step."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    return {
        f"{number}/{name}": value
        for number, parameter in enumerate(parameters)
        for name, value in optimiser.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimiser_tensors` gave, on the devices and in the memory layouts of the parameters.

    Raises ValueError for what is of another optimiser, or of other parameters.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    adamw = isinstance(optimiser, torch.optim.AdamW)
    remembered = ("step", "exp_avg", "exp_avg_sq") if adamw else ("momentum_buffer",)
    optimiser.state.clear()
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        known = number.isdecimal() and int(number) < len(parameters) and name in remembered
        if not known or value.shape not in (parameters[int(number)].shape, ())[: 1 + (name == "step")]:
            raise ValueError(f"optimiser/{key} of shape {tuple(value.shape)} is not this optimiser's")
        if any(f"{number}/{other}" not in tensors for other in remembered):
            raise ValueError(f"of optimiser/{number} there is only a part")
        parameter = parameters[int(number)]
        # AdamW's count of steps is a single number, which stays on the CPU.
        kept = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.clone()
        optimiser.state[parameter][name] = kept.detach()


def ema_decay(decay: float, updates: int) -> float:
    """The decay of the average after `updates` updates: min(decay, (1 + t) / (10 + t)).

    With the published 0.999 alone a schedule of 2,000 steps would keep 14 % of the random start.
    """
    return min(decay, (1 + updates) / (10 + updates))


class Average(AveragedModel):
    """An exponential moving average of the parameters; buffers (batch-norm statistics) are copied at each update.

    torch's own, with its decay for each update (:func:`ema_decay`), its many small copies taken together, and its count
    of updates kept where reading it does not make a GPU wait. The first update copies.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=False)
        self.decay = decay
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """The average after one more step of `model`."""
        updates = int(self.n_averaged)  # a tensor on the CPU
        decay = ema_decay(self.decay, updates) if updates else 0.0
        mean: list[Tensor] = list(self.module.parameters())
        current: list[Tensor] = list(model.parameters())
        if decay:
            torch._foreach_lerp_(mean, current, 1 - decay)
        else:
            torch._foreach_copy_(mean, current)
        for kind in (torch.float32, torch.int64):  # statistics and counts: one kernel each on a GPU
            kept, newest = ([t for t in m.buffers() if t.dtype == kind] for m in (self.module, model))
            if kept:
                torch._foreach_copy_(kept, newest)
        self.n_averaged += 1


def averaged(model: nn.Module, decay: float) -> Average:
    """The average of `model`, in evaluation mode, before the first update."""
    return Average(model, decay)
