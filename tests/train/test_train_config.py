"""Settings: what "auto" becomes."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from hume_ssl.train_config import TrainConfig


@pytest.mark.parametrize(("side", "network"), [(8, "small-cnn"), (16, "small-cnn"), (17, "wrn-28-2"), (32, "wrn-28-2")])
def test_network_by_size(side, network):
    config = TrainConfig().resolve(side, 3)
    assert config.network == network
    assert (config.steps, config.mu) == ((2000, 3) if network == "small-cnn" else (65536, 7))
    assert "auto" not in config.model_dump(exclude={"precision"}).values()


def test_what_is_given_stays():
    given = TrainConfig(network="wrn-28-2", steps=7, mu=2, flip=False, eval_every=2, checkpoint_every=3)
    assert given.resolve(8, 3).model_dump() == given.resolve(64, 1).model_dump()
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
