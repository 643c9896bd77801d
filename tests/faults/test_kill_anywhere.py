"""SIGKILL, SIGINT, SIGTERM at random moments: discover, embed, select and train-fixmatch go on, to the same bytes.

    KILLS=200 python -m pytest -m slow tests/faults/test_kill_anywhere.py       (a quarter for each command)

The moments are drawn evenly over the time that the command takes undisturbed, by a fixed seed; a moment after its end
counts as well: there is nothing left to do then.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import DISCOVER, SELECT, TRAIN, artefacts_of

RUN = Path("hume-run")
ENCODER = ["--encoder", "torchvision:squeezenet1_1@weights.pth?size=32"]
EMBED = ["embed", "--images", "digits.npy", *ENCODER]
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
STARTED = 0.5  # seconds until Python has begun with our own lines; before, it ends in its own way
# What goes before, the command, and how it goes on.
COMMANDS = {
    "discover": ([], DISCOVER, [*DISCOVER, "--resume"]),
    "embed": ([], EMBED, [*EMBED, "--resume"]),
    "select": ([DISCOVER], SELECT, [*SELECT, "--overwrite"]),
    "train-fixmatch": ([DISCOVER, SELECT], TRAIN, [*TRAIN, "--resume"]),
}


def start(command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "hume_ssl", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(command: list[str]) -> float:
    """Run a command to its end; the seconds it takes."""
    began = time.monotonic()
    process = start(command)
    assert process.stderr is not None
    told = process.stderr.read().decode(errors="replace")
    assert process.wait() == 0, told
    return time.monotonic() - began


def weights() -> None:
    """A file of random weights for the encoder."""
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), "weights.pth")


def stop_and_compare(
    name: str,
    times: int,
    seed: int,
    signs: tuple[signal.Signals, ...] = (signal.SIGKILL,),
    limit: float = 2.0,
) -> None:
    """Stop a command so often, each time from the same state, and compare what it leaves when it has gone on.

    A sign that a process can answer has to be answered within `limit` seconds, by exit code 130 and no traceback.
    """
    before, command, again = COMMANDS[name]
    weights()
    for one in before:
        finish(one)
    if RUN.exists():
        shutil.copytree(RUN, "before")
    seconds = finish(command)
    expected = artefacts_of(RUN)
    generator = random.Random(seed)
    for number in range(times):
        shutil.rmtree(RUN)
        if Path("before").exists():
            shutil.copytree("before", RUN)
        sign = signs[number % len(signs)]
        moment = generator.uniform(0 if sign == signal.SIGKILL else STARTED, seconds)
        process = start(command)
        time.sleep(moment)
        sent = time.monotonic()
        process.send_signal(sign)
        _, told = process.communicate()
        where = f"{sign.name} {number} of {name} after {moment:.2f} s of {seconds:.2f}"
        if sign != signal.SIGKILL:
            assert process.returncode in (0, 130), f"{where}: {process.returncode} {told.decode(errors='replace')}"
            assert b"Traceback" not in told, f"{where}: {told.decode(errors='replace')}"
            assert time.monotonic() - sent < limit, f"{where}: took {time.monotonic() - sent:.2f} s to end"
        finish(again)
        left = artefacts_of(RUN)
        differ = sorted(path for path in expected.keys() | left.keys() if expected.get(path) != left.get(path))
        assert not differ, f"{where}: {differ}"


def test_a_discover_killed_once(bare: Path) -> None:
    stop_and_compare("discover", 1, seed=7)


def test_a_discover_interrupted_twice(bare: Path) -> None:
    # The two seconds are for a machine that does nothing else, as where the slow tests run.
    stop_and_compare("discover", 2, seed=2, signs=INTERRUPTS, limit=10.0)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_again_and_again(bare: Path, name: str) -> None:
    stop_and_compare(name, int(os.environ.get("KILLS", "200")) // len(COMMANDS), seed=0)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", COMMANDS)
def test_interrupted_again_and_again(bare: Path, name: str) -> None:
    stop_and_compare(name, int(os.environ.get("KILLS", "200")) // len(COMMANDS), seed=1, signs=INTERRUPTS)
