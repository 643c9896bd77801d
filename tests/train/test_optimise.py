"""The schedule, the groups of the optimiser and the average against closed forms."""

import math

import pytest
import torch
from torch import nn

from hume_ssl.train.models import build_network
from hume_ssl.train.optimise import averaged, cosine, ema_decay, make_optimiser, momentum_buffers


def test_cosine_closed_form():
    """cos(7 pi t / 16 T): 1 at the start, cos(pi / 6) at t / T = 8/21, cos(7 pi / 16) = sin(pi / 16) at the end."""
    assert cosine(0, 100) == 1.0
    assert cosine(8, 21) == pytest.approx(math.sqrt(3) / 2)
    assert cosine(100, 100) == pytest.approx(math.sin(math.pi / 16))


def test_weight_decay_on_kernels_only():
    network = build_network("wrn-28-2", channels=3, classes=10, side=32, steps=100, seed=0)
    optimiser = make_optimiser(network, 0.03, 5e-4)
    kernels, others = optimiser.param_groups
    assert kernels["weight_decay"] == 5e-4 and others["weight_decay"] == 0.0
    assert kernels["nesterov"] and kernels["momentum"] == 0.9
    decayed = {id(p) for p in kernels["params"]}
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert id(module.weight) in decayed
        if isinstance(module, nn.BatchNorm2d | nn.Linear):
            assert id(module.bias) not in decayed
        if isinstance(module, nn.BatchNorm2d):
            assert id(module.weight) not in decayed
    count = sum(len(group["params"]) for group in optimiser.param_groups)
    assert count == len(list(network.parameters()))


def test_decay_starts_low():
    """(1 + t) / (10 + t): 2/11 after one update, 1/2 after eight, then the published 0.999 from t = 8990 on."""
    assert ema_decay(0.999, 1) == pytest.approx(2 / 11)
    assert ema_decay(0.999, 8) == pytest.approx(1 / 2)
    assert ema_decay(0.999, 8989) < 0.999 == ema_decay(0.999, 8991)


def test_average_closed_form_and_buffers_copied():
    """The first update copies; each later one, number t, is e <- d e + (1 - d) w with d = min(0.4, (1 + t) / (10 + t)).

    Weights 1, 2, 4: e = 1; d = 2/11: e = 2/11 + 18/11 = 20/11; d = 3/12: e = 5/11 + 3 = 38/11.
    """
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    ema = averaged(model, 0.4)
    for weight in (1.0, 2.0, 4.0):
        with torch.no_grad():
            model[0].weight.fill_(weight)
            model[1].running_mean.fill_(10 * weight)
        ema.update_parameters(model)
    assert ema.module[0].weight.item() == pytest.approx(38 / 11)
    assert ema.module[1].running_mean.item() == 40.0  # copied, not averaged
    assert not ema.module[0].weight.requires_grad and model[0].weight.requires_grad


def test_average_with_constant_decay():
    """Once the start is over: e_T = d^T e_0 + (1 - d) sum d^(T - t) w_t."""
    model = nn.Linear(1, 1, bias=False)
    ema = averaged(model, 0.1)  # (1 + t) / (10 + t) is never below 2/11 > 0.1
    weights = [3.0, -1.0, 2.0, 5.0]
    for weight in weights:
        nn.init.constant_(model.weight, weight)
        ema.update_parameters(model)
    expected = 0.1**3 * weights[0] + 0.9 * sum(0.1 ** (3 - t) * weights[t] for t in (1, 2, 3))
    assert ema.module.weight.item() == pytest.approx(expected)


def test_momentum_buffers_are_the_optimisers_own():
    """Restoring writes into these, so they must be what the next step reads: with lr 1 and gradient 0, Nesterov moves
    a weight of momentum m by 0.9 * 0.9 m."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimiser = make_optimiser(model, 1.0, 0.0)
    (buffer,) = momentum_buffers(optimiser)
    buffer.fill_(1.0)
    model.weight.grad = torch.zeros_like(model.weight)
    optimiser.step()
    assert model.weight.item() == pytest.approx(-0.81)
