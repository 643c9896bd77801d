"""Two processes under torchrun pretrain as one does, within rounding, and the first alone writes and prints."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Hume, files_of
from tests.e2e.test_torchrun import torchrun

pytest.importorskip("lightly")
# Few and small steps in float32, so that rounding, which differs, has no room to grow.
FEW = shlex.split("pretrain --images digits.npy --steps 6 --batch 64 --set pretrain.lr=1e-4")
FEW += ["--set", "pretrain.precision=float32"]


def test_two_processes_pretrain_as_one(hume: Hume, bare: Path) -> None:
    process = torchrun(*FEW, "--run", "two", "--json")
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out.count("{") == 2 and err.count("100% (6 of 6)") == 1  # one object, with its figures in it
    assert hume(*FEW, "--run", "one").code == 0
    one, two = bare / "one/pretrain/small-cnn", bare / "two/pretrain/small-cnn"
    assert files_of(one).keys() == files_of(two).keys()
    np.testing.assert_allclose(np.load(one / "space.npy"), np.load(two / "space.npy"), rtol=1e-3, atol=1e-4)


def test_a_batch_that_cannot_be_shared_ends_them_all(bare: Path) -> None:
    process = torchrun(*FEW, "--batch", "63")
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode != 0 and not out
    assert "pretrain.batch 63 cannot be shared by 2 processes: give --batch 64" in err
    assert not (bare / "hume-run").exists()
