"""SIGKILL at random moments: discover, embed, select and train-fixmatch go on, to the bytes of an undisturbed run.

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


def kill_and_compare(name: str, kills: int, seed: int) -> None:
    """Kill a command `kills` times, each time from the same state, and compare what it leaves when it has gone on."""
    before, command, again = COMMANDS[name]
    weights()
    for one in before:
        finish(one)
    if RUN.exists():
        shutil.copytree(RUN, "before")
    seconds = finish(command)
    expected = artefacts_of(RUN)
    generator = random.Random(seed)
    for number in range(kills):
        shutil.rmtree(RUN)
        if Path("before").exists():
            shutil.copytree("before", RUN)
        moment = generator.uniform(0, seconds)
        process = start(command)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        finish(again)
        left = artefacts_of(RUN)
        differ = sorted(path for path in expected.keys() | left.keys() if expected.get(path) != left.get(path))
        assert not differ, f"kill {number} of {name} after {moment:.2f} s of {seconds:.2f}: {differ}"


def test_a_discover_killed_once(bare: Path) -> None:
    kill_and_compare("discover", 1, seed=7)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_again_and_again(bare: Path, name: str) -> None:
    kill_and_compare(name, int(os.environ.get("KILLS", "200")) // len(COMMANDS), seed=0)
