"""Damaged input to every reader of files: refused by InputError or read; no other exception, no hang, no 1 GiB.

    CASES=10000 python -m pytest -m slow -n 0 tests/faults/test_damaged_input.py         (hours; -k NAME for one reader)

A case may take 10 s of processor time, and 1 GiB of address space more than the process had before.
"""

import os
import resource
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.configuration import set_hypothesis_home_dir

from hume_ssl.errors import InputError
from tests.faults import readers
from tests.faults.damage import damaged
from tests.faults.readers import READERS, Reader

SECONDS, ROOM = 10, 1 << 30
FEW = 50


class Hang(BaseException):
    """A case took too long; no `except Exception` swallows it."""


def stop(signum: int, frame: FrameType | None) -> None:
    raise Hang(f"more than {SECONDS} s")


@contextmanager
def limits() -> Iterator[None]:
    """Time by the processor's clock (pytest-timeout has the other one), room by address space."""
    with open("/proc/self/statm") as file:
        present = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (present + ROOM, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        signal.signal(signal.SIGPROF, before)


def out_of_room(error: BaseException | None) -> bool:
    """Whether a refusal comes from the limit: without it, the reader would have taken the memory."""
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        parsing = bool(frames) and frames[-1].name == "parse"  # what Python's parser says of text nested too deeply
        if (
            (isinstance(error, MemoryError) and not parsing)
            or "allocate memory" in str(error)
            or "alloc_cpu" in str(error)
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def try_reader(reader: Reader, cases: int) -> int:
    """The number of cases tried."""
    readers._kept.clear()
    path = Path(reader.file)
    seeds = reader.seeds()
    readers.found()
    path.parent.mkdir(parents=True, exist_ok=True)
    counted = 0

    def case(data: bytes, *, sound: bool = False) -> None:
        path.unlink(missing_ok=True)  # a map of the last case's file keeps its bytes
        path.write_bytes(data)
        try:
            with limits(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(path)
        except InputError as error:
            assert not sound, f"a sound file is refused: {error}"
            assert not out_of_room(error), "more than 1 GiB:\n" + "".join(traceback.format_exception(error))
            assert 0 < len(str(error)) < 3000 and "\n" not in str(error)

    for seed in seeds:
        case(seed, sound=reader.sound)  # whatever is loaded at the first use is not counted against a case

    @settings(
        max_examples=cases,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=True,
    )
    @given(damaged(reader.kind, seeds))
    def damage(data: bytes) -> None:
        nonlocal counted
        counted += 1
        case(data)

    damage()
    return counted


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a copy of the finished run, in which seeds are made."""
    shutil.copytree(made / "hume-run", tmp_path / "hume-run")
    shutil.copy(made / "digits.npy", tmp_path)
    monkeypatch.chdir(tmp_path)
    set_hypothesis_home_dir(tmp_path / "hypothesis")  # even without a database it makes a folder
    return tmp_path


@pytest.mark.parametrize("name", READERS)
def test_damaged(folder: Path, name: str) -> None:
    try_reader(READERS[name], int(os.environ.get("CASES", FEW)))


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", READERS)
def test_damaged_at_length(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cases = try_reader(READERS[name], int(os.environ.get("CASES", "10000")))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with capsys.disabled():
        more = f"peak {peak / 2**10:.0f} MiB, {(peak - before) / 2**10:.0f} more than before"
        print(f"\n{name}: {cases} cases in {time.monotonic() - began:.0f} s, {more}")
