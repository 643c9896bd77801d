"""The loop: the loss by hand, exact resume, two processes like one, and the settings it takes."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from hume_ssl.errors import InputError
from hume_ssl.pretrain.loop import batch_at, ntxent, pretrain, warm_cosine
from hume_ssl.pretrain_config import PretrainConfig
from hume_ssl.train.batches import Shuffled
from hume_ssl.train.together import Together
from tests.conftest import files_of

pytest.importorskip("lightly")
ROOT = Path(__file__).resolve().parents[2]


def digits(n=200):
    return np.rint(load_digits().images[:n] * (255 / 16)).astype(np.uint8)


def settings(n=200, **given):
    given = {"steps": 12, "batch": 32, "eval_every": 4, "checkpoint_every": 4, "eval_items": 64} | given
    return PretrainConfig(**given).resolve(8, 1, n, gpu=False)


def ntxent_by_hand(first, second, temperature):
    """Loops over rows in float64: -log of a row's share of e^(cosine / T) that its other view has, itself left out."""
    rows = torch.cat([first, second]).double()
    rows = rows / rows.norm(dim=1, keepdim=True)
    b, total = len(first), 0.0
    for i in range(2 * b):
        values = [math.exp(float(rows[i] @ rows[j]) / temperature) for j in range(2 * b) if j != i]
        total -= math.log(math.exp(float(rows[i] @ rows[(i + b) % (2 * b)]) / temperature) / sum(values))
    return total / (2 * b)


def test_ntxent_of_two_items_by_hand():
    """Views agree and the items are at right angles: each row has its other view at cosine 1 and two rows at cosine 0,
    so at T = 1 the loss is -log(e / (e + 2))."""
    axes = torch.eye(2)
    assert float(ntxent(1.0)(axes, axes)) == pytest.approx(-math.log(math.e / (math.e + 2)))
    assert float(ntxent(0.5)(3 * axes, axes)) == pytest.approx(-math.log(math.e**2 / (math.e**2 + 2)))


def test_ntxent_is_that_of_a_loop():
    first, second = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))
    assert float(ntxent(0.3)(first, second)) == pytest.approx(ntxent_by_hand(first, second, 0.3), rel=1e-5)


def test_schedule_and_batches():
    rates = [warm_cosine(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == max(rates) and rates[99] < 0.001
    assert warm_cosine(0, 100, 0) == 1
    order = Shuffled(torch.arange(10), 0)
    for epoch in range(3):  # no item meets itself, none comes twice in an epoch
        seen = torch.cat([batch_at(order, 2 * epoch + place, 4, 10) for place in range(2)])
        assert len(seen.unique()) == 8


def test_it_learns_and_does_not_collapse():
    result = pretrain(digits(), config=settings(steps=60, eval_every=20), device="cpu")
    first, last = result.history[0], result.history[-1]
    assert last["loss"] < first["loss"]
    assert last["found_again"] > 5 / 64  # chance: 1 / 64
    assert last["spread"] > 0.3 and not result.collapsed
    assert [row["step"] for row in result.history] == [20, 40, 60]
    assert result.facts["size"] == [8, 8] and result.facts["network"] == "small-cnn"


def test_a_collapse_is_seen():
    """Images that are all the same have nothing to tell them apart."""
    same = np.repeat(digits(1), 64, axis=0)
    still = settings(64, strength=1e-3, steps=2)
    assert pretrain(same, config=still, device="cpu").collapsed


def test_killed_and_resumed_it_leaves_the_same_bytes(tmp_path):
    class Killed(Exception):
        pass

    class Killer:
        def __init__(self, steps):
            self.left = steps

        def advance(self, n=1, **info):
            self.left -= n
            if self.left < 0:
                raise Killed

    def run(folder, **how):
        return pretrain(
            digits(), config=settings(), device="cpu", checkpoint_dir=folder, metrics=folder / "m.jsonl", **how
        )

    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", progress=Killer(9))
    assert files_of(tmp_path / "killed") != files_of(tmp_path / "whole")
    resumed = run(tmp_path / "killed", resume=True)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert resumed.history == whole.history and resumed.steps == 12
    for name, tensor in whole.encoder.items():
        assert torch.equal(tensor, resumed.encoder[name]), name
    with pytest.raises(InputError, match="settings"):
        pretrain(digits(), config=settings(seed=1), device="cpu", checkpoint_dir=tmp_path / "whole", resume=True)


def test_only_train_items_are_learned_from():
    """Other test images, the same encoder."""
    train = np.arange(200) < 150
    images, others = digits(), digits()
    others[~train] = 255 - others[~train]
    first, second = (
        pretrain(x, config=settings(150, steps=3), train=train, device="cpu").encoder for x in (images, others)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_cannot_be():
    with pytest.raises(InputError, match=r"pretrain\.batch 300 with 200"):
        pretrain(digits(), config=settings(batch=300), device="cpu")
    with pytest.raises(InputError, match="cannot be shared by 3 processes: give --batch 33"):
        pretrain(digits(), config=settings(), device="cpu", together=Together(0, 3))
    with pytest.raises(InputError, match="not a number"):
        pretrain(digits(), config=settings(lr=1e30), device="cpu")


def in_one_of(rank, world):
    """In float64, where rounding has no room to grow: history's losses and the encoder of a short training."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    config = settings(steps=6, precision="float32", eval_every=2)
    result = pretrain(digits(), config=config, device="cpu", together=Together(rank, world))
    losses = np.array([row["loss"] for row in result.history])
    return {"loss": losses} | {name: t.numpy() for name, t in result.encoder.items()}


def test_two_processes_train_as_one(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    jobs = [(0, 1), (0, 2), (1, 2)]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(tmp_path), str(rank), str(world)], env=environment, stderr=subprocess.PIPE
        )
        for rank, world in jobs
    ]
    try:
        for process in processes:
            _, err = process.communicate(timeout=240)
            assert process.returncode == 0, err.decode()
    finally:
        for process in processes:
            process.kill()
    one, *two = (dict(np.load(tmp_path / f"{rank}-{world}.npz")) for rank, world in jobs)
    for name, expected in one.items():
        np.testing.assert_array_equal(two[0][name], two[1][name], err_msg=name)
        np.testing.assert_allclose(two[0][name], expected, rtol=1e-8, atol=1e-9, err_msg=name)


if __name__ == "__main__":
    folder, place, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if count > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=place, world_size=count)
    np.savez(folder / f"{place}-{count}.npz", **in_one_of(place, count))
