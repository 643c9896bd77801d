"""Two processes under torchrun train as one does, within rounding; either goes on with what the other left."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hume_ssl import distributed
from hume_ssl.tensor_files import read_safetensors
from tests.conftest import TRAIN, Hume, files_of
from tests.e2e.test_torchrun import torchrun, workers

# In float32, in few and small steps, so that rounding, which differs, does not grow over the run as it does by default:
# batch norm gives the empty corners of all digits one value, and where that crosses 0 the slopes of all change at once.
LONGER = [*TRAIN, *shlex.split("--set train.eval_every=5 --set train.lr=5e-4 --set train.precision=float32")]


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """stdout and stderr of a command that must end by itself."""
    try:
        return process.communicate(timeout=240)
    finally:
        process.kill()


def kill_at_checkpoint(process: subprocess.Popen[str], folder: Path) -> None:
    """Kill the second process as soon as there is a checkpoint; torchrun ends the first."""
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        deadline = time.monotonic() + 240
        while not (folder / "checkpoints/last.safetensors").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(workers(process.pid)[1], signal.SIGKILL)
        process.communicate(timeout=120)
    assert process.returncode == 1
    assert not (folder / "predictions.csv").exists()


def assert_close(a: Path, b: Path, steps: int) -> None:
    """Two trainings that differ by rounding: history within 1e-4, predictions of at least 99 % of the items the same,
    averaged weights within 1e-3 of their size, and the same files with the same tensors."""
    assert files_of(a).keys() == files_of(b).keys()
    histories = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in (a, b)
    ]
    assert len(histories[0]) == len(histories[1]) == -(-steps // 5)
    for rows in zip(*histories, strict=True):
        one, other = ({name: np.nan if value is None else value for name, value in row.items()} for row in rows)
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4, nan_ok=True)
    one, other = (pd.read_csv(folder / "predictions.csv") for folder in (a, b))
    assert (one["label"] == other["label"]).mean() >= 0.99
    tensors, others = (read_safetensors(folder / "checkpoints/last.safetensors")[0] for folder in (a, b))
    assert tensors.keys() == others.keys()
    for name in tensors:
        if name.startswith("ema/"):
            scale = others[name].double().abs().max().clamp_min(1e-3)
            assert (tensors[name] - others[name]).double().abs().max() < 1e-3 * scale, name


def test_two_processes_train_as_one(hume: Hume, done: Path) -> None:
    long = [*LONGER, "--steps", "20"]
    out, err = finish(process := torchrun(*long, "--name", "two", "--json"))
    assert process.returncode == 0, err
    assert out.count("{") == 1 and err.count("100% (20 of 20)") == 1  # the first process alone prints
    assert hume(*long, "--name", "one").code == 0
    assert_close(done / "hume-run/train/two", done / "hume-run/train/one", 20)


def test_two_processes_one_killed_and_resumed_by_one(hume: Hume, done: Path) -> None:
    long = [*LONGER, "--steps", "20"]
    kill_at_checkpoint(torchrun(*long, "--name", "cut"), done / "hume-run/train/cut")
    assert hume(*long, "--name", "cut", "--resume").code == 0
    assert hume(*long, "--name", "whole").code == 0
    assert_close(done / "hume-run/train/cut", done / "hume-run/train/whole", 20)


@pytest.mark.slow
def test_one_interrupted_and_resumed_by_two(hume: Hume, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hume_ssl.train import checkpoint

    long, save = [*LONGER, "--recipe", "supervised", "--steps", "20"], checkpoint.save

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_stop)
        assert hume(*long, "--name", "cut").code == 130
    _, err = finish(process := torchrun(*long, "--name", "cut", "--resume"))
    assert process.returncode == 0, err
    assert hume(*long, "--name", "whole").code == 0
    assert_close(done / "hume-run/train/cut", done / "hume-run/train/whole", 20)


@pytest.mark.slow
def test_wrong_input_that_all_processes_meet_ends_them(done: Path) -> None:
    began = time.monotonic()
    _, err = finish(process := torchrun(*LONGER, "--name", "bad", "--set", "train.lr=1e30"))
    assert process.returncode == 1  # torchrun's own
    assert err.count("the loss is not a number") == 1
    assert "hume_ssl/train" not in err  # no traceback but torchrun's
    assert "exitcode  : 2" in err or "exitcode: 2" in err
    assert time.monotonic() - began < 240


def test_a_batch_that_the_processes_cannot_share(hume: Hume, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of(done)
    monkeypatch.setattr(distributed, "world", lambda: 3)
    monkeypatch.setattr(distributed, "join", lambda: None)
    monkeypatch.setattr(distributed, "leave", lambda code: None)
    answer = hume(*TRAIN, "--name", "three")
    assert answer.code == 2
    assert "train.batch 16 cannot be shared by 3 processes: give --set train.batch=15" in answer.err
    assert files_of(done) == before
