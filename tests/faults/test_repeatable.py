"""The same command gives the same bytes, however its work is cut up."""

import os
import shlex
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


def run_alone(run: str, threads: int, *more: str) -> None:
    """`discover` by a process that has so many threads."""
    command = [sys.executable, "-m", "hume_ssl", *DISCOVER, "--run", run, *more]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})


def test_neither_threads_nor_searches_side_by_side_change_a_file(bare: Path) -> None:
    run_alone("whole", 2)
    whole = artefacts_of(Path("whole"))
    for threads, batch in ((1, 1), (2, 3)):
        run = f"{threads}-{batch}"
        run_alone(run, threads, "--set", f"search.batch={batch}")
        other = artefacts_of(Path(run))
        differ = {name for name in whole.keys() | other.keys() if whole.get(name) != other.get(name)}
        differ -= {"recipe.toml"}  # which says search.batch
        assert not differ, f"{batch} side by side on {threads} threads: {differ}"


@pytest.mark.slow
def test_bfloat16_hardly_changes_the_consensus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products round otherwise; searches drift apart, and the vote brings them together again."""
    monkeypatch.chdir(tmp_path)
    found = {}
    for precision in ("float32", "bfloat16"):
        command = [*shlex.split("discover --searches 64 --run"), precision, "--set", f"search.precision={precision}"]
        subprocess.run([sys.executable, "-m", "hume_ssl", *command], check=True, capture_output=True)
        found[precision] = read_csv(Path(precision) / "consensus.csv")["label"].to_numpy()
    # Class for class: they keep their numbers too.
    assert (found["float32"] == found["bfloat16"]).mean() >= 0.995
