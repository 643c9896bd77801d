"""What an algorithm remembers survives a stop: every one of them, killed and resumed in the loop."""

import json

import numpy as np
import pytest
import torch

from hume_ssl.train import train_fixmatch
from hume_ssl.train.algorithms import RULES, first_state
from hume_ssl.train.checkpoint import load
from hume_ssl.train_config import TrainConfig

SETTINGS = {"steps": 10, "batch": 4, "mu": 3, "lr": 0.03, "lambda_u": 1.0, "threshold": 0.4, "statistics_decay": 0.8}


class StopAt:
    """A progress display that stands for Ctrl-C after so many steps."""

    def __init__(self, step):
        self.left = step

    def advance(self, n=1, **info):
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("algorithm", RULES)
def test_killed_and_resumed_is_uninterrupted(tmp_path, algorithm):
    """Stopped at step 7, resumed from the checkpoint of step 6: weights, history and checkpoint are byte-equal. Some
    items are test items, so that FlexMatch's pool is smaller than its table."""
    rng = np.random.default_rng(0)
    truth = np.arange(30) % 3
    images = (rng.integers(0, 100, (30, 8, 8)) + 70 * truth[:, None, None]).astype(np.uint8)
    config = TrainConfig(algorithm=algorithm, flip=False, eval_every=5, checkpoint_every=3, fairness=0.1, **SETTINGS)

    def train(folder, **keys):
        return train_fixmatch(
            images, np.arange(6), truth[:6], classes=3, train=np.arange(30) < 25, config=config, device="cpu",
            checkpoint_dir=tmp_path / folder, **keys,
        )  # fmt: skip

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("cut", progress=StopAt(7))
    resumed = train("cut", resume=True)
    assert json.dumps(whole.history) == json.dumps(resumed.history)
    assert all(torch.equal(t, resumed.state_dict[name]) for name, t in whole.state_dict.items())
    assert (tmp_path / "cut/last.safetensors").read_bytes() == (tmp_path / "whole/last.safetensors").read_bytes()

    learned = [row["mask_rate"] for row in whole.history]
    assert all(rate == 0 for rate in learned) if algorithm == "supervised" else all(rate > 0 for rate in learned)
    kept = {name.removeprefix("rule/"): t for name, t in load(tmp_path / "whole")[0].items() if name.startswith("rule")}
    first = first_state(algorithm, 3, 30, 25)
    assert kept.keys() == first.keys()
    for name, tensor in kept.items():
        assert tensor.dtype == first[name].dtype and not torch.equal(tensor, first[name]), name
    if algorithm == "flexmatch":
        table = kept["labels"][:25]
        assert (
            kept["counts"].tolist() == torch.bincount(table, minlength=4).tolist() and (kept["labels"][25:] == 3).all()
        )
