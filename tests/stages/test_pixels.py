"""Images of a training that go through a file of the run folder."""

from pathlib import Path

import numpy as np
import pytest

from hume_ssl.images import to_pixels
from hume_ssl.stages import pixels
from tests.conftest import TRAIN, Hume

SIZE = ("--set", "train.size=12")  # another than the digits' own, so that they have to be decoded


@pytest.fixture
def through_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "IN_MEMORY", 0)
    monkeypatch.setattr(pixels, "CHUNK", 64)


def test_the_training_is_the_same_and_decodes_once(
    hume: Hume, done: Path, through_a_file: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hume(*TRAIN, *SIZE, "--name", "file").code == 0
    [path] = Path("hume-run/spaces").glob("pixels-12x12-*.npy")
    assert np.load(path, mmap_mode="r").shape == (400, 12, 12)
    monkeypatch.setattr(pixels, "to_pixels", None)  # a call would fail
    assert hume(*TRAIN, *SIZE, "--name", "again").code == 0
    monkeypatch.setattr(pixels, "IN_MEMORY", 1 << 30)
    assert hume(*TRAIN, *SIZE, "--name", "memory").code == 0
    for other in ("again", "memory"):
        for name in ("model.safetensors", "predictions.csv", "metrics.jsonl"):
            files = [Path("hume-run/train") / training / name for training in ("file", other)]
            assert files[0].read_bytes() == files[1].read_bytes()


def test_interrupted_it_goes_on_where_it_was(
    hume: Hume, done: Path, through_a_file: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def interrupted(*arguments: object) -> np.ndarray:
        decoded.append(1)
        if len(decoded) == 200:
            raise KeyboardInterrupt
        return to_pixels(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pixels, "to_pixels", interrupted)
    assert hume(*TRAIN, *SIZE).code == 2  # a training under this name is finished, at another size
    assert hume(*TRAIN, *SIZE, "--name", "cut").code == 130
    before = len(decoded)
    assert hume(*TRAIN, *SIZE, "--name", "cut", "--resume").code == 0
    assert 400 - 192 <= len(decoded) - before <= 400 - 128  # all but the two or three whole chunks of 64
    assert not list(Path("hume-run/spaces").glob("*growing*"))


def test_arrays_of_the_right_size_need_no_file(hume: Hume, done: Path, through_a_file: None) -> None:
    assert hume(*TRAIN, "--name", "plain").code == 0
    assert not list(Path("hume-run/spaces").glob("pixels*"))
