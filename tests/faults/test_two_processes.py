"""Two processes in one run folder: the second is refused, naming the first; what a dead one held is taken over."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hume_ssl import claims
from hume_ssl.errors import InputError
from tests.conftest import DISCOVER, Hume, artefacts_of, files_of

RUN = Path("hume-run")


def begin(*command: str) -> "subprocess.Popen[str]":
    """A command as a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "hume_ssl", *command], stderr=subprocess.PIPE, text=True)


def under_way(stage: str) -> bool:
    """Whether a stage has begun and not ended."""
    record = RUN / "run.json"
    return record.is_file() and json.loads(record.read_text())["stages"].get(stage, {}).get("status") == "unfinished"


def wait_for(stage: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not under_way(stage):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_discover_is_refused_and_a_dead_one_taken_over(hume: Hume, bare: Path) -> None:
    long = [*DISCOVER, "--set", "search.iterations=100000", "--set", "search.early_stop=false"]
    first = begin(*long)
    try:
        wait_for("discover", first)
        for command in ([*long, "--overwrite"], [*long, "--resume"]):
            answer = hume(*command)
            assert answer.code == 2, answer.err
            assert f"is being made by process {first.pid} on " in answer.err
            assert len(answer.err.strip().splitlines()) == 1
        assert first.poll() is None and under_way("discover")
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert hume(*DISCOVER, "--overwrite").code == 0  # what the dead process held is no hindrance
    assert not list(RUN.glob(".hume-tmp-*"))


def test_other_stages_do_not_wait_for_one_another(done: Path) -> None:
    claims.claim(RUN, "train/a")
    other = "from hume_ssl import claims; from pathlib import Path; claims.claim(Path('hume-run'), {!r})"
    try:
        for stage, told in (("train/b", ""), ("train/a", "is being made by process")):
            ended = subprocess.run([sys.executable, "-c", other.format(stage)], capture_output=True, text=True)
            assert (told in ended.stderr) if told else ended.returncode == 0, ended.stderr
        claims.claim(RUN, "train/a")  # again by the same process
    finally:
        claims.release_all()
    assert subprocess.run([sys.executable, "-c", other.format("train/a")], check=False).returncode == 0
    assert not list(RUN.glob(".hume-tmp-*"))


def test_locks_of_dead_processes_are_removed_and_those_of_living_ones_kept(done: Path) -> None:
    """Also of a stage that is not begun again, as a space that was finished the moment before the kill."""
    hold = "import sys, time; from hume_ssl import claims; from pathlib import Path\n"
    hold += "claims.claim(Path('hume-run'), sys.argv[1]); print('ready', flush=True); time.sleep(60)"
    dead, alive = (
        subprocess.Popen([sys.executable, "-c", hold, stage], stdout=subprocess.PIPE)
        for stage in ("train/a", "train/b")
    )
    try:
        for process in (dead, alive):
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        dead.kill()
        dead.wait()
        claims.claim(RUN, "train/c")
        assert len(list(RUN.glob(".hume-tmp-lock-*"))) == 3
        claims.remove_dead(RUN)
        assert {path.name[-1] for path in RUN.glob(".hume-tmp-lock-*")} == {"b", "c"}
        ask = "from hume_ssl import claims; from pathlib import Path; claims.claim(Path('hume-run'), 'train/{}')"
        for stage in "bc":  # held still, by us too: to look at a lock of one's own would let go of it
            assert subprocess.run([sys.executable, "-c", ask.format(stage)], capture_output=True).returncode != 0
    finally:
        claims.release_all()
        alive.kill()
        alive.wait()


def test_a_worker_process_holds_nothing(tmp_path: Path) -> None:
    """Killed, a process lets go at once, though a child that it forked lives on."""
    code = (
        "import os, sys, time\nfrom pathlib import Path\nfrom hume_ssl import claims\n"
        "claims.claim(Path(sys.argv[1]), 'train/a')\n"
        "child = os.fork()\n"
        "print('ready', flush=True) if child else None\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        with pytest.raises(InputError, match=f"process {process.pid} "):
            claims.claim(tmp_path, "train/a")
        process.kill()
        process.wait()
        claims.claim(tmp_path, "train/a")
        claims.release(tmp_path, "train/a")
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_refused_work_leaves_no_lock(hume: Hume, done: Path) -> None:
    before = files_of(RUN)
    assert hume(*shlex.split("export --to usb --of nothing")).code == 2
    assert hume("select", "--per-class", "5000", "--overwrite").code == 2
    assert files_of(RUN) == before
    (RUN / ".hume-tmp-lock-spaces+kernel-rbf").touch()  # of a process killed as that space was finished
    assert hume("select", "--per-class", "3").code == 0
    assert not [name for name in artefacts_of(RUN) if "lock" in name]
