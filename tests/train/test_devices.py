"""Precision by device and network, and what random layers draw."""

import pytest
import torch

from hume_ssl.train import devices

CPU = torch.device("cpu")


@pytest.mark.parametrize("hardware", [True, False])
def test_bf16_where_the_hardware_has_it_and_it_pays(monkeypatch, hardware):
    monkeypatch.setattr(devices, "has_bfloat16", lambda device: hardware)
    for where in (CPU, torch.device("cuda")):
        assert devices.use_bf16("auto", where, "wrn-28-2") is devices.use_bf16("auto", where, "small-cnn") is hardware
        assert not devices.use_bf16("auto", where, "head")
    assert devices.use_bf16("bf16", CPU, "head") and not devices.use_bf16("float32", CPU, "wrn-28-2")


def test_random_layers_follow_from_seed_step_and_rank():
    def drawn(*key):
        devices.seed_layers(*key[:2], CPU, *key[2:])
        return torch.nn.functional.dropout(torch.ones(100)).tolist()

    before = torch.get_rng_state()
    with devices.tuned(CPU):
        first = drawn(1, 5)
        others = [drawn(2, 5), drawn(1, 6), drawn(1, 5, 1)]
        assert first == drawn(1, 5) and first not in others
    assert torch.equal(torch.get_rng_state(), before)
