"""The command line in this process, small runs that are made once, and the shared development data."""

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before numpy and torch are loaded: the arrays here are so small that threads only cost time, and programs that tests
# start must round as this process does.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest

from hume_ssl.interrupts import SIGNS

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
DISCOVER = shlex.split(
    "discover --images digits.npy --classes 10 --split 0.2 --searches 4 --set search.iterations=40 "
    "--set search.batch=2 --set data.flip=false --encoder 'kernel:rbf?width=0.5&dim=64' --encoder kernel:rbf?dim=96"
)
SELECT = ["select", "--per-class", "2"]
TRAIN = shlex.split("train-fixmatch --steps 12 --set train.checkpoint_every=4 --set train.batch=16")
# Outside byte comparisons: wall-clock time lives here.
CLOCKED = ("run.json", "log.txt", "report.html")


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)


Hume = Callable[..., Answer]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by relative path; {} where there is no folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def artefacts_of(run: Path) -> dict[str, bytes]:
    """Every file of a run folder that is equal from run to run."""
    return {name: data for name, data in files_of(run).items() if Path(name).name not in CLOCKED}


def call(*arguments: str) -> Answer:
    """`hume-ssl ARGUMENTS` in this process."""
    from hume_ssl.cli import main

    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    handlers = {sign: signal.getsignal(sign) for sign in SIGNS}
    sys.argv = ["hume-ssl", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        return Answer(int(ended.code or 0), out.getvalue(), err.getvalue())
    finally:
        sys.argv = argv
        for sign, handler in handlers.items():
            signal.signal(sign, handler)
    raise AssertionError("main() returned")


@pytest.fixture
def hume() -> Hume:
    return call


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 400 digits, their truth, and a finished discover, select and train-fixmatch; do not change it."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("made")
    digits = load_digits()
    np.save(folder / "digits.npy", np.rint(digits.images[:400] * (255 / 16)).astype(np.uint8))
    np.save(folder / "truth.npy", digits.target[:400].astype(np.int64))
    with contextlib.chdir(folder):
        for command in (DISCOVER, SELECT, TRAIN):
            answer = call(*command)
            assert answer.code == 0, answer.err
    return folder


@pytest.fixture
def bare(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new working folder with the 400 digits and their truth, nothing else."""
    for name in ("digits.npy", "truth.npy"):
        shutil.copy(made / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def done(made: Path, bare: Path) -> Path:
    """A new working folder with a copy of the finished run, hume-run."""
    shutil.copytree(made / "hume-run", bare / "hume-run")
    return bare


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared development data; a test that asks for it is skipped where the folder is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no development data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def cifar(shared: Path) -> dict[str, Any]:
    """Two spaces of 6,000 CIFAR-10 images, `mobilenetv2` and `resnet50s3` (n, 256) float32, and their `truth`."""
    with np.load(shared / "cifar10-dev.npz", allow_pickle=False) as data:
        return {
            name: data[name].astype(data[name].dtype if name == "truth" else np.float32)
            for name in ("mobilenetv2", "resnet50s3", "truth")
        }
