"""`--skip-broken`: broken images are left out, listed, and left out again by every later command."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from hume_ssl.broken import leave_out_listed, skip_broken
from hume_ssl.errors import InputError
from hume_ssl.items import load_items
from tests.conftest import Hume, artefacts_of, files_of

DISCOVER = ("discover", "--classes", "3", "--searches", "2", "--set", "search.iterations=20", "--set", "search.batch=2")
ENCODER = ("--encoder", "kernel:rbf?dim=32")
BROKEN = ["007.png", "030.png", "041.png"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """60 digits as files, of which one is no image, one cut short, one empty."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    digits = load_digits(n_class=3)
    for i, image in enumerate(digits.images[:60]):
        pixels = np.kron(np.rint(image * (255 / 16)).astype(np.uint8), np.ones((2, 2), np.uint8))
        Image.fromarray(pixels).save(f"photos/{i:03d}.png")
    whole = Path("photos/030.png").read_bytes()
    for name, data in zip(BROKEN, (b"no image", whole[: len(whole) // 2], b""), strict=True):
        Path("photos", name).write_bytes(data)
    np.save("truth.npy", np.delete(digits.target[:60], [7, 30, 41]))
    return tmp_path


def test_without_the_flag_the_first_is_named_with_the_way_out(hume: Hume, photos: Path) -> None:
    before = files_of(photos)
    answer = hume(*DISCOVER, *ENCODER, "--images", "photos")
    assert (answer.code, answer.out) == (2, "") and len(answer.err.splitlines()) == 1
    assert "007.png" in answer.err and "--skip-broken" in answer.err
    assert files_of(photos) == before


def test_with_it_they_are_listed_and_all_stages_agree(hume: Hume, photos: Path) -> None:
    answer = hume(*DISCOVER, *ENCODER, "--images", "photos", "--skip-broken")
    assert answer.code == 0, answer.err
    assert (
        "3 of 60 images cannot be read and are left out" in answer.out
        and "007.png: it is in none of the formats" in answer.out
    )
    broken = pd.read_csv("hume-run/broken.csv")
    assert broken.columns.tolist() == ["filepath", "reason", "position"]
    assert broken["filepath"].tolist() == BROKEN and broken["position"].tolist() == [7, 30, 41]
    assert broken["reason"].str.len().min() > 5 and not broken["reason"].str.contains("photos").any()
    items = pd.read_csv("hume-run/items.csv")["filepath"].tolist()
    assert len(items) == 57 and not set(items) & set(BROKEN)
    assert hume("select", "--per-class", "2", "--allow-short").code == 0
    trained = hume("train-fixmatch", "--steps", "2", "--set", "train.batch=2")
    assert trained.code == 0, trained.err
    assert pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")["filepath"].tolist() == items
    assert hume("evaluate", "--truth", "truth.npy").code == 0
    again = hume(*DISCOVER, *ENCODER, "--images", "photos", "--skip-broken")
    assert again.code == 0 and "nothing to do" in again.out
    assert "skip_broken = true" in Path("hume-run/recipe.toml").read_text()


def test_the_run_is_that_of_the_sound_images_alone(hume: Hume, photos: Path) -> None:
    """Broken images anywhere among them change nothing; repaired or removed afterwards, they change nothing either."""
    assert hume(*DISCOVER, *ENCODER, "--images", "photos", "--skip-broken").code == 0
    shutil.copytree("photos", "sound")
    for name in BROKEN:
        Path("sound", name).unlink()
    assert hume(*DISCOVER, *ENCODER, "--images", "sound", "--run", "other").code == 0
    skipped, plain = artefacts_of(Path("hume-run")), artefacts_of(Path("other"))
    assert set(skipped) - set(plain) == {"broken.csv"}
    assert {name for name in plain if plain[name] != skipped[name]} == {"recipe.toml"}
    assert hume("select", "--per-class", "2", "--allow-short").code == 0
    train = ("train-fixmatch", "--steps", "2", "--set", "train.batch=2")
    assert hume(*train).code == 0
    shutil.copy("photos/000.png", "photos/007.png")
    assert hume(*train, "--overwrite").code == 0
    Path("photos/030.png").unlink()
    assert hume(*train, "--overwrite").code == 0
    shutil.copy("photos/000.png", "photos/999.png")
    answer = hume(*train, "--overwrite")
    assert answer.code == 2 and "not those of" in answer.err


def test_members_of_an_archive_and_trials_of_class_numbers(hume: Hume, photos: Path) -> None:
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for path in sorted(Path("photos").iterdir()):
            archive.write(path)
    answer = hume(*DISCOVER, *ENCODER, "--images", "photos.zip", "--skip-broken", "--dry-run")
    assert answer.code == 0 and "# warning: 3 of 60 images cannot be read" in answer.out, answer.err
    assert hume(*DISCOVER, *ENCODER, "--images", "photos.zip", "--skip-broken").code == 0
    assert pd.read_csv("hume-run/broken.csv")["filepath"].tolist() == [f"photos/{name}" for name in BROKEN]
    trial = ("discover", "--classes", "2:3", "--searches", "2", "--set", "search.iterations=5", "--run", "trial")
    answer = hume(*trial, *ENCODER, "--images", "photos.zip", "--skip-broken")
    assert answer.code == 0 and "3 of 60 images cannot be read" in answer.out, answer.err


def test_where_none_is_broken_it_is_the_same_run(hume: Hume, photos: Path) -> None:
    for name in BROKEN:
        Path("photos", name).unlink()
    assert hume(*DISCOVER, *ENCODER, "--images", "photos").code == 0
    again = hume(*DISCOVER, *ENCODER, "--images", "photos", "--skip-broken")
    assert again.code == 0 and "nothing to do" in again.out and "warning: 0" not in again.out


def test_what_goes_by_rows_is_refused_beside_left_out_images(hume: Hume, photos: Path) -> None:
    for n in (57, 60):
        np.save("a.npy", np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32))
        np.save("split.npy", np.array(["train"] * (n - 5) + ["test"] * 5))
        before = files_of(photos)
        for flags in (("--labeller", "a.npy"), (*ENCODER, "--judge", "a.npy"), (*ENCODER, "--split", "split.npy")):
            answer = hume(*DISCOVER, *flags, "--images", "photos", "--skip-broken")
            assert answer.code == 2 and len(answer.err.splitlines()) == 1, answer.err
            assert ".npy goes by rows" in answer.err and "3 images" in answer.err and "007.png" in answer.err
        assert files_of(photos) == before
    rows = [f"{i:03d}.png,{'test' if i > 50 else 'train'}" for i in range(60)]
    Path("split.csv").write_text("filepath,split\n" + "\n".join(rows) + "\n")
    answer = hume(*DISCOVER, *ENCODER, "--split", "split.csv", "--images", "photos", "--skip-broken")
    assert answer.code == 0, answer.err  # it goes by names
    assert (pd.read_csv("hume-run/items.csv")["split"] == "test").sum() == 9


def test_nothing_left(hume: Hume, photos: Path) -> None:
    for path in Path("photos").iterdir():
        path.write_bytes(b"no image")
    answer = hume(*DISCOVER, *ENCODER, "--images", "photos", "--skip-broken")
    assert answer.code == 2 and "none of the 60 images can be read" in answer.err


def test_items_without_names_are_known_by_number(photos: Path) -> None:
    items, found = skip_broken(load_items("photos"))
    assert [one.position for one in found] == [7, 30, 41]
    whole = load_items("photos")
    assert leave_out_listed(whole, [""] * 3, [7, 30, 41]).hash == items.hash
    assert leave_out_listed(whole, BROKEN, [0, 0, 0]).filepaths == items.filepaths
    assert leave_out_listed(whole, [], []) is whole


def test_arrays_are_never_broken() -> None:
    items, found = skip_broken(load_items("digits"))
    assert len(items) == 1797 and found == []


def test_a_bomb_is_left_out_too(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((40, 40), np.uint8)).save("photos/bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # refused above twice that
    found = skip_broken(load_items("photos"))[1]
    assert [one.filepath for one in found] == [*BROKEN, "bomb.png"] and "bomb" in found[-1].reason
    with pytest.raises(InputError, match="none of the 60 images"):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
        Path("photos/bomb.png").unlink()
        skip_broken(load_items("photos"))


def test_embedding_other_images_leaves_the_list_of_a_run_alone(photos: Path, hume: Hume) -> None:
    assert hume(*DISCOVER, *ENCODER, "--images", "photos", "--skip-broken").code == 0
    before = Path("hume-run/broken.csv").read_bytes()
    shutil.copytree("photos", "others")
    Path("others/000.png").write_bytes(b"no image")
    answer = hume("embed", *ENCODER, "--images", "others", "--skip-broken", "--split", "0.2")
    assert answer.code == 0, answer.err
    assert "--skip-broken --split 0.2 --classes K" in answer.out
    assert Path("hume-run/broken.csv").read_bytes() == before
    assert hume("report").code == 0
