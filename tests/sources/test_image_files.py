"""File names as file systems have them, through the tables of a run."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hume_ssl.errors import InputError
from hume_ssl.items import load_items
from tests.conftest import Hume


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf8_keep_their_bytes_in_every_table(
    hume: Hume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pyarrow installed too, in which pandas would keep text, and which takes UTF-8 alone."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("photos")
    for i in range(12):
        name = os.fsdecode(b"photos/\xe9" + str(i).encode() + b".png")
        Image.fromarray(np.full((8, 8), 100 * (i % 2) + i, np.uint8)).save(name)
    Path(os.fsdecode(b"photos/\xe90.png")).write_bytes(b"no image")
    settings = ("--classes", "2", "--searches", "2", "--set", "search.iterations=20", "--encoder", "kernel:rbf?dim=8")
    answer = hume("discover", "--images", "photos", "--skip-broken", *settings, "--neighbours", "3")
    assert answer.code == 0, answer.err
    assert hume("select", "--per-class", "1", "--allow-short").code == 0
    assert hume("train-fixmatch", "--steps", "1", "--set", "train.batch=2").code == 0
    tables = ["items.csv", "broken.csv", "consensus.csv", "selection/per-class-1/labels.csv"]
    for table in [*tables, "train/fixmatch-per-class-1/predictions.csv"]:
        assert b"\xe9" in Path("hume-run", table).read_bytes(), table


def test_other_images_of_the_same_names_and_sizes_are_others(tmp_path: Path) -> None:
    """As frames of a camera, uncompressed: day1/000.bmp and day2/000.bmp."""
    for day in (1, 2):
        (tmp_path / f"day{day}").mkdir()
        for i in range(40):
            Image.fromarray(np.full((6, 6), 3 * i + day, np.uint8)).save(tmp_path / f"day{day}" / f"{i}.bmp")
    shutil.copytree(tmp_path / "day1", tmp_path / "copy")
    one, two, copy = (load_items(tmp_path / name).hash for name in ("day1", "day2", "copy"))
    assert one == copy != two


def test_a_list_with_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("x" * 5000, "a\0b"):
        (tmp_path / "list.csv").write_text(f"filepath\n{name}\n")
        with pytest.raises(InputError, match="check the list"):
            load_items(tmp_path / "list.csv")
