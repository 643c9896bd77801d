"""The same command gives the same bytes, however its work is cut up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hume_ssl.files import read_csv
from tests.conftest import DISCOVER, Hume, artefacts_of

ENCODER = ["--encoder", "torchvision:squeezenet1_1@weights.pth?size=32"]


def test_more_searches_begin_with_the_same_ones(bare: Path, hume: Hume) -> None:
    for count in (3, 4, 6):
        assert hume(*DISCOVER, "--searches", str(count), "--run", str(count)).code == 0
    most = np.load("6/searches/labellings.npy")
    for count in (3, 4):
        np.testing.assert_array_equal(np.load(f"{count}/searches/labellings.npy"), most[:count])


def test_any_number_of_workers_embeds_the_same(bare: Path, hume: Hume) -> None:
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), "weights.pth")
    Path("photos").mkdir()
    for i, digit in enumerate(np.load("digits.npy")[:60]):
        Image.fromarray(digit).save(f"photos/{i:02d}.png")
    made = []
    for workers in ("0", "1", "3"):
        command = ["embed", "--images", "photos", *ENCODER, "--workers", workers, "--run", workers]
        assert hume(*command).code == 0
        made.append(artefacts_of(Path(workers)))
    assert made[0] == made[1] == made[2]


def digits(run: str, threads: int, *more: str) -> "tuple[np.ndarray, np.ndarray]":
    """Labellings and consensus of ten searches of the digits, by a process with so many threads."""
    command = [sys.executable, "-m", "hume_ssl", "discover", "--searches", "10", "--run", run, *more]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    labels = read_csv(Path(run) / "consensus.csv")["label"].to_numpy()
    return np.load(f"{run}/searches/labellings.npy"), labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threads", "more"),
    [(2, ["--set", "search.batch=10"]), (1, ["--set", "search.batch=5"]), (1, ["--set", "search.precision=bfloat16"])],
    ids=["threads", "searches side by side", "bfloat16"],
)
def test_another_order_of_summation_hardly_changes_the_consensus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, more: list[str]
) -> None:
    """Sums in another order round otherwise; searches drift apart, and the vote brings them together again."""
    monkeypatch.chdir(tmp_path)
    _, whole = digits("whole", 1, "--set", "search.batch=10")
    _, other = digits("other", threads, *more)
    assert json.loads(Path("other/run.json").read_text())["stages"]["discover"]["status"] == "finished"
    assert (whole == other).mean() >= 0.995  # class for class: they keep their numbers too
