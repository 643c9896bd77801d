"""Image files in exports: names that collide or would leave the folder, and what is taken away again."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hume_ssl.errors import InputError
from hume_ssl.items import load_items
from hume_ssl.labels.labelled import Labelled, merged
from hume_ssl.labels.pictures import file_names, folder_names, place, take_away
from tests.conftest import files_of


def labelled(folder: Path, names: list[str], **other: Any) -> Labelled:
    """All images of a folder, in classes in turn."""
    items = load_items(folder)
    n = len(items)
    target = np.arange(n) % len(names)
    facts: dict[str, Any] = {
        "index": np.arange(n),
        "filepaths": items.filepaths,
        "split": ["train"] * n,
        "label": target,
        "target": target,
        "names": names,
        "place": np.arange(len(names)),
        "agreement": np.ones(n),
        "neighbour_agreement": np.ones(n),
        "reliable": np.ones(n, bool),
        "selected": np.zeros(n, bool),
        "what": "consensus",
        "train": np.arange(n),
        "seed": 0,
        "open_images": lambda: items,
        "votes": lambda: None,
    }
    return Labelled(**(facts | other))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, name in enumerate(["a/1.png", "b/1.png", "b/2.png", "=1+1.png", "-rf.png", "c/<b>&'.png"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
    return folder


def test_names_without_repetition() -> None:
    names, where = merged(["b", "a", "b", "c", "a"])
    assert names == ["b", "a", "c"] and where.tolist() == [0, 1, 0, 2, 1]


def test_folders_of_hostile_class_names() -> None:
    names = [
        "../../etc",
        "a/b",
        "a\\b",
        "..",
        "",
        "con\x00\n",
        "Cat",
        "cat",
        "x" * 300,
        "\U0001f431" * 100,
        " dot. ",
        "/abs",
        "\udcff",
    ]
    folders = folder_names(names)
    assert len({name.casefold() for name in folders}) == len(names)
    for name in folders:
        assert name and "/" not in name and "\\" not in name and not name.startswith(".") and len(name.encode()) <= 120
        assert Path("x", name).resolve().parent == Path("x").resolve()


def test_files_of_one_name_keep_their_path(photos: Path) -> None:
    one = labelled(photos, ["all"])
    made = dict(zip(one.filepaths, file_names(one, ["g"] * len(one)), strict=True))
    assert made == {
        "a/1.png": "a__1.png",
        "b/1.png": "b__1.png",
        "b/2.png": "2.png",
        "./=1+1.png": "_=1+1.png",
        "-rf.png": "-rf.png",
        "c/<b>&'.png": "<b>&'.png",
    }
    apart = file_names(one, [Path(path).parts[0] for path in one.filepaths])
    assert sorted(apart) == sorted(Path(path).name.replace("=1", "_=1") for path in one.filepaths)


@pytest.mark.parametrize("copy", [False, True])
def test_links_or_copies_and_back(photos: Path, tmp_path: Path, copy: bool) -> None:
    out, before = tmp_path / "out", files_of(photos)
    one = labelled(photos, ["all"])
    names = [f"x/{name}" for name in file_names(one, ["g"] * len(one))]
    place(one, out, names, copy)
    for name, filepath in zip(names, one.filepaths, strict=True):
        assert (out / name).is_symlink() is not copy
        assert (out / name).read_bytes() == (photos / filepath).read_bytes()
    (out / "x/mine.txt").write_text("kept")
    take_away(out)
    assert {path.name for path in out.rglob("*")} == {"x", "mine.txt"}
    assert files_of(photos) == before


def test_a_manifest_never_reaches_outside(photos: Path, tmp_path: Path) -> None:
    """One that somebody has changed removes nothing elsewhere, nor through a link to a folder."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(photos / "b")
    files = ["../photos/a/1.png", str(photos / "b/1.png"), "link/2.png"]
    pd.DataFrame({"file": files, "filepath": "", "class_name": ""}).to_csv(out / "manifest.csv", index=False)
    before = files_of(photos)
    take_away(out)
    assert files_of(photos) == before
    for names in (["../x.png"] * 6, [f"link/new-{i}.png" for i in range(6)]):
        with pytest.raises(InputError, match="would lie outside"):
            place(labelled(photos, ["all"]), out, names, False)
    assert files_of(photos) == before


def test_what_is_in_the_way_stays(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "x").mkdir(parents=True)
    (out / "x/3.png").write_text("mine")
    with pytest.raises(InputError, match="is in the way"):
        place(labelled(photos, ["all"]), out, [f"x/{i}.png" for i in range(6)], False)
    take_away(out)
    assert {path.name for path in out.rglob("*")} == {"x", "3.png"} and (out / "x/3.png").read_text() == "mine"
