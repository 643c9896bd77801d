"""The networks: sizes, start, normalisation."""

import pytest
import torch
from torch import nn

from hume_ssl.train.models import Classifier, build_network
from hume_ssl.train.wide_resnet import Residual


def build(name, **changes):
    return build_network(name, **{"channels": 3, "classes": 10, "size": (32, 32), "steps": 20_000, "seed": 0} | changes)


def test_wide_resnet_has_the_published_size():
    """16 * 27 for the stem; 4 blocks each at 32, 64, 128; 128 * 10 + 10 at the end: 1.47 M in all (paper: 1.5 M)."""
    network = build("wrn-28-2")
    assert sum(p.numel() for p in network.parameters()) == 1_467_610
    assert (
        sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in network.modules()) == 25
    )  # 28 less 3 of 1x1
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.momentum, m.eps) for m in norms} == {(0.001, 1e-3)}
    blocks = [m for m in network.modules() if isinstance(m, Residual)]
    assert [b.activated for b in blocks] == [True] + 11 * [False]


def test_the_wider_network_has_the_published_size():
    """28-8, 100 classes, by hand: stem 432; first group 128 wide: 168,224 + 3 * 295,424; second 256: 918,272 +
    3 * 1,180,672; third 512: 3,671,552 + 3 * 4,720,640; last batch norm 1,024 and layer 51,300 (paper: 23.4 M)."""
    network = build("wrn-28-8", classes=100)
    blocks = [m for m in network if isinstance(m, Residual)]
    sizes = [sum(p.numel() for p in block.parameters()) for block in blocks]
    assert sizes == [168_224, *3 * [295_424], 918_272, *3 * [1_180_672], 3_671_552, *3 * [4_720_640]]
    assert sum(p.numel() for p in network.parameters()) == 432 + sum(sizes) + 1024 + 51_300 == 23_401_012


@pytest.mark.parametrize(
    ("name", "channels", "side"), [("small-cnn", 1, 8), ("small-cnn", 3, 16), ("small-cnn", 2, 32), ("wrn-28-2", 3, 32)]
)
def test_shapes_for_any_channels(name, channels, side):
    network = build(name, channels=channels, size=(side, side), classes=7)
    model = Classifier(network, torch.full((channels,), 100.0), torch.full((channels,), 50.0))
    images = torch.randint(0, 256, (4, channels, side, side), dtype=torch.uint8)
    logits = model(images)
    assert logits.shape == (4, 7) and logits.dtype == torch.float32


def test_residual_adds_its_input():
    """With the second convolution at zero a block of equal width is the identity, whether or not it starts activated
    decides what passes: x itself, or LeakyReLU(x) at the start statistics (eps 1e-3 aside)."""
    x = torch.randn(2, 8, 4, 4)
    for activated, expected in ((False, x), (True, nn.functional.leaky_relu(x, 0.1))):
        block = Residual(8, 8, 1, 0.001, activated).eval()
        nn.init.zeros_(block.conv2.weight)
        torch.testing.assert_close(block(x), expected, rtol=1e-3, atol=1e-3)


def test_start_is_the_published_one():
    """Kernels: variance 2 / (9 * filters); biases 0; batch norm scale 1 and shift 0."""
    network = build("wrn-28-2")
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            fan_out = module.weight[0, 0].numel() * module.out_channels
            assert module.weight.var().item() == pytest.approx(2 / fan_out, rel=0.08)
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
    assert (network[-1].bias == 0).all()


def test_seed_decides_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    first, same, other = (build("small-cnn", seed=seed)[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_short_schedules_forget_the_start_of_batch_norm():
    """10 / steps between the papers' 0.001 and torch's 0.1: from 100 steps on, exp(-10) of it or so is left."""
    momenta = [build("small-cnn", steps=steps)[1].momentum for steps in (10, 2000, 10_000, 2**20)]
    assert momenta == [0.1, 0.005, 0.001, 0.001]


def test_normalisation_is_part_of_the_state():
    """Pixels 100 and 150 at mean 100 and deviation 50 are 0 and 1."""
    model = Classifier(nn.Flatten(), torch.tensor([100.0]), torch.tensor([50.0]))
    assert model(torch.tensor([[[[100, 150]]]], dtype=torch.uint8)).tolist() == [[0.0, 1.0]]
    assert {"mean", "std"} <= set(model.state_dict())


def test_one_channel_becomes_three():
    """Statistics of three channels: the single one is repeated, and each copy normalised as its own."""
    model = Classifier(nn.Flatten(), torch.tensor([100.0, 0.0, 50.0]), torch.tensor([50.0, 100.0, 100.0]))
    assert model(torch.tensor([[[[100]]]], dtype=torch.uint8)).tolist() == [[0.0, 1.0, 0.5]]


def test_constant_channel_gives_no_nan():
    model = Classifier(nn.Flatten(), torch.tensor([7.0]), torch.tensor([0.0]))
    assert model(torch.full((1, 1, 2, 2), 7, dtype=torch.uint8)).abs().sum() == 0


def test_unknown_network():
    with pytest.raises(ValueError, match="wrn-28-2"):
        build("vgg")
