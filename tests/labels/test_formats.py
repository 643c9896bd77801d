"""Each export of labels, written by the command and read again by the format's own library or a reader of our own."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hume_ssl.labels import FORMATS
from tests.conftest import Hume, files_of

RUN = Path("hume-run")
NAMES = ["zero", 'o"ne, <two>', "../../up", "drei\u00df", "zero", *(f"class-{i:02d}" for i in range(5, 10))]


@pytest.fixture
def named(done: Path) -> Path:
    """A finished run whose classes have hostile names, two of them one."""
    pd.DataFrame({"class": range(10), "name": NAMES}).to_csv(RUN / "classes.csv", index=False)
    return done


@pytest.fixture
def photos(hume: Hume, named: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same of a run over image files."""
    for item, image in enumerate(np.load("digits.npy")):
        path = Path("photos", f"d{item % 3}", f"{item // 3:03d} &.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    command = ["discover", "--images", "photos", "--classes", "10", "--searches", "3", "--run", "files"]
    answer = hume(*command, "--set", "search.iterations=20", "--encoder", "kernel:rbf?dim=64", "--split", "0.2")
    assert answer.code == 0, answer.err
    assert hume("select", "--per-class", "2", "--run", "files", "--allow-short").code == 0
    return named


def export(hume: Hume, form: str, *more: str, run: str = "hume-run") -> Path:
    answer = hume("export", "--to", form, "--run", run, *more, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["n"] > 0
    return Path(answer.json["path"])


def expected() -> pd.DataFrame:
    """The consensus with the names, those of one name as one class."""
    table = pd.read_csv(RUN / "consensus.csv")
    table["label"] = table["label"].replace(4, 0)
    return table.assign(class_name=[NAMES[label] for label in table["label"]])


def compact(labels: Any) -> list[int]:
    """The run's class ids without the gap that class 4 left."""
    return [label - (label > 4) for label in labels]


def test_csv_and_parquet(hume: Hume, named: Path) -> None:
    table = pd.read_csv(export(hume, "csv") / "labels.csv", keep_default_na=False)
    other = pd.read_parquet(export(hume, "parquet") / "labels.parquet")
    columns = ["index", "filepath", "split", "label", "class_name", "agreement", "neighbour_agreement", "reliable"]
    assert list(table.columns) == list(other.columns) == [*columns, "selected"]
    assert table["class_name"].tolist() == other["class_name"].tolist() == expected()["class_name"].tolist()
    assert table["label"].tolist() == other["label"].tolist() == expected()["label"].tolist()
    selected = pd.read_csv(RUN / "selection/per-class-2/labels.csv")["index"]
    assert set(table["index"][table["selected"]]) == set(selected) == set(other["index"][other["selected"]])


def test_which_items(hume: Hume, named: Path) -> None:
    consensus = pd.read_csv(RUN / "consensus.csv")
    reliable = pd.read_csv(export(hume, "csv", "--of", "reliable") / "labels.csv")
    assert set(consensus["index"][consensus["reliable"]]) <= set(reliable["index"]) and reliable["reliable"].all()
    answer = hume("export", "--to", "csv", "--of", "selection")
    assert answer.code == 2 and "--overwrite" in answer.err
    picked = pd.read_csv(export(hume, "csv", "--of", "selection", "--overwrite") / "labels.csv")
    assert picked["index"].tolist() == pd.read_csv(RUN / "selection/per-class-2/labels.csv")["index"].tolist()
    assert hume("export", "--to", "csv", "--of", "selection").code == 0  # there already


def test_imagefolder_by_torchvision(hume: Hume, photos: Path) -> None:
    from torchvision.datasets import ImageFolder

    folder = export(hume, "imagefolder", "--of", "consensus", run="files")
    found = ImageFolder(str(folder / "images"))
    manifest = pd.read_csv(folder / "manifest.csv")
    consensus = pd.read_csv("files/consensus.csv")
    assert len(found) == len(manifest) == 400
    source = dict(zip(manifest["file"], manifest["filepath"], strict=True))
    label = dict(zip(consensus["filepath"], consensus["label"], strict=True))
    for path, target in found.samples:
        filepath = source[Path(path).relative_to(folder.absolute() if Path(path).is_absolute() else folder).as_posix()]
        assert Path(path).is_symlink() and Path(path).read_bytes() == Path("photos", filepath).read_bytes()
        assert found.classes[target] == f"class-{label[filepath]:02d}"
    before = files_of(Path("photos"))
    export(hume, "imagefolder", "--copy", "--overwrite", run="files")
    assert not any(path.is_symlink() for path in folder.rglob("*")) and files_of(Path("photos")) == before


def test_imagefolder_of_an_array_and_hostile_names(hume: Hume, named: Path) -> None:
    folder = export(hume, "imagefolder", "--of", "consensus")
    table = expected()
    manifest = pd.read_csv(folder / "manifest.csv")
    assert manifest["class_name"].tolist() == table["class_name"].tolist()
    assert len({Path(name).parts[1] for name in manifest["file"]}) == 9
    pixels = np.load("digits.npy")
    for item in (0, 57, 399):
        assert (np.asarray(Image.open(folder / manifest["file"][item])) == pixels[item]).all()
    assert {path.name for path in RUN.parent.iterdir()} == {"hume-run", "digits.npy", "truth.npy"}
    answer = hume("export", "--to", "imagefolder", "--overwrite")  # the reliable ones, in its place
    assert answer.code == 0
    assert sum(path.is_file() for path in folder.rglob("*.png")) == len(pd.read_csv(folder / "manifest.csv")) < 400


def test_hf_datasets_by_datasets(hume: Hume, named: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = export(hume, "hf-datasets")
    found = datasets.load_dataset("imagefolder", data_dir=str(folder / "data"), cache_dir=str(tmp_path / "cache"))
    table = expected()
    for part in ("train", "test"):
        rows = table[table["split"] == part]
        names = dict(zip([f"img-{i:06d}.png" for i in rows["index"]], rows["class_name"], strict=True))
        assert len(found[part]) == len(rows)
        assert sorted(found[part]["class_name"]) == sorted(names.values())
    for row in found["train"]:
        assert row["image"].size == (8, 8) and [row["label"]] == compact([NAMES.index(row["class_name"])])


def test_cleanlab_by_cleanlab(hume: Hume, named: Path) -> None:
    with np.load(export(hume, "cleanlab") / "cleanlab.npz", allow_pickle=False) as data:
        kept = {name: data[name] for name in data}
    table = expected()
    assert kept["labels"].tolist() == compact(table["label"])
    assert kept["class_names"].tolist() == [name for i, name in enumerate(NAMES) if i != 4]
    np.testing.assert_allclose(kept["pred_probs"].sum(1), 1, rtol=1e-5)
    own = kept["pred_probs"][np.arange(400), kept["labels"]]
    assert (own >= table["agreement"] - 1e-5).all()  # more where two classes are one
    alone = ~table["label"].isin([0, 4]).to_numpy()
    np.testing.assert_allclose(own[alone], table["agreement"][alone], atol=1e-5)
    multiannotator = pytest.importorskip("cleanlab.multiannotator")
    annotators = pd.DataFrame(kept["labels_multiannotator"])
    found = multiannotator.get_label_quality_multiannotator(annotators, kept["pred_probs"], verbose=False)
    consensus = found["label_quality"]["consensus_label"].to_numpy()
    assert (consensus == kept["labels"]).mean() > 0.95


def test_crowd_kit(hume: Hume, named: Path) -> None:
    """The majority of the votes, by weight, is the consensus."""
    folder = export(hume, "crowd-kit")
    votes, names = pd.read_csv(folder / "votes.csv"), pd.read_csv(folder / "classes.csv")
    assert list(votes.columns) == ["task", "worker", "label"] and votes["task"].nunique() == 400
    assert names["name"].tolist() == [name for i, name in enumerate(NAMES) if i != 4]
    weights = pd.read_csv(RUN / "searches/searches.csv")["weight"]
    votes["weight"] = votes["worker"].map(weights)
    shares = votes.pivot_table(index="task", columns="label", values="weight", aggfunc="sum", fill_value=0)
    clear = shares.max(axis=1) > 0.5 * shares.sum(axis=1)
    label = shares.columns.to_numpy()[shares.to_numpy().argmax(1)]
    assert (label == np.array(compact(expected()["label"])))[clear].mean() > 0.97


def test_crowd_kit_by_crowd_kit(hume: Hume, named: Path) -> None:
    aggregation = pytest.importorskip("crowdkit.aggregation")
    votes = pd.read_csv(export(hume, "crowd-kit") / "votes.csv")
    found = aggregation.MajorityVote().fit_predict(votes).sort_index()
    unanimous = (expected()["agreement"] == 1).to_numpy()
    assert unanimous.sum() > 100
    assert (found.to_numpy() == np.array(compact(expected()["label"])))[unanimous].all()


def test_label_studio_by_its_own_schema(hume: Hume, named: Path) -> None:
    sdk = pytest.importorskip("label_studio_sdk.label_interface")
    folder = export(hume, "label-studio")
    interface = sdk.LabelInterface((folder / "interface.xml").read_text())
    interface.validate()
    for task in json.loads((folder / "tasks.json").read_text()):
        assert interface.validate_task({"data": task["data"]})
        assert interface.validate_prediction(task["predictions"][0])


def test_label_studio(hume: Hume, photos: Path) -> None:
    folder = export(hume, "label-studio", "--prefix", "http://x/?d=", run="files")
    tasks = json.loads((folder / "tasks.json").read_text())
    consensus = pd.read_csv("files/consensus.csv")
    assert [task["data"]["index"] for task in tasks] == consensus["index"].tolist()
    for task, filepath, label in zip(tasks, consensus["filepath"], consensus["label"], strict=True):
        path = task["data"]["image"].removeprefix("http://x/?d=")
        assert unquote(path) == filepath and not re.search(r"[ &]", path)
        (prediction,) = task["predictions"]
        (result,) = prediction["result"]
        assert result["value"] == {"choices": [f"class-{label:02d}"]} and 0 <= prediction["score"] <= 1
    interface = ElementTree.parse(folder / "interface.xml").getroot()
    control, image = interface.find("Choices"), interface.find("Image")
    assert control is not None and image is not None
    assert (control.get("name"), control.get("toName"), image.get("name")) == ("choice", "image", "image")
    assert [choice.get("value") for choice in control] == [f"class-{i:02d}" for i in range(10)]


def test_cvat(hume: Hume, photos: Path) -> None:
    folder = export(hume, "cvat", run="files")
    root = ElementTree.parse(folder / "annotations.xml").getroot()
    consensus = pd.read_csv("files/consensus.csv")
    images = root.findall("image")
    assert root.findtext("version") == "1.1" and len(images) == 400
    for image, filepath, label in zip(images, consensus["filepath"], consensus["label"], strict=True):
        assert (image.get("name"), image.get("width"), image.get("height")) == (filepath, "8", "8")
        assert [tag.get("label") for tag in image.findall("tag")] == [f"class-{label:02d}"]
    raw = json.loads((folder / "task-labels.json").read_text())
    assert [label["name"] for label in raw] == [f"class-{i:02d}" for i in range(10)]


def test_hostile_names_in_xml_and_json(hume: Hume, named: Path) -> None:
    root = ElementTree.parse(export(hume, "cvat") / "annotations.xml").getroot()
    assert [image[0].get("label") for image in root.findall("image")] == expected()["class_name"].tolist()
    folder = export(hume, "label-studio")
    tasks = json.loads((folder / "tasks.json").read_text())
    said = [task["predictions"][0]["result"][0]["value"]["choices"][0] for task in tasks]
    assert said == expected()["class_name"].tolist()
    assert (folder / tasks[7]["data"]["image"].partition("?d=")[2]).is_file()


def test_fiftyone(hume: Hume, photos: Path) -> None:
    """As FiftyOne's importer does: an image's label is looked up by its name without the suffix."""
    folder = export(hume, "fiftyone", run="files")
    told = json.loads((folder / "labels.json").read_text())
    consensus = pd.read_csv("files/consensus.csv")
    images = sorted((folder / "data").iterdir())
    assert len(images) == 400
    for path, filepath, label in zip(images, consensus["filepath"], consensus["label"], strict=True):
        assert path.resolve() == Path("photos", filepath).resolve()
        assert told["classes"][told["labels"][path.stem]] == f"class-{label:02d}"


def test_torchssl_and_the_index_files_of_usb(hume: Hume, named: Path) -> None:
    picked = pd.read_csv(RUN / "selection/per-class-2/labels.csv")
    picked["label"] = picked["label"].replace(4, 0)
    folder = export(hume, "torchssl")
    index, labels = np.load(folder / "sampled_label_idx.npy"), np.load(folder / "labels.npy")
    assert dict(zip(index, labels, strict=True)) == dict(zip(picked["index"], compact(picked["label"]), strict=True))
    assert (np.diff(labels) >= 0).all()
    folder = export(hume, "usb")
    m = len(picked)
    lb = np.load(folder / f"labeled_idx/lb_labels{m}_1_seed0_idx.npy")
    ulb = np.load(folder / f"labeled_idx/ulb_labels{m}_1_seed0_idx.npy")
    consensus = pd.read_csv(RUN / "consensus.csv")
    assert sorted([*lb, *ulb]) == consensus["index"][consensus["split"] == "train"].tolist()
    assert np.load(folder / "labels.npy").tolist() == np.stack([index, labels], axis=1).tolist()
    compile((folder / "usb_train.py").read_text(), "usb_train.py", "exec")
    assert "ignores" in (folder / "README.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("files", [False, True])
def test_the_script_trains_usb(hume: Hume, photos: Path, files: bool) -> None:
    """A few steps of the released package on our labels; its program may be another Python's (USB_PYTHON)."""
    import os

    python = os.environ.get("USB_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import semilearn"], capture_output=True, check=False).returncode:
        pytest.skip("semilearn cannot be imported: pip install semilearn, or name a Python that has it in USB_PYTHON")
    folder = export(hume, "usb", run="files" if files else "hume-run")
    options = ["--steps", "2", "--batch-size", "4", "--uratio", "1", "--workers", "0", "--size", "16"]
    done = subprocess.run([python, "usb_train.py", *options], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    predictions = pd.read_csv(folder / "predictions.csv")
    assert len(predictions) == 400 and predictions["confidence"].between(0, 1).all()


def test_an_export_stays_where_the_images_are_gone(hume: Hume, named: Path) -> None:
    folder = export(hume, "imagefolder")
    before = files_of(folder)
    recipe = RUN / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("digits.npy", "gone.npy"))
    answer = hume("export", "--to", "imagefolder", "--of", "consensus", "--overwrite")
    assert answer.code == 2 and files_of(folder) == before


def test_no_test_item_is_learned_from(hume: Hume, named: Path) -> None:
    folder = export(hume, "torchssl", "--of", "consensus")
    consensus = pd.read_csv(RUN / "consensus.csv")
    index = np.load(folder / "sampled_label_idx.npy")
    assert sorted(index) == consensus["index"][consensus["split"] == "train"].tolist()


def test_what_cannot_be(hume: Hume, named: Path) -> None:
    before = files_of(RUN)
    for command, told in [
        (["--to", "imagefoldr"], "did you mean 'imagefolder'?"),
        (["--to", "csv", "--of", "everything"], "give consensus, reliable, selection"),
        (["--to", "csv", "--name", "x"], "leave one of them out"),
        (["--to", "onnx", "--of", "selection"], "leave one of them out"),
        ([], "give --to FORMAT"),
    ]:
        answer = hume("export", *command)
        assert answer.code == 2 and told in answer.err and len(answer.err.strip().splitlines()) == 1
    assert files_of(RUN) == before
    assert set(FORMATS) < set(hume("export", "--list", "--json").json["formats"])


def test_a_run_of_spaces_alone(hume: Hume, bare: Path) -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 8))
    np.save("a.npy", (centres[np.arange(90) % 3] + 0.1 * generator.normal(size=(90, 8))).astype(np.float32))
    command = ["discover", "--labeller", "a.npy", "--judge", "a.npy", "--classes", "3", "--searches", "2"]
    assert hume(*command, "--set", "search.iterations=20").code == 0
    for form in ("imagefolder", "fiftyone", "hf-datasets", "cvat", "label-studio"):
        answer = hume("export", "--to", form)
        assert answer.code == 2 and "the run has none" in answer.err, form
        assert not (RUN / "export" / form).exists()
    assert len(pd.read_csv(export(hume, "csv") / "labels.csv")) == 90
    answer = hume("export", "--to", "usb")
    assert answer.code == 2 and "hume-ssl select" in answer.err
