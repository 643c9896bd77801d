"""Killed and resumed runs leave the bytes of an uninterrupted one; interrupts end with 130."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hume_ssl.tensor_files import read_safetensors
from tests.conftest import DISCOVER, SELECT, TRAIN, Hume, artefacts_of

ROOT = Path(__file__).resolve().parents[2]
# Many small batches and checkpoints, so that there is something to interrupt and something to go on from.
LONG = [*DISCOVER, "--searches", "24", "--set", "search.batch=1", "--set", "search.iterations=60"]
LONG_TRAIN = [*TRAIN, "--steps", "150", "--set", "train.checkpoint_every=5"]


# The command with a state kept after every outer step instead of every minute.
EVERY_STEP = "from hume_ssl.search import midway; midway.EVERY = 0; from hume_ssl.cli import main; main()"


def start(*arguments: str, program: tuple[str, ...] = ("-m", "hume_ssl")) -> subprocess.Popen[str]:
    """`python -m hume_ssl ARGUMENTS` in the working folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_when(process: subprocess.Popen[str], path: Path, sign: signal.Signals) -> tuple[int, str]:
    """Send the signal as soon as `path` is there; exit status and stderr."""
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        deadline = time.monotonic() + 120
        while not path.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(sign)
        _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize("after", ["spaces/spaces.json", "searches/checkpoint.safetensors"])
def test_discover_killed_and_resumed(hume: Hume, bare: Path, after: str) -> None:
    assert hume(*LONG, "--run", "whole").code == 0
    code, _ = stop_when(start(*LONG), bare / "hume-run" / after, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (bare / "hume-run/consensus.csv").exists()
    assert hume(*LONG).code == 2
    assert hume(*LONG, "--resume").code == 0
    assert artefacts_of(bare / "hume-run") == artefacts_of(bare / "whole")


def test_discover_killed_in_the_midst_of_a_batch_goes_on_there(hume: Hume, bare: Path) -> None:
    long = [*DISCOVER, "--searches", "3", "--set", "search.batch=2", "--set", "search.iterations=300"]
    assert hume(*long, "--run", "whole").code == 0
    states = [bare / f"hume-run/searches/checkpoint-batch-{first}.safetensors" for first in (0, 2)]
    for state in states:
        process = start(*long, *(["--resume"] if state == states[1] else []), program=("-c", EVERY_STEP))
        code, err = stop_when(process, state, signal.SIGKILL)
        assert code == -signal.SIGKILL, err
        step = read_safetensors(state)[1]["step"]
        assert 0 < step < 300
    assert not states[0].exists()  # that batch is finished
    assert hume(*long, "--resume").code == 0
    assert artefacts_of(bare / "hume-run") == artefacts_of(bare / "whole")


def test_more_searches_run_only_the_new_ones(hume: Hume, bare: Path) -> None:
    """Six more after four, in batches of two: three batches of 40 steps."""
    assert hume(*DISCOVER).code == 0
    answer = hume(*DISCOVER, "--searches", "10", "--resume")
    assert answer.code == 0 and "100% (120 of 120)" in answer.err


def test_fewer_searches_than_an_interrupted_run_has_already(hume: Hume, bare: Path) -> None:
    fewer = [*LONG, "--searches", "1"]
    assert hume(*fewer, "--run", "whole").code == 0
    code, _ = stop_when(start(*LONG), bare / "hume-run/searches/checkpoint.safetensors", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert hume(*fewer, "--resume").code == 0
    assert artefacts_of(bare / "hume-run") == artefacts_of(bare / "whole")


def test_more_searches_killed_and_resumed(hume: Hume, bare: Path) -> None:
    assert hume(*LONG, "--run", "whole").code == 0
    few = [*LONG, "--searches", "3"]
    assert hume(*few).code == 0
    code, _ = stop_when(
        start(*LONG, "--resume"), bare / "hume-run/searches/checkpoint.safetensors", signal.SIGKILL
    )  # fmt: skip
    assert code == -signal.SIGKILL
    assert hume(*LONG, "--resume").code == 0
    for name, data in artefacts_of(bare / "whole").items():
        if name not in ("consensus.csv", "searches/matching.safetensors"):  # of the class ids of the consensus of three
            assert (bare / "hume-run" / name).read_bytes() == data


def test_train_killed_and_resumed(hume: Hume, done: Path) -> None:
    assert hume(*LONG_TRAIN, "--name", "whole").code == 0
    checkpoint = done / "hume-run/train/cut/checkpoints/last.safetensors"
    code, _ = stop_when(start(*LONG_TRAIN, "--name", "cut"), checkpoint, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (done / "hume-run/train/cut/predictions.csv").exists()
    assert hume(*LONG_TRAIN, "--name", "cut").code == 2
    assert hume(*LONG_TRAIN, "--name", "cut", "--resume").code == 0
    assert artefacts_of(done / "hume-run/train/cut") == artefacts_of(done / "hume-run/train/whole")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_130_and_how_to_go_on(hume: Hume, bare: Path, sign: signal.Signals) -> None:
    code, err = stop_when(start(*LONG), bare / "hume-run/searches/checkpoint.safetensors", sign)
    assert code == 130
    assert "--resume" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list((bare / "hume-run").rglob(".hume-tmp-*"))
    assert hume(*LONG, "--resume").code == 0
    assert hume(*SELECT, "--allow-short").code == 0


def test_an_interrupted_training_ends_with_130(hume: Hume, done: Path) -> None:
    checkpoint = done / "hume-run/train/cut/checkpoints/last.safetensors"
    code, err = stop_when(start(*LONG_TRAIN, "--name", "cut"), checkpoint, signal.SIGINT)
    assert code == 130
    assert "--resume" in err.splitlines()[-1]
