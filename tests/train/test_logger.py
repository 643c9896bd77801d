"""TensorBoard's event files, read back by TensorBoard itself."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hume_ssl.errors import InputError
from hume_ssl.train import train_fixmatch
from hume_ssl.train.logger import TensorBoard, open_logger
from hume_ssl.train_config import TrainConfig
from tests.conftest import TRAIN, Hume


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every curve, as TensorBoard draws them."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_rows_become_curves(tmp_path: Path) -> None:
    """Figures that are not there leave a gap; a list is one curve a class."""
    pytest.importorskip("tensorboard")
    logger = TensorBoard(tmp_path / "tb")
    assert not (tmp_path / "tb").exists()  # nothing before the first row
    rows: list[dict[str, Any]] = [
        {"step": 4, "loss": 1.5, "pseudo_agreement": None, "balance": [0.25, 0.75]},
        {"step": 8, "loss": 0.5, "pseudo_agreement": 1.0, "balance": [0.5, None]},
    ]
    for row in rows:
        logger.row(row)
    assert curves(tmp_path / "tb")["loss"] == [(4, 1.5), (8, 0.5)]  # before it is closed
    logger.close()
    assert curves(tmp_path / "tb") == {
        "loss": [(4, 1.5), (8, 0.5)],
        "pseudo_agreement": [(8, 1.0)],
        "balance/0": [(4, 0.25), (8, 0.5)],
        "balance/1": [(4, 0.75)],
    }


def test_steps_done_again_after_a_resume_are_drawn_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for steps in ([2, 4, 6, 8], [6, 8, 10]):  # killed after 8, its last checkpoint at 5
        logger = TensorBoard(tmp_path)
        for step in steps:
            logger.row({"step": step, "loss": step + len(steps)})
        logger.close()
    assert curves(tmp_path)["loss"] == [(2, 6), (4, 8), (6, 9), (8, 11), (10, 13)]


class StopAt:
    """A progress display that stands for Ctrl-C after so many steps."""

    def __init__(self, step: int) -> None:
        self.left = step

    def advance(self, n: int = 1, **info: str) -> None:
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt


def test_a_training_killed_and_resumed_has_the_curves_of_its_history(tmp_path: Path) -> None:
    """Killed after step 9, rows drawn up to 8, its checkpoint at 5: the rows of 6 and 8 come twice to the logger."""
    pytest.importorskip("tensorboard")
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    config = TrainConfig(steps=12, batch=4, mu=1, eval_every=2, checkpoint_every=5)
    keys: dict[str, Any] = {"classes": 2, "config": config, "device": "cpu", "checkpoint_dir": tmp_path / "checkpoints"}
    labels = np.arange(6) % 2
    with pytest.raises(KeyboardInterrupt):
        train_fixmatch(images, np.arange(6), labels, progress=StopAt(9), logger=TensorBoard(tmp_path / "tb"), **keys)
    assert [step for step, _ in curves(tmp_path / "tb")["loss"]] == [2, 4, 6, 8]
    result = train_fixmatch(images, np.arange(6), labels, resume=True, logger=TensorBoard(tmp_path / "tb"), **keys)
    assert len(result.history) == 6
    assert curves(tmp_path / "tb")["loss"] == [(row["step"], pytest.approx(row["loss"])) for row in result.history]


def test_a_training_drawn_is_the_training(hume: Hume, done: Path, made: Path) -> None:
    """The same files as without, and the figures of metrics.jsonl; --overwrite draws anew, not beside the old."""
    pytest.importorskip("tensorboard")
    here = Path("hume-run/train/fixmatch-per-class-2")
    for _ in range(2):
        assert hume(*TRAIN, "--logger", "tensorboard", "--overwrite").code == 0
        for name in ("metrics.jsonl", "model.safetensors", "checkpoints/last.safetensors"):
            assert (here / name).read_bytes() == (made / here / name).read_bytes()
        drawn = curves(here / "tensorboard")
        assert len(list((here / "tensorboard").iterdir())) == 1
        rows = [json.loads(line) for line in (here / "metrics.jsonl").read_text().splitlines()]
        assert len(rows) >= 2
        assert drawn["loss"] == [(row["step"], pytest.approx(row["loss"])) for row in rows]
        assert "changed since" not in hume("status").out
    assert hume(*TRAIN, "--overwrite").code == 0
    assert not (here / "tensorboard").exists()


def test_without_tensorboard_it_says_how_to_get_it(
    hume: Hume, done: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'hume_ssl\[tensorboard\]'"):
        open_logger("tensorboard", tmp_path)
    before = Path("hume-run/run.json").read_bytes()
    answer = hume(*TRAIN, "--logger", "tensorboard", "--name", "drawn")
    assert answer.code == 2 and "hume_ssl[tensorboard]" in answer.err
    assert Path("hume-run/run.json").read_bytes() == before and not Path("hume-run/train/drawn").exists()
