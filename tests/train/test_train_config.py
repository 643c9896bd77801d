"""Settings: what "auto" becomes."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from hume_ssl.config import load_recipe, override
from hume_ssl.errors import InputError
from hume_ssl.train_config import TrainConfig
from hume_ssl.train_presets import without_effect


@pytest.mark.parametrize(("side", "network"), [(8, "small-cnn"), (16, "small-cnn"), (17, "wrn-28-2"), (32, "wrn-28-2")])
def test_network_by_size(side, network):
    config = TrainConfig().resolve(side, 3)
    assert config.network == network
    decided = (config.steps, config.batch, config.mu, config.lr, config.lambda_u, config.threshold)
    assert decided == ((1500, 32, 7, 0.1, 2.0, 0.7) if network == "small-cnn" else (65536, 64, 7, 0.03, 1.0, 0.95))
    assert "auto" not in config.model_dump(exclude={"precision"}).values()


def test_what_is_given_stays():
    given = TrainConfig(network="wrn-28-2", steps=7, mu=2, flip=False, eval_every=2, checkpoint_every=3)
    assert given.resolve(8, 3).model_dump(exclude={"size"}) == given.resolve(64, 1).model_dump(exclude={"size"})
    resolved = given.resolve(8, 3)
    assert (resolved.steps, resolved.mu, resolved.flip, resolved.eval_every, resolved.checkpoint_every) == (
        7,
        2,
        False,
        2,
        3,
    )
    assert resolved.resolve(64, 1) == resolved


def test_only_colour_images_are_mirrored_unless_told():
    assert TrainConfig().resolve(32, 3).flip is True
    assert TrainConfig().resolve(32, 1).flip is False


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 0}, {"threshold": 1.5}, {"ema": 1.0}, {"learning_rate": 1}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError):
        TrainConfig(**wrong)


def test_no_torch_at_import():
    code = "import sys, hume_ssl.train_config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cpu_gets_a_schedule_for_wrn_that_ends_the_same_day():
    on_cpu = TrainConfig(lr=0.5).resolve(32, 3, "cpu")
    assert (on_cpu.steps, on_cpu.batch, on_cpu.mu, on_cpu.lr) == (200, 64, 3, 0.5)


@pytest.mark.parametrize(
    "name", ["auto", "small-cnn", "wrn-28-8", "torchvision:resnet18", "torchvision:resnet18@w.pth"]
)
def test_known_networks(name):
    assert TrainConfig(network=name).network == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrn-28-4", "did you mean 'wrn-28-"),
        ("small_cnn", "did you mean 'small-cnn'"),
        ("torchvision:resnet81", "did you mean 'resnet18'"),
        ("torchvision:", "torchvision:NAME"),
        ("torchvision:resnet18@", "without a weights file"),
        ("torchvision:resnet18?size=3", r"give train\.size"),
        ("vgg", "small-cnn, wrn-28-2, wrn-28-8, torchvision:NAME"),
    ],
)
def test_unknown_networks_name_the_nearest(name, message):
    with pytest.raises(InputError, match=message):
        override(load_recipe("fixmatch", "train"), {"train.network": name})


def test_each_kind_of_network_has_its_own_settings():
    """Published: weight decay 1e-3 for 28-8 (CIFAR-100); AdamW at 5e-4, layer decay, batch 8, mu 1 for fine-tuning."""

    def settings(network, device="cuda"):
        c = TrainConfig(network=network).resolve(32, 3, device)
        return (c.optimiser, c.lr, c.weight_decay, c.layer_decay, c.ema, c.steps, c.batch, c.mu)

    assert settings("wrn-28-2") == ("sgd", 0.03, 5e-4, 1.0, 0.999, 65536, 64, 7)
    assert settings("wrn-28-8") == ("sgd", 0.03, 1e-3, 1.0, 0.999, 65536, 64, 7)
    assert settings("torchvision:resnet18") == settings("wrn-28-2")
    assert settings("torchvision:resnet18@w.pth") == ("adamw", 5e-4, 5e-4, 0.5, 0.0, 204_800, 8, 1)
    assert settings("torchvision:resnet18@w.pth", "cpu")[5] == 500


@pytest.mark.parametrize("network", ["small-cnn", "head", "wrn-28-2", "torchvision:resnet18"])
def test_the_paper_preset_is_the_published_schedule_for_all_networks(network):
    """arXiv:2001.07685, table 4, on a CPU as well."""
    c = TrainConfig(network=network, preset="paper").resolve(32, 3, "cpu")
    assert (c.steps, c.batch, c.mu, c.lr, c.lambda_u, c.threshold) == (2**20, 64, 7, 0.03, 1.0, 0.95)
    assert c.align is False


def test_size_is_brought_down_by_itself_and_up_when_asked():
    assert [TrainConfig().resolve(side, 3).size for side in (8, 32, 500)] == [8, 32, 32]
    pretrained = TrainConfig(network="torchvision:resnet18@w.pth")
    assert [pretrained.resolve(side, 3).size for side in (32, 500)] == [32, 224]
    assert TrainConfig(size=64).resolve(32, 3).size == 64
    assert TrainConfig(size=16).resolve(32, 3).network == "small-cnn"  # by the size it is trained at


def test_alignment_needs_class_sizes():
    assert TrainConfig().resolve(8, 1, sizes_known=False).align is False
    assert TrainConfig().resolve(8, 1, sizes_known=True).align is True
    with pytest.raises(InputError, match=r"train\.align = true needs the sizes"):
        TrainConfig(align=True).resolve(8, 1, sizes_known=False)


@pytest.mark.parametrize(
    ("settings", "unread"),
    [
        ({}, []),
        ({"threshold": 0.9, "mu": 3, "lambda_u": 3.0, "exclude_labelled": True}, []),
        ({"algorithm": "freematch", "threshold": 0.9, "fairness": 0.1}, ["threshold"]),
        ({"algorithm": "freematch", "threshold": 0.7}, []),  # what it would be by itself: a resolved recipe says so too
        ({"algorithm": "supervised", "mu": 3, "lambda_u": 3.0}, ["mu", "lambda_u"]),
        ({"softness": 1.0, "statistics_decay": 0.9}, ["softness", "statistics_decay"]),
        ({"encoder": "judge", "weak_views": 2, "feature_noise": 2.0}, ["encoder", "weak_views", "feature_noise"]),
        ({"network": "head", "encoder": "judge", "feature_noise": 2.0, "weak_views": 2}, ["weak_views"]),
        ({"network": "head", "encoder": "judge", "augment": "usb", "size": 64}, ["size", "augment"]),
        ({"network": "head", "encoder": "torchvision:resnet18", "weak_views": 2, "augment": "usb"}, []),
    ],
)
def test_what_nothing_reads_is_told(settings, unread):
    lines = without_effect(TrainConfig(**settings).resolve(8, 1, "cpu"), "cpu")
    told = [line.partition(" = ")[0].removeprefix("train.") for line in lines]
    assert sorted(told) == sorted(unread)
    assert all("has no effect" in line for line in lines)
