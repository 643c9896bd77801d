"""Real images and real spaces of the shared development data; skipped where that is absent."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from tests.conftest import Hume


def test_jpeg_files_through_two_encoders_to_a_classifier(
    hume: Hume, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sixtieth of the real job: 100 JPEG files, small images, one of two encoders a real network."""
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(shared / "cifar10-dev-images.zip") as archive:
        archive.extractall(members=sorted(n for n in archive.namelist() if n.endswith(".jpg"))[:100])
    weights = shared / "squeezenet1_1-imagenet.pth"
    answer = hume(
        *("discover", "--images", "images", "--classes", "3", "--split", "0.2", "--searches", "4"),
        *("--encoder", f"torchvision:squeezenet1_1@{weights}?size=64", "--encoder", "kernel:rbf?dim=64"),
        *("--set", "search.iterations=40", "--set", "search.batch=4"),
    )
    assert answer.code == 0, answer.err
    assert np.load("hume-run/spaces/labeller.npy").shape == (100, 512)
    assert hume("select", "--per-class", "2", "--allow-short").code == 0
    labels = pd.read_csv("hume-run/selection/per-class-2/labels.csv")
    assert all((Path("images") / name).is_file() for name in labels["filepath"])
    trained = hume("train-fixmatch", "--steps", "1", "--set", "train.batch=2", "--set", "train.network=wrn-28-2")
    assert trained.code == 0, trained.err
    predictions = pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")
    assert len(predictions) == 100 and predictions["confidence"].between(1 / 3 - 1e-6, 1).all()


def test_the_zip_of_the_images_is_as_good_as_their_folder(
    hume: Hume, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """120 real JPEG files, unpacked and in a zip: every figure is the same, and so is what is trained from it."""
    monkeypatch.chdir(tmp_path)
    with (
        zipfile.ZipFile(shared / "cifar10-dev-images.zip") as archive,
        zipfile.ZipFile("some.zip", "w", zipfile.ZIP_DEFLATED) as some,
    ):
        for name in sorted(n for n in archive.namelist() if n.endswith(".jpg"))[:120]:
            some.writestr(name, archive.read(name))
            archive.extract(name, "some")
    for images, run in (("some.zip", "packed"), ("some", "unpacked")):
        answer = hume(
            *("discover", "--images", images, "--run", run, "--classes", "3", "--split", "0.2", "--searches", "4"),
            *("--encoder", "kernel:rbf?dim=64", "--set", "search.iterations=40", "--set", "search.batch=4"),
        )
        assert answer.code == 0, answer.err
        assert hume("select", "--per-class", "2", "--allow-short", "--run", run).code == 0
        train = ("--steps", "2", "--set", "train.batch=2", "--set", "train.size=8")
        assert hume("train-fixmatch", "--run", run, *train).code == 0
    for name in ("items.csv", "consensus.csv", "selection/per-class-2/labels.csv"):
        assert Path("packed", name).read_bytes() == Path("unpacked", name).read_bytes()
    name = "train/fixmatch-per-class-2/predictions.csv"
    assert Path("packed", name).read_bytes() == Path("unpacked", name).read_bytes()
    table = pd.read_csv("packed/items.csv")
    labels = table[["filepath"]].assign(label=table["index"] % 3)
    labels.to_csv("truth.csv", index=False)
    for run in ("packed", "unpacked"):
        assert hume("evaluate", "--truth", "truth.csv", "--run", run).code == 0
    assert not Path("images").exists()


def test_a_data_set_of_torchvision_from_discover_to_assign(
    hume: Hume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real digits in the files of MNIST, whose format is written here: the run equals that of the bare array."""
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    pixels = np.zeros((300, 28, 28), np.uint8)
    pixels[:, 6:22, 6:22] = np.kron(np.rint(digits.images[:300] * (255 / 16)), np.ones((2, 2)))
    raw = Path("sets/MNIST/raw")
    raw.mkdir(parents=True)
    for part, rows in (("train", slice(0, 200)), ("t10k", slice(200, 300))):
        for kind, array in (("images-idx3", pixels[rows]), ("labels-idx1", digits.target[:300][rows].astype(np.uint8))):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (raw / f"{part}-{kind}-ubyte").write_bytes(head + array.tobytes())
    np.save("train.npy", pixels[:200])
    how = ("--classes", "10", "--searches", "2", "--set", "search.iterations=20", "--encoder", "kernel:rbf?dim=32")
    answer = hume("discover", "--images", "torchvision:MNIST", "--root", "sets", *how)
    assert answer.code == 0, answer.err
    assert hume("discover", "--images", "train.npy", "--run", "array", *how).code == 0
    assert Path("hume-run/consensus.csv").read_bytes() == Path("array/consensus.csv").read_bytes()
    assert f'root = "{tmp_path}/sets"' in Path("hume-run/recipe.toml").read_text()
    assert hume("select", "--per-class", "1", "--allow-short").code == 0
    assert hume("train-fixmatch", "--steps", "1", "--set", "train.batch=2", "--set", "train.size=8").code == 0
    assert hume("assign", "--images", "torchvision:MNIST?split=test", "--root", "sets").code == 0
    assert len(pd.read_csv("hume-run/assign/torchvision-MNIST-split=test.csv")) == 100
    again = hume("discover", "--recipe", "hume-run/recipe.toml")
    assert again.code == 0 and "nothing to do" in again.out


def test_real_spaces_beat_kmeans_with_few_searches(
    hume: Hume, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CIFAR-10 in two ImageNet spaces, float16, with a split file; ten classes, so chance is 0.1."""
    monkeypatch.chdir(tmp_path)
    data = np.load(shared / "cifar10-dev.npz")
    for name in ("mobilenetv2", "resnet50s3", "truth"):
        np.save(f"{name}.npy", data[name])
    np.save("split.npy", data["split"].astype(str))
    answer = hume(
        *("discover", "--labeller", "mobilenetv2.npy", "--judge", "resnet50s3.npy", "--classes", "10"),
        *("--split", "split.npy", "--searches", "4", "--set", "search.batch=4", "--set", "search.iterations=60"),
        *("--set", "search.subsets=1", "--set", "search.subset_size=2000"),
    )
    assert answer.code == 0, answer.err
    assert np.load("hume-run/spaces/judge.npy").dtype == np.float16
    figures = hume("evaluate", "--truth", "truth.npy", "--json").json
    assert figures["consensus"]["acc"] > 0.35
    assert figures["consensus"]["test_acc"] > 0.35
    assert figures["baselines"]["linear_probe"]["acc"] > 0.7
