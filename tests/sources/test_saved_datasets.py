"""Hugging Face data sets that `save_to_disk` left, against the files they were made of and the library itself."""

import contextlib
import io
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hume_ssl.errors import InputError
from hume_ssl.images import for_each
from hume_ssl.items import check_images, load_items, load_truth
from tests.conftest import Hume

hf: Any = pytest.importorskip("datasets", reason="needs the extra datasets")
hf.disable_progress_bars()

N = 6


def write_files(folder: Path) -> list[str]:
    """N files, grey and colour, in several formats; sorted order."""
    folder.mkdir(parents=True)
    for i in range(N):
        shape = (8, 9, 3) if i % 2 else (8, 9)
        pixels = np.random.default_rng(i).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.{('png', 'jpg', 'webp')[i % 3]}")
    return sorted(str(path) for path in folder.iterdir())


def table(paths: list[str]) -> Any:
    columns = {"label": list(range(len(paths))), "picture": paths, "second": paths}
    made = hf.Dataset.from_dict(columns)
    return made.cast_column("picture", hf.Image()).cast_column("second", hf.Image())


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return write_files(tmp_path / "files")


@pytest.fixture
def saved(files: list[str], tmp_path: Path) -> Path:
    table(files).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def refuses(images: object, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_items(str(images))
    for word in words:
        assert word in str(caught.value)


def test_images_and_order_are_those_of_the_files(saved: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    items, plain = load_items(saved), load_items(tmp_path / "files")
    check_images(items)
    assert items.filepaths == plain.filepaths  # the library keeps the file names
    np.testing.assert_array_equal(items.headers, plain.headers)
    np.testing.assert_array_equal(items.pixels(), plain.pixels())
    direct = hf.load_from_disk(saved)
    np.testing.assert_array_equal(np.asarray(items.image(1)), np.asarray(direct[1]["picture"]))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_several_splits(files: list[str], tmp_path: Path) -> None:
    both = hf.DatasetDict(train=table(files[:4]), test=table(files[4:]))
    both.save_to_disk(tmp_path / "both")
    refuses(tmp_path / "both", "several splits", f"{tmp_path}/both?split=train", "?split=test")
    refuses(f"{tmp_path}/both?split=val", "no split 'val'", "?split=train")
    assert load_items(f"{tmp_path}/both?split=train").filepaths == [Path(name).name for name in files[:4]]
    test = load_items(f"{tmp_path}/both?split=test")
    np.testing.assert_array_equal(test.pixels(8), load_items(tmp_path / "files").pixels(8)[4:])
    table(files).save_to_disk(tmp_path / "one")
    refuses(f"{tmp_path}/one?split=train", "without splits", "without ?split=train")


def test_rows_chosen_before_saving(files: list[str], tmp_path: Path) -> None:
    table(files).select([4, 0, 2]).save_to_disk(tmp_path / "some")
    np.testing.assert_array_equal(
        load_items(tmp_path / "some").pixels(8), load_items(tmp_path / "files").pixels(8)[[4, 0, 2]]
    )


def test_images_without_paths_and_with_equal_ones_have_no_names(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.full((5, 4), 40 * i, np.uint8)) for i in range(3)]
    features = hf.Features({"x": hf.Image()})
    hf.Dataset.from_dict({"x": pictures}, features=features).save_to_disk(tmp_path / "bare")
    items = load_items(tmp_path / "bare")
    assert items.filepaths == [""] * 3 and items.pixels()[:, 0, 0].tolist() == [0, 40, 80]
    for i, picture in enumerate(pictures):
        (tmp_path / str(i)).mkdir()
        picture.save(tmp_path / str(i) / "same.png")
    table([str(tmp_path / str(i) / "same.png") for i in range(3)]).save_to_disk(tmp_path / "doubled")
    items = load_items(tmp_path / "doubled")
    assert items.filepaths == [""] * 3 and items.pixels()[:, 0, 0].tolist() == [0, 40, 80]
    (tmp_path / "t.csv").write_text("filepath,label\nsame.png,1\n")
    with pytest.raises(InputError, match=r"give a \.npy in their order"):
        load_truth(tmp_path / "t.csv", items.filepaths, items.root)


def test_upright_and_named_when_broken(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (4, 7, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", exif=exif)
    cells = [{"bytes": out.getvalue(), "path": "a.png"}, {"bytes": b"no image", "path": "b.png"}]
    cells += [{"bytes": None, "path": str(tmp_path / "absent.png")}]
    cell = {"bytes": hf.Value("binary"), "path": hf.Value("string")}
    hf.Dataset.from_dict({"x": cells}, features=hf.Features({"x": cell})).save_to_disk(tmp_path / "saved")
    info = json.loads((tmp_path / "saved/dataset_info.json").read_text())
    info["features"]["x"] = {"_type": "Image"}  # what older versions saved: they did not fetch the bytes of files
    (tmp_path / "saved/dataset_info.json").write_text(json.dumps(info))
    items = load_items(tmp_path / "saved")
    np.testing.assert_array_equal(np.asarray(items.image(0)), np.rot90(pixels, -1))
    assert items.images.header(0) == (7, 4, 3)
    with pytest.raises(InputError, match=r"1 of .*saved \(b\.png\): it is in none of the formats"):
        check_images(items)
    with pytest.raises(InputError, match=r"2 of .*saved \(.*absent\.png\): .*leads out of its folder"):
        items.image(2)


def test_hash_knows_names_and_sizes_not_the_place(saved: Path, files: list[str], tmp_path: Path) -> None:
    before = load_items(saved).hash
    assert load_items(saved.rename(tmp_path / "elsewhere")).hash == before
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(files[0])
    table(files).save_to_disk(tmp_path / "again")
    assert load_items(tmp_path / "again").hash != before


def test_another_process_and_several_threads(saved: Path) -> None:
    items = load_items(saved)
    sent = pickle.dumps(items.images)
    assert len(sent) < 2000
    source = pickle.loads(sent)
    for_each(source.image, N)
    np.testing.assert_array_equal(np.asarray(source.image(3)), np.asarray(items.image(3)))
    taken = items.take(np.array([5, 1]))
    np.testing.assert_array_equal(np.asarray(taken.image(0)), np.asarray(items.image(5)))
    assert taken.filepaths == [items.filepaths[5], items.filepaths[1]]


def test_what_cannot_be_read(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hf.Dataset.from_dict({"a": [1], "b": ["x"]}).save_to_disk(tmp_path / "texts")
    refuses(tmp_path / "texts", "no column of type Image, only a, b")
    table([]).save_to_disk(tmp_path / "empty")
    refuses(tmp_path / "empty", str(tmp_path / "empty"))
    arrow = next(saved.glob("*.arrow"))
    whole = arrow.read_bytes()
    arrow.write_bytes(whole[:100])
    refuses(saved, str(saved), "again")
    arrow.write_bytes(whole)
    monkeypatch.setitem(sys.modules, "datasets", None)
    refuses(saved, "pip install 'hume_ssl[datasets]'")


def test_a_split_from_discover_to_evaluate(hume: Hume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    for i in range(24):
        pixels = np.random.default_rng(i).integers(100 * (i % 2), 100 * (i % 2) + 99, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(f"files/{i:02d}.png")
    paths = sorted(str(path) for path in Path("files").iterdir())
    hf.DatasetDict(train=table(paths[:20]), test=table(paths[20:])).save_to_disk("both")
    how = ("--classes", "2", "--searches", "2", "--set", "search.iterations=20", "--encoder", "kernel:rbf?dim=8")
    answer = hume("discover", "--images", "both", *how)
    assert answer.code == 2 and "both?split=train" in answer.err and len(answer.err.splitlines()) == 1
    assert not Path("hume-run").exists()
    answer = hume("discover", "--images", "both?split=train", *how)
    assert answer.code == 0, answer.err
    rows = [f"{i:02d}.png,{'dark' if i % 2 == 0 else 'light'}" for i in range(20)]
    Path("truth.csv").write_text("\n".join(["filepath,label", *rows]) + "\n")
    assert hume("evaluate", "--truth", "truth.csv", "--json").json["consensus"]["acc"] == 1
    assert hume("discover", "--recipe", "hume-run/recipe.toml").code == 0


def test_a_folder_of_images_beside_a_json_file_stays_one(tmp_path: Path) -> None:
    write_files(tmp_path / "images")
    (tmp_path / "images" / "dataset_info.json").write_text("{}")
    assert len(load_items(tmp_path / "images")) == N


def test_files_of_a_data_set_that_are_damaged(saved: Path) -> None:
    arrow = next(saved.glob("*.arrow"))
    whole = arrow.read_bytes()
    for place in range(len(whole) - 2000, len(whole), 40):
        arrow.unlink()
        arrow.write_bytes(whole[:place] + b"\xff" * 8 + whole[place + 8 :])
        with contextlib.suppress(InputError):  # or read, where nothing needed that place
            check_images(load_items(saved))
