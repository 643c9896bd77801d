"""The item table: order, pixels, splits, truth, and every kind of bad input by name."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from hume_ssl.errors import InputError
from hume_ssl.items import Items, bare_items, check_images, load_items, load_truth, make_split


def write_image(path: Path, height: int = 6, width: int = 8, mode: str = "RGB", seed: int = 0, **options) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width) if mode == "L" else (height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files whose sorted order is neither the order of writing nor that of the file system."""
    for i, name in enumerate(["b/2.png", "b/10.PNG", "a.png", "c/d/1.png"]):
        write_image(tmp_path / "images" / name, seed=i)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    write_image(tmp_path / "images" / ".hidden.png")
    return tmp_path / "images"


class TestLoad:
    def test_digits_are_those_of_scikit_learn_in_order(self) -> None:
        items = load_items("digits")
        pixels = items.pixels()
        assert pixels.shape == (1797, 8, 8) and pixels.dtype == np.uint8
        assert pixels.min() == 0 and pixels.max() == 255
        np.testing.assert_allclose(pixels / 255 * 16, load_digits().images, atol=16 / 255 / 2 + 1e-9)

    def test_folder_is_recursive_sorted_by_relative_path_and_skips_the_rest(self, folder: Path) -> None:
        assert load_items(folder).filepaths == ["a.png", "b/10.PNG", "b/2.png", "c/d/1.png"]

    def test_hash_knows_names_and_sizes_not_the_place(self, folder: Path, tmp_path: Path) -> None:
        before = load_items(folder).hash
        moved = folder.rename(tmp_path / "elsewhere")
        assert load_items(moved).hash == before
        write_image(moved / "a.png", height=40)
        assert load_items(moved).hash != before

    def test_links_to_folders_are_followed_and_loops_end(self, folder: Path, tmp_path: Path) -> None:
        write_image(tmp_path / "other" / "x.png")
        (folder / "z").symlink_to(tmp_path / "other", target_is_directory=True)
        (folder / "b" / "loop").symlink_to(folder, target_is_directory=True)
        assert load_items(folder).filepaths == ["a.png", "b/10.PNG", "b/2.png", "c/d/1.png", "z/x.png"]

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
    def test_file_names_that_are_no_utf8(self, folder: Path, tmp_path: Path) -> None:
        (folder / "a.png").rename(folder / os.fsdecode(b"\xe9.png"))
        items = load_items(folder)
        assert items.filepaths[-1] == os.fsdecode(b"\xe9.png") and items.pixels().shape[0] == 4
        (tmp_path / "t.csv").write_bytes(b"filepath,label\n\xe9.png,5\n")
        assert load_truth(tmp_path / "t.csv", items.filepaths)[0].tolist() == [-1, -1, -1, 0]

    def test_csv_keeps_its_order_and_starts_from_its_own_folder(self, folder: Path) -> None:
        (folder / "list.csv").write_text(f"kind,filepath\nNA,c/d/1.png\n,{folder / 'a.png'}\nx,b/2.png\n")
        items = load_items(folder / "list.csv")
        assert items.filepaths == ["c/d/1.png", str(folder / "a.png"), "b/2.png"]
        from_folder = load_items(folder)
        np.testing.assert_array_equal(items.pixels(), from_folder.pixels()[[3, 0, 2]])

    def test_array_file_and_array_are_the_same_items(self, tmp_path: Path) -> None:
        array = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)
        np.save(tmp_path / "a.npy", array)
        from_file, from_memory = load_items(tmp_path / "a.npy"), load_items(array)
        assert from_file.hash == from_memory.hash and len(from_file) == 5
        np.testing.assert_array_equal(from_file.pixels(), array)
        assert load_items(array[::-1].copy()).hash != from_memory.hash

    def test_bare_items_have_no_images(self) -> None:
        items = bare_items(3)
        assert items.filepaths == ["", "", ""] and not items.has_images
        with pytest.raises(InputError, match="--images"):
            items.pixels()


class TestBadInput:
    def test_folder_without_images(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x")
        with pytest.raises(InputError, match="no image in the folder"):
            load_items(tmp_path)

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="nowhere"):
            load_items(tmp_path / "nowhere")

    def test_csv_names_the_missing_file_column_or_row(self, folder: Path) -> None:
        table = folder / "list.csv"
        for text, message in [
            ("filepath\na.png\ngone.png\n", "gone.png"),
            ("file\na.png\n", "no column filepath, only file"),
            ("filepath,x\na.png,1\n,2\n", "row 2"),
            ("filepath\n", "no image"),
            ("", "as a CSV"),
        ]:
            table.write_text(text)
            with pytest.raises(InputError, match=message):
                load_items(table)

    def test_arrays(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npy"
        np.save(path, np.array([{}, []], dtype=object), allow_pickle=True)
        with pytest.raises(InputError, match="pickle"):
            load_items(path)
        np.save(path, np.zeros((50, 8, 8), np.uint8))
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputError, match="cut short"):
            load_items(path)
        path.write_bytes(b"")
        with pytest.raises(InputError, match=r"a\.npy"):
            load_items(path)
        for array, message in [
            (np.zeros((5, 8, 8)), "float64; images must be uint8"),
            (np.zeros((5, 8), np.uint8), r"\(5, 8\)"),
            (np.zeros((5, 3, 8, 8), np.uint8), "channels must come last"),
            (np.zeros((0, 8, 8), np.uint8), "no image"),
        ]:
            with pytest.raises(InputError, match=message):
                load_items(array)

    def test_an_unreadable_image_is_named(self, folder: Path) -> None:
        (folder / "b" / "bad.jpg").write_bytes(b"this is no image")
        with pytest.raises(InputError, match=r"bad\.jpg"):
            check_images(load_items(folder))

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
    def test_an_image_cut_short_is_named_before_and_while_decoding(self, folder: Path, suffix: str) -> None:
        path = folder / f"short.{suffix}"
        write_image(path, height=64, width=64)
        check_images(load_items(folder))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        items = load_items(folder)
        for read in (check_images, Items.pixels):
            with pytest.raises(InputError, match=rf"short\.{suffix}") as caught:
                read(items)
            assert "\n" not in str(caught.value)

    def test_a_decompression_bomb_is_refused(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # refused above twice that: 6 x 8 pixels are 48
        with pytest.raises(InputError, match=r"a\.png.*decompression bomb"):
            check_images(load_items(folder))

    def test_folder_called_digits_is_not_taken_for_the_built_in_images(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.rename(tmp_path / "digits")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"\./digits"):
            load_items("digits")
        assert len(load_items("./digits")) == 4


class TestPixels:
    def test_lossless_files_come_back_as_written(self, tmp_path: Path) -> None:
        written = [write_image(tmp_path / f"{i}.png", seed=i) for i in range(3)]
        np.testing.assert_array_equal(load_items(tmp_path).pixels(), np.stack(written))

    def test_grey_stays_grey_and_one_colour_image_makes_all_colour(self, tmp_path: Path) -> None:
        grey = write_image(tmp_path / "0.png", mode="L")
        items = load_items(tmp_path)
        assert items.channels == 1
        np.testing.assert_array_equal(items.pixels(), grey[None])
        write_image(tmp_path / "1.png", seed=1)
        pixels = load_items(tmp_path).pixels()
        np.testing.assert_array_equal(pixels[0], np.repeat(grey[..., None], 3, axis=2))

    def test_other_sizes_are_resized_to_the_most_common_one(self, tmp_path: Path) -> None:
        write_image(tmp_path / "0.png", 9, 9)
        for i in (1, 2):
            write_image(tmp_path / f"{i}.png", 6, 8, seed=i)
        items = load_items(tmp_path)
        assert items.common_size == (6, 8) and items.pixels().shape == (3, 6, 8, 3)
        with Image.open(tmp_path / "0.png") as image:
            expected = np.asarray(image.resize((8, 6), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(items.pixels()[0], expected)
        assert items.pixels(4).shape == (3, 4, 4, 3)

    def test_exif_orientation_is_applied_to_pixels_and_sizes(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
        written = write_image(tmp_path / "0.png", 4, 7, exif=exif)
        items = load_items(tmp_path)
        assert items.common_size == (7, 4)
        np.testing.assert_array_equal(items.pixels()[0], np.rot90(written, -1))

    def test_sixteen_bit_grey_is_scaled_not_clipped(self, tmp_path: Path) -> None:
        wide = np.array([[0, 256, 32768, 65535]], dtype=np.uint16)
        Image.fromarray(wide).save(tmp_path / "0.png")
        np.testing.assert_array_equal(load_items(tmp_path).pixels()[0], [[0, 1, 128, 255]])

    def test_transparent_and_palette_images_become_colour(self, tmp_path: Path) -> None:
        rgba = np.random.default_rng(0).integers(0, 256, (4, 4, 4), dtype=np.uint8)
        Image.fromarray(rgba).save(tmp_path / "0.png")
        Image.fromarray(rgba[..., :3]).quantize(16).save(tmp_path / "1.gif", transparency=0)
        pixels = load_items(tmp_path).pixels()
        assert pixels.shape == (2, 4, 4, 3)
        np.testing.assert_array_equal(pixels[0], rgba[..., :3])

    def test_an_array_is_not_copied_and_a_single_channel_is_dropped(self) -> None:
        array = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
        items = load_items(array)
        assert items.pixels().shape == (5, 4, 4) and np.shares_memory(items.pixels(), array)
        assert items.image(2).mode == "L" and items.pixels(8).shape == (5, 8, 8)

    def test_decoding_is_done_once_a_size(self, folder: Path) -> None:
        items = load_items(folder)
        assert items.pixels(4) is items.pixels(4)

    def test_more_memory_than_allowed_is_refused(self, folder: Path) -> None:
        with pytest.raises(InputError, match=r"4 images at 6 x 8 .* smaller size"):
            load_items(folder).pixels(limit_bytes=4 * 6 * 8 * 3 - 1)
        assert load_items(folder).pixels(limit_bytes=4 * 6 * 8 * 3).shape == (4, 6, 8, 3)


class TestSplit:
    def test_none_is_all_train(self) -> None:
        assert make_split(3, None, 0, [""] * 3).tolist() == ["train"] * 3

    @pytest.mark.parametrize("split", [0.2, "0.2"])
    def test_share_is_drawn_with_its_seed(self, split: float | str) -> None:
        words = make_split(1797, split, 0, [""] * 1797)
        assert np.count_nonzero(words == "test") == 359
        np.testing.assert_array_equal(words, make_split(1797, 0.2, 0, [""] * 1797))
        assert (words != make_split(1797, 0.2, 1, [""] * 1797)).any()

    @pytest.mark.parametrize("split", [0.0, 1.0, -0.5, "2", 0.01, "nan"])
    def test_shares_that_make_no_split_are_refused(self, split: float | str) -> None:
        with pytest.raises(InputError, match=str(split)):
            make_split(10, split, 0, [""] * 10)

    def test_csv_goes_by_name_npy_by_order(self, tmp_path: Path) -> None:
        (tmp_path / "s.csv").write_text("filepath,split\nb.png,test\na.png,train\n")
        assert make_split(2, str(tmp_path / "s.csv"), 0, ["a.png", "b.png"]).tolist() == ["train", "test"]
        np.save(tmp_path / "s.npy", np.array(["test", "train"]))
        assert make_split(2, str(tmp_path / "s.npy"), 0, ["", ""]).tolist() == ["test", "train"]

    def test_bad_files(self, tmp_path: Path) -> None:
        path = tmp_path / "s.csv"
        for text, message in [
            ("filepath,split\na.png,train\n", r"no split for item 1 b\.png"),
            ("filepath,split\na.png,train\nb.png,val\n", "'val'"),
            ("filepath,split\na.png,test\nb.png,test\n", "needs train items"),
            ("filepath\na.png\n", "no column split"),
            ("filepath,split\nx.png,test\n", "names none of the items"),
        ]:
            path.write_text(text)
            with pytest.raises(InputError, match=message):
                make_split(2, str(path), 0, ["a.png", "b.png"])
        np.save(tmp_path / "s.npy", np.array(["train"] * 3))
        with pytest.raises(InputError, match="3 rows for 2 items"):
            make_split(2, str(tmp_path / "s.npy"), 0, ["a.png", "b.png"])


class TestTruth:
    def test_whole_numbers_sort_by_value(self, tmp_path: Path) -> None:
        np.save(tmp_path / "t.npy", np.array([10, 9, -1, 10]))
        labels, names = load_truth(tmp_path / "t.npy", [""] * 4)
        assert names == ["9", "10"] and labels.tolist() == [1, 0, -1, 1] and labels.dtype == np.int64

    def test_floats_with_nan_and_words(self, tmp_path: Path) -> None:
        np.save(tmp_path / "t.npy", np.array([1.0, np.nan, 0.0]))
        assert load_truth(tmp_path / "t.npy", [""] * 3)[0].tolist() == [1, -1, 0]
        np.save(tmp_path / "t.npy", np.array(["dog", "", "cat"]))
        labels, names = load_truth(tmp_path / "t.npy", [""] * 3)
        assert names == ["cat", "dog"] and labels.tolist() == [1, -1, 0]

    def test_csv_goes_by_name_in_any_order(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("label,filepath\nNA,b.png\n007,a.png\n,c.png\nx,not-an-item.png\n")
        labels, names = load_truth(tmp_path / "t.csv", ["a.png", "b.png", "c.png", "d.png"])
        assert names == ["007", "NA"] and labels.tolist() == [0, 1, -1, -1]

    def test_csv_elsewhere_may_name_files_from_its_own_folder(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("filepath,label\nimages/a.png,1\n./images/b.png,0\n")
        labels, _ = load_truth(tmp_path / "t.csv", ["a.png", "b.png"], root=tmp_path / "images")
        assert labels.tolist() == [1, 0]

    def test_csv_without_names_is_in_row_order(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("index,label\n0,3\n1,5\n")
        assert load_truth(tmp_path / "t.csv", ["", ""])[0].tolist() == [0, 1]

    def test_bad_files(self, tmp_path: Path) -> None:
        path = tmp_path / "t.npy"
        for array, message in [
            (np.arange(3), "3 labels for 4 items"),
            (np.array([0.5, 1, 1, 1]), r"fractions such as 0\.5"),
            (np.zeros((4, 1), int), r"\(4, 1\)"),
            (np.zeros(4, complex), "complex128"),
        ]:
            np.save(path, array)
            with pytest.raises(InputError, match=message):
                load_truth(path, [""] * 4)
        table = tmp_path / "t.csv"
        table.write_text("filepath,label\na.png,1\na.png,2\n")
        with pytest.raises(InputError, match="twice"):
            load_truth(table, ["a.png", "b.png"])
        table.write_text("filepath,label\nz.png,1\n")
        with pytest.raises(InputError, match=r"z\.png"):
            load_truth(table, ["a.png", "b.png"])


def test_labels_of_thousands_of_digits_are_words(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text(f"label\n{'9' * 5000}\n3\n")
    ids, names = load_truth(tmp_path / "truth.csv", ["", ""])
    assert ids.tolist() == [1, 0] and names == ["3", "9" * 5000]
