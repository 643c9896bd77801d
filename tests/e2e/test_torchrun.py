"""Two processes under torchrun leave the bytes of one, killed or not; what is wrong ends them all."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import DISCOVER, Hume, artefacts_of

ROOT = Path(__file__).resolve().parents[2]
# Three batches of two: a round of both processes, and one of the first alone, whose batch is not full.
FIVE = [*DISCOVER, "--searches", "5"]


def torchrun(*arguments: str) -> subprocess.Popen[str]:
    """`torchrun --nproc-per-node 2 -m hume_ssl -- ARGUMENTS` in the working folder; without the dashes torchrun takes
    --run for an abbreviation of an option of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "hume_ssl"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, "--", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def workers(parent: int) -> list[int]:
    """Process ids of the command's processes, in order of rank."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    found = [int(word) for word in children.read_text().split()] if children.exists() else []
    return sorted(pid for pid in found if b"hume_ssl" in Path(f"/proc/{pid}/cmdline").read_bytes())


def test_more_searches_by_two_processes(hume: Hume, bare: Path) -> None:
    assert hume(*FIVE, "--run", "whole").code == 0
    assert hume(*FIVE, "--searches", "1", "--run", "two").code == 0
    for name in ("consensus.csv", "classes.csv"):  # the old class ids would stay
        (bare / "two" / name).unlink()
    process = torchrun(*FIVE, "--run", "two", "--resume", "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count("{") == 1 and err.count("100% (120 of 120)") == 1  # one process alone prints
    assert artefacts_of(bare / "two") == artefacts_of(bare / "whole")


@pytest.mark.slow
def test_two_processes_one_killed_and_resumed_by_one(hume: Hume, bare: Path) -> None:
    many = [*FIVE, "--searches", "21", "--set", "search.iterations=150"]
    process = torchrun(*many)
    with contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        deadline = time.monotonic() + 300
        while not (bare / "hume-run/searches/checkpoint.safetensors").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(workers(process.pid)[1], signal.SIGKILL)
        process.communicate(timeout=120)  # torchrun ends the other
    assert process.returncode == 1
    assert not (bare / "hume-run/consensus.csv").exists()
    assert hume(*many, "--resume").code == 0
    assert hume(*many, "--run", "whole").code == 0
    assert artefacts_of(bare / "hume-run") == artefacts_of(bare / "whole")


def test_wrong_input_ends_all_processes_with_its_exit_code(bare: Path) -> None:
    process = torchrun(*FIVE, "--classes", "100000")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1  # torchrun's own
    assert err.count("error: --classes 100000") == 1
    assert "exitcode  : 2" in err or "exitcode: 2" in err
    assert not (bare / "hume-run").exists()
