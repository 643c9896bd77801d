"""`assign --from train`: new images labelled by the trained network."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hume_ssl.stages.assign import assignment_name
from tests.conftest import TRAIN, Hume, artefacts_of, files_of

ASSIGN = ("assign", "--from", "train", "--images")


def test_the_runs_own_images_get_their_predictions(hume: Hume, done: Path) -> None:
    answer = hume(*ASSIGN, "digits.npy", "--json")
    assert answer.code == 0, answer.err
    table = pd.read_csv("hume-run/assign/digits.csv")
    assert list(table) == ["index", "filepath", "label", "class_name", "confidence"]
    predictions = pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")
    for column in ("index", "label", "class_name", "confidence"):
        assert table[column].equals(predictions[column]), column
    facts = answer.json
    assert facts["path"] == "hume-run/assign/digits.csv" and facts["name"] == "fixmatch-per-class-2"
    assert facts["class_counts"] == np.bincount(table["label"], minlength=10).tolist()
    assert facts["mean_confidence"] == pytest.approx(table["confidence"].mean())


def test_files_with_odd_names_and_the_names_of_classes(hume: Hume, done: Path) -> None:
    """File and class names are data: they come back from the table as they went in, paths perhaps with ./ before."""
    odd = ["a,b.png", 'quo"te.png', "line\nend.png", "=1+1.png", "NA.png", "sub/007.png"]
    digits = np.load("digits.npy")
    for i, name in enumerate(odd):
        path = Path("new images (1)") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits[i]).save(path)
    names = [f'<b>"{label}", one\'s' for label in range(10)]
    pd.DataFrame({"class": range(10), "name": names}).to_csv("hume-run/classes.csv", index=False)
    assert hume(*ASSIGN, "new images (1)").code == 0
    table = pd.read_csv("hume-run/assign/new-images-1.csv", keep_default_na=False)
    files = [os.path.normpath(name) for name in table["filepath"]]
    assert files == sorted(odd)
    predictions = pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")["label"]
    assert table["label"].tolist() == [predictions[odd.index(name)] for name in files]
    assert table["class_name"].tolist() == [names[label] for label in table["label"]]


def test_the_table_of_states(hume: Hume, done: Path) -> None:
    """Finished with the same inputs says so; with other images, names or another network it is refused."""
    assert hume(*ASSIGN, "digits.npy").code == 0
    before = files_of(Path("hume-run"))
    again = hume(*ASSIGN, "digits.npy")
    assert again.code == 0 and "nothing to do" in again.out and files_of(Path("hume-run")) == before
    Path("other").mkdir()
    np.save("other/digits.npy", np.load("digits.npy")[:50])
    refused = hume(*ASSIGN, "other/digits.npy")
    assert refused.code == 2 and "images was" in refused.err and "--overwrite" in refused.err
    assert files_of(Path("hume-run")) == before
    assert hume(*TRAIN, "--seed", "1", "--name", "second").code == 0
    refused = hume(*ASSIGN, "digits.npy")  # the latest training now
    assert refused.code == 2 and "network was" in refused.err
    assert "nothing to do" in hume(*ASSIGN, "digits.npy", "--name", "fixmatch-per-class-2").out
    classes = Path("hume-run/classes.csv")
    classes.write_text(classes.read_text().replace("class-03", "three"))
    refused = hume(*ASSIGN, "digits.npy", "--name", "fixmatch-per-class-2")
    assert refused.code == 2 and "names was" in refused.err
    assert hume(*ASSIGN, "other/digits.npy", "--overwrite").code == 0
    table = pd.read_csv("hume-run/assign/digits.csv")
    assert len(table) == 50 and "class-03" not in set(table["class_name"])


def test_a_training_that_cannot_be_used(hume: Hume, done: Path) -> None:
    run = Path("hume-run")
    path = run / "train/fixmatch-per-class-2/model.safetensors"
    data = path.read_bytes()

    def refused(*says: str) -> None:
        before = files_of(run)
        answer = hume(*ASSIGN, "digits.npy")
        assert answer.code == 2 and len(answer.err.splitlines()) == 1
        assert all(word in answer.err for word in says), answer.err
        assert files_of(run) == before

    path.write_bytes(data[:-1] + b"x")
    refused("model.safetensors", "train-fixmatch --name fixmatch-per-class-2 --overwrite")
    path.unlink()
    refused("model.safetensors", "--overwrite")
    path.write_bytes(data)
    record = json.loads((run / "run.json").read_text())
    del record["stages"]["train/fixmatch-per-class-2"]["artefacts"]["train/fixmatch-per-class-2/model.safetensors"]
    (run / "run.json").write_text(json.dumps(record))  # of a version that wrote no such file
    refused("model.safetensors", "--overwrite")
    record["stages"]["train/fixmatch-per-class-2"]["stale"] = "the consensus changed"
    (run / "run.json").write_text(json.dumps(record))
    refused("older consensus", "train-fixmatch --name fixmatch-per-class-2 --overwrite")
    shutil.rmtree(run / "train")
    del record["stages"]["train/fixmatch-per-class-2"]
    (run / "run.json").write_text(json.dumps(record))
    refused("no finished training", "train-fixmatch")


def test_an_unreadable_image_leaves_nothing(hume: Hume, done: Path) -> None:
    Path("new").mkdir()
    Image.fromarray(np.load("digits.npy")[0]).save("new/0.png")
    Path("new/1.png").write_bytes(b"no image")
    before = files_of(Path("hume-run"))
    answer = hume(*ASSIGN, "new")
    assert answer.code == 2 and "1.png" in answer.err
    assert files_of(Path("hume-run")) == before and not Path("hume-run/assign").exists()


def test_equal_bytes_and_what_overwriting_removes(hume: Hume, done: Path) -> None:
    """The same labels twice are the same bytes, and files of others stay."""
    assert hume(*ASSIGN, "digits.npy").code == 0
    first = artefacts_of(Path("hume-run"))
    Path("hume-run/assign/mine.csv").write_text("my own")
    assert hume(*ASSIGN, "digits.npy", "--overwrite").code == 0
    assert Path("hume-run/assign/mine.csv").read_text() == "my own"
    Path("hume-run/assign/mine.csv").unlink()
    assert artefacts_of(Path("hume-run")) == first


@pytest.mark.parametrize(
    ("images", "name"),
    [
        ("a/b/photos 2024.05/", "photos-2024.05"),
        ("list.of.images.csv", "list.of.images.csv"),  # no such file: a folder's name is kept whole
        ("../..", None),
        ("ünï", "n"),
        ("...", "images"),
        ("--x", "x"),
    ],
)
def test_names_of_tables(images: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = assignment_name(images)
    assert found == name or name is None
    assert "/" not in found and not found.startswith((".", "-")) and found
