"""A full disk, a disk that may not be written to, another disk: one line, nothing lost, and on it goes with room.

python -m pytest -m slow tests/faults/test_disk.py          (every write fails once, every size of disk)
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hume_ssl.disk import disk_trouble, new_array
from hume_ssl.growing import GrowingArray
from tests.conftest import DISCOVER, SELECT, TRAIN, Answer, Hume, artefacts_of

RUN = Path("hume-run")
EXPORT = ["export", "--to", "csv"]
REPORT = ["report"]
EVALUATE = ["evaluate", "--truth", "truth.npy"]
ASSIGN = ["assign", "--images", "digits.npy"]
# A command, and how it goes on after a failure.
COMMANDS = {
    "discover": (DISCOVER, [*DISCOVER, "--resume"]),
    "select": (SELECT, [*SELECT, "--overwrite"]),
    "train-fixmatch": (TRAIN, [*TRAIN, "--resume"]),
    "export": (EXPORT, [*EXPORT, "--overwrite"]),
    "assign": (ASSIGN, [*ASSIGN, "--overwrite"]),
    "evaluate": (EVALUATE, EVALUATE),
    "report": (REPORT, REPORT),
}
BEFORE = {"select": [DISCOVER], "train-fixmatch": [DISCOVER, SELECT]}
Disk = Callable[[str], Path]


@pytest.fixture
def disk(bare: Path) -> Iterator[Disk]:
    """`disk("size=64k")`: a file system in memory, mounted at hume-run, or mounted again so."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    RUN.mkdir(exist_ok=True)

    def mount(options: str) -> Path:
        again = "remount," if RUN.is_mount() else ""
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", again + options, "none", str(RUN)], capture_output=True)
        if made.returncode:
            assert not again, made.stderr
            pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
        return RUN

    yield mount
    subprocess.run(["umount", "--lazy", str(RUN)], check=False, capture_output=True)


def told(answer: Answer, *words: str) -> None:
    """It ended as a wrong input does: one line at the end, after what progress said, and no traceback."""
    assert answer.code == 2, answer
    assert "Traceback" not in answer.err
    assert [line for line in answer.err.splitlines() if line.startswith("error: ")] == answer.err.splitlines()[-1:]
    for word in words:
        assert word in answer.err


class Failing:
    """Refuses the n-th time that something is opened for writing, renamed, linked or made below hume-run."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.count = 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.left is None or not self.writes(event, arguments):
            return
        self.count += 1
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def writes(self, event: str, arguments: tuple[object, ...]) -> bool:
        path = arguments[1] if event in ("os.rename", "os.symlink") else arguments[0] if arguments else None
        if not isinstance(path, str | os.PathLike) or RUN.name not in os.fspath(path):
            return False
        if event == "open":
            flags = arguments[2]
            return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        return event in ("os.rename", "os.symlink", "os.mkdir")


failing = Failing()
sys.addaudithook(failing)


def fail_at(hume: Hume, command: list[str], number: int) -> Answer | None:
    """What the command says whose write with this number fails; None where it has fewer."""
    failing.left, failing.count = number, 0
    try:
        answer = hume(*command)
    finally:
        failing.left = None
    return answer if failing.count >= number else None


def fail_and_go_on(hume: Hume, name: str, step: int) -> None:
    """Every `step`-th write of a command fails in turn, and it goes on from there to the bytes of one undisturbed."""
    command, again = COMMANDS[name]
    for one in BEFORE.get(name, [DISCOVER, SELECT, TRAIN]) if name != "discover" else []:
        assert hume(*one).code == 0
    if RUN.exists():
        shutil.copytree(RUN, "before")
    assert hume(*command).code == 0
    expected = artefacts_of(RUN)
    number = tried = 0
    while True:
        shutil.rmtree(RUN)
        if Path("before").exists():
            shutil.copytree("before", RUN)
        number += step
        answer = fail_at(hume, command, number)
        if answer is None:
            break
        tried += 1
        if answer.code != 0:  # a file that is for convenience alone may be missing
            told(answer, os.strerror(errno.ENOSPC))
        repeated = hume(*again)
        assert repeated.code == 0, (number, repeated.err)
        assert artefacts_of(RUN) == expected, number
    assert tried


@pytest.mark.parametrize(("name", "step"), [("discover", 11), ("select", 2), ("train-fixmatch", 9), ("export", 3)])
def test_some_writes_fail(bare: Path, hume: Hume, name: str, step: int) -> None:
    fail_and_go_on(hume, name, step)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_write_fails_once(bare: Path, hume: Hume, name: str) -> None:
    fail_and_go_on(hume, name, 1)


def fill_up(hume: Hume, disk: Disk, sizes: Iterator[int] | list[int]) -> None:
    """A run on disks of so many KiB: it says that one is full, and with room it goes on to the same bytes."""
    commands = (("discover", DISCOVER), ("select", SELECT), ("train-fixmatch", TRAIN))
    for _, command in commands:
        assert hume(*command, "--run", "whole").code == 0
    expected = artefacts_of(Path("whole"))
    for size in sizes:
        for path in RUN.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        disk(f"size={size}k")
        for name, command in commands:
            answer = hume(*command)
            if answer.code == 0:
                continue
            told(answer, str(RUN))
            disk("size=64m")
            again = hume(*(COMMANDS[name][1] if RUN.joinpath("run.json").exists() else command))
            assert again.code == 0, again.err
        assert artefacts_of(RUN) == expected, size


def test_the_disk_is_full(hume: Hume, disk: Disk) -> None:
    fill_up(hume, disk, [8, 120, 500])


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_the_disk_is_full_at_any_size(hume: Hume, disk: Disk) -> None:
    fill_up(hume, disk, [*range(4, 200, 8), *range(200, 1600, 40)])


def test_a_file_may_not_grow(bare: Path) -> None:
    """A limit that the kernel holds every write to, so that it is met in the middle of a file as well."""
    import resource

    limit = 40_000
    answer = subprocess.run(
        [sys.executable, "-m", "hume_ssl", *DISCOVER],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
    )
    told(Answer(answer.returncode, answer.stdout, answer.stderr), "File too large", "ulimit -f", "--resume")


def test_a_finished_run_that_may_not_be_written_to(done: Path, hume: Hume, disk: Disk) -> None:
    shutil.copytree(RUN, "copy")
    shutil.copytree("copy", disk("size=64m"), dirs_exist_ok=True)
    disk("ro")
    for command in (["status"], SELECT, TRAIN, ["score", "--labels", "truth.npy"]):
        answer = hume(*command)
        assert answer.code == 0, answer.err
    for command in (["select", "--per-class", "1"], EXPORT, REPORT, EVALUATE, [*DISCOVER, "--overwrite"]):
        told(hume(*command), str(RUN), os.strerror(errno.EROFS))


def test_a_folder_that_may_not_be_written_to(hume: Hume, disk: Disk) -> None:
    disk("ro")
    told(hume(*DISCOVER), str(RUN), os.strerror(errno.EROFS), "--run")


def test_a_run_on_another_file_system(bare: Path, hume: Hume) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == bare.stat().st_dev:
        pytest.skip("there is no other file system here")
    elsewhere = other / f"hume-run-{os.getpid()}"
    try:
        for run in ("here", str(elsewhere)):
            for command in (DISCOVER, SELECT, TRAIN):
                assert hume(*command, "--run", run).code == 0
        assert artefacts_of(elsewhere) == artefacts_of(Path("here"))
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


def test_an_array_takes_its_room_at_once(disk: Disk) -> None:
    """Else the process would end by a signal where it writes to a page that there is no room for."""
    with pytest.raises(OSError, match="No space left") as caught:
        new_array(disk("size=64k") / "big.npy", (1000, 1000), np.float32)
    assert caught.value.filename == str(RUN / "big.npy")
    assert not list(RUN.iterdir())
    assert "make room" in str(disk_trouble(caught.value))


def test_a_growing_array_keeps_what_there_was_room_for(disk: Disk) -> None:
    folder = disk("size=1m")
    growing = GrowingArray(folder / "space.npy", "key")
    growing.open((100, 10), np.float32)[:50] = 1
    growing.keep({})
    (folder / "fill").write_bytes(b"x" * 900_000)
    again = GrowingArray(folder / "space.npy", "key")
    again.open((100, 10), np.float32)[50:] = 2
    again.keep({})
    again.finish()
    assert np.load(folder / "space.npy").sum() == 500 + 1000
