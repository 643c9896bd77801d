"""Real images and real spaces of the shared development data; skipped where that is absent."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

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
