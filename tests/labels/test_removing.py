"""What --overwrite takes away: nothing of the user's, and nothing outside the export's folder."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from hume_ssl.errors import InputError
from hume_ssl.labels.pictures import place, take_away
from tests.conftest import Hume
from tests.labels.test_pictures import labelled

HERE = Path("hume-run/export")
DATA = HERE / "hf-datasets/data"


def test_a_file_in_the_place_of_a_link_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "photos" / name)
    out = tmp_path / "out"
    place(labelled(tmp_path / "photos", ["all"]), out, ["x/a.png", "x/b.png"], False)
    (out / "x/a.png").unlink()
    (out / "x/a.png").write_text("mine")
    take_away(out)
    assert [path.name for path in (out / "x").iterdir()] == ["a.png"] and (out / "x/a.png").read_text() == "mine"


def test_folders_linked_into_the_export_keep_their_files(hume: Hume, done: Path) -> None:
    """A folder of the user's beside ours is left alone; in the place of ours it is refused, before anything goes."""
    assert hume("export", "--to", "hf-datasets").code == 0
    mine = done / "mine"
    mine.mkdir()
    (mine / "metadata.csv").write_text("mine")
    (DATA / "more").symlink_to(mine)
    assert hume("export", "--to", "hf-datasets", "--overwrite").code == 0
    assert (mine / "metadata.csv").read_text() == "mine"
    (DATA / "train").rename(done / "moved")
    (DATA / "train").symlink_to(done / "moved")
    refused = hume("export", "--to", "hf-datasets", "--overwrite")
    assert refused.code == 2 and "leads out of" in refused.err
    assert (done / "moved/metadata.csv").is_file() and (DATA / "test/metadata.csv").is_file()


def test_cvat_of_an_array_has_the_images_to_upload(hume: Hume, done: Path) -> None:
    assert hume("export", "--to", "cvat").code == 0
    names = [image.get("name") for image in ElementTree.parse(HERE / "cvat/annotations.xml").getroot().iter("image")]
    assert {path.name for path in (HERE / "cvat/images").iterdir()} == set(names) and len(names) == 400


def test_a_manifest_without_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("name\na.png\n")
    with pytest.raises(InputError, match=r"manifest\.csv is damaged"):
        take_away(tmp_path)
