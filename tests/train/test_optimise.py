"""The schedule, the groups of the optimiser and the average against closed forms."""

import math

import pytest
import torch
from torch import nn

from hume_ssl.train.models import build_network
from hume_ssl.train.optimise import (
    averaged,
    cosine,
    ema_decay,
    layer_of,
    make_optimiser,
    optimiser_tensors,
    restore_optimiser,
    set_rate,
)


def test_cosine_closed_form():
    """cos(7 pi t / 16 T): 1 at the start, cos(pi / 6) at t / T = 8/21, cos(7 pi / 16) = sin(pi / 16) at the end."""
    assert cosine(0, 100) == 1.0
    assert cosine(8, 21) == pytest.approx(math.sqrt(3) / 2)
    assert cosine(100, 100) == pytest.approx(math.sin(math.pi / 16))


def test_weight_decay_on_kernels_only():
    network = build_network("wrn-28-2", channels=3, classes=10, size=(32, 32), steps=100, seed=0)
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


def test_layers_end_at_the_first_number():
    names = {
        "network.conv1.weight": "network.conv1",
        "network.layer1.0.conv1.weight": "network.layer1",
        "features.3.squeeze.bias": "features.3",
        "encoder.layers.encoder_layer_0.mlp.0.weight": "encoder.layers.encoder_layer_0",
        "network.fc.weight": "network.fc",
        "class_token": "",
    }
    assert {name: layer_of(name) for name in names} == names


def test_layer_decay_scales_the_learning_rate_from_the_last_layer_back():
    """Three layers at 0.5: rates 1/4, 1/2 and 1 of the one given; biases have groups of their own without decay."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 2))
    optimiser = make_optimiser(model, 1.0, 0.1, "adamw", 0.5)
    set_rate(optimiser, 0.8)
    found = [(group["lr"], group["weight_decay"], len(group["params"])) for group in optimiser.param_groups]
    assert found == [(0.2, 0.1, 1), (0.2, 0.0, 1), (0.4, 0.1, 1), (0.8, 0.1, 1), (0.8, 0.0, 1)]
    assert isinstance(optimiser, torch.optim.AdamW)


def test_restored_momentum_is_what_the_next_step_reads():
    """With lr 1 and gradient 0, Nesterov moves a weight of momentum m by 0.9 * 0.9 m."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimiser = make_optimiser(model, 1.0, 0.0)
    assert optimiser_tensors(optimiser) == {}
    restore_optimiser(optimiser, {"0/momentum_buffer": torch.ones(1, 1)})
    model.weight.grad = torch.zeros_like(model.weight)
    optimiser.step()
    assert model.weight.item() == pytest.approx(-0.81)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_stopped_and_restored_is_uninterrupted(kind, stop):
    """Bit for bit, stopped before the first step too; kernels in channels-last as in training."""

    def start():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
        model.to(memory_format=torch.channels_last)
        return model, make_optimiser(model, 0.1, 0.01, kind, 0.7)

    def step(model, optimiser, number):
        set_rate(optimiser, 0.1 * cosine(number, 5))
        x = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(number))
        optimiser.zero_grad()
        model(x).square().sum().backward()
        optimiser.step()

    model, optimiser = start()
    for number in range(5):
        if number == stop:
            weights = {name: t.clone() for name, t in model.state_dict().items()}
            kept = {name: t.clone().contiguous() for name, t in optimiser_tensors(optimiser).items()}
        step(model, optimiser, number)
    again, other = start()
    again.load_state_dict(weights)
    restore_optimiser(other, kept)
    for number in range(stop, 5):
        step(again, other, number)
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not kept or all(other.state[p][n].stride() == p.stride() for p, n in parameters_of(other, kept))


def parameters_of(optimiser, tensors):
    """(parameter, name) of every tensor of a parameter's shape."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    found = [(parameters[int(key.split("/")[0])], key.split("/")[1]) for key in tensors]
    return [(p, name) for p, name in found if optimiser.state[p][name].shape == p.shape]
