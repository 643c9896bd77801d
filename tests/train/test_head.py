"""The head: its standardisation, what it learns of stored views, resume."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hume_ssl.errors import InputError
from hume_ssl.train import train_fixmatch
from hume_ssl.train.feature_sources import NoisySource, ViewSource
from hume_ssl.train.head import Head, build_head
from hume_ssl.train_config import TrainConfig

CPU = torch.device("cpu")
SHORT = TrainConfig(steps=12, batch=4, mu=2, threshold=0.3, eval_every=4, checkpoint_every=5, seed=3)


def blobs(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 1 + 2 + 4, 8) views of three classes, (n,) truth. The last five features say nothing about the class and vary
    most; strong views draw them anew."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    views = np.repeat(3 * np.eye(3, 8)[truth][:, None], 7, axis=1) + rng.normal(0, 0.5, (n, 1, 8))
    views[:, :3, 3:] = rng.normal(0, 3, (n, 1, 5)) + rng.normal(0, 0.3, (n, 3, 5))
    views[:, 3:, 3:] = rng.normal(0, 3, (n, 4, 5))
    return views.astype(np.float32), truth


class StopAt:
    def __init__(self, step: int) -> None:
        self.left = step

    def advance(self, n: int = 1, **info: str) -> None:
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt


def test_one_scale_for_all_features_by_hand() -> None:
    """mean (1, 2), std (3, 4): the scale is sqrt((9 + 16) / 2), so (1 + s, 2 - s) becomes (1, -1)."""
    scale = 12.5**0.5
    head = Head(torch.nn.Identity(), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    assert torch.allclose(head(torch.tensor([[1 + scale, 2 - scale]])), torch.tensor([[1.0, -1.0]]))
    constant = Head(torch.nn.Identity(), torch.ones(2), torch.zeros(2))
    assert constant(torch.ones(1, 2)).tolist() == [[0.0, 0.0]]


def test_a_seed_gives_a_head_and_the_global_generator_stays() -> None:
    statistics = torch.zeros(8), torch.ones(8)
    before = torch.get_rng_state()
    a, b, c = (build_head(statistics, 3, seed).network.weight for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c) and torch.equal(before, torch.get_rng_state())


def test_the_state_dict_is_enough_to_label() -> None:
    views, truth = blobs()
    source = ViewSource(views, 2, CPU)
    result = train_fixmatch(source, np.arange(9), truth[:9], classes=3, config=SHORT, device="cpu")
    head = build_head((torch.zeros(8), torch.ones(8)), 3, 0)
    head.load_state_dict(result.state_dict)
    with torch.inference_mode():
        probabilities = head(source.plain(torch.arange(300))).softmax(1).numpy()
    np.testing.assert_array_equal(probabilities.argmax(1), result.predictions)
    np.testing.assert_allclose(probabilities.max(1), result.confidence, atol=1e-6)


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    views, truth = blobs()
    for source in (ViewSource(views, 2, CPU), NoisySource(views[:, 0], np.ones(300, bool), 1.0, CPU)):
        what = {"classes": 3, "config": SHORT, "device": "cpu"}
        whole = train_fixmatch(source, np.arange(9), truth[:9], checkpoint_dir=tmp_path / "a", **what)
        with pytest.raises(KeyboardInterrupt):
            train_fixmatch(source, np.arange(9), truth[:9], checkpoint_dir=tmp_path / "b", progress=StopAt(8), **what)
        again = train_fixmatch(source, np.arange(9), truth[:9], checkpoint_dir=tmp_path / "b", resume=True, **what)
        assert json.dumps(whole.history) == json.dumps(again.history)
        assert all(torch.equal(whole.state_dict[name], again.state_dict[name]) for name in whole.state_dict)
        last = "last.safetensors"
        assert (tmp_path / "a" / last).read_bytes() == (tmp_path / "b" / last).read_bytes()


def test_unlabelled_views_help() -> None:
    """One label a class, three seeds: FixMatch on the views is better than the labels alone."""
    config = TrainConfig(steps=150, batch=16, mu=7, lr=0.1, threshold=0.6)
    gain = []
    for seed in range(3):
        views, truth = blobs(seed=seed)
        right = {}
        for algorithm in ("fixmatch", "supervised"):
            chosen = config.model_copy(update={"algorithm": algorithm})
            source = ViewSource(views, 2, CPU)
            result = train_fixmatch(source, np.arange(3), truth[:3], classes=3, config=chosen, device="cpu")
            right[algorithm] = float((result.predictions == truth).mean())
        gain.append(right["fixmatch"] - right["supervised"])
    assert np.mean(gain) > 0.1


def test_a_head_has_settings_of_its_own() -> None:
    config = TrainConfig(network="head").resolve(224, 3, "cpu")
    assert (config.threshold, config.lr, config.eval_items) == (0.8, 0.03, 10_000)
    assert TrainConfig().resolve(32, 3, "cpu").threshold == 0.95


def test_a_network_for_images_is_refused_on_vectors() -> None:
    views, truth = blobs()
    with pytest.raises(InputError, match=r"train.network = wrn-28-2 takes images.*give head"):
        train_fixmatch(
            ViewSource(views, 2, CPU), np.arange(9), truth[:9], classes=3, config=TrainConfig(network="wrn-28-2")
        )
