"""`train-fixmatch` with a head: when it is taken, on what, and that views are embedded once."""

import ast
import contextlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image

from hume_ssl.config import load_recipe
from hume_ssl.train.trained import rebuild
from tests.conftest import Hume, artefacts_of, call

SEARCH = "--classes 3 --searches 2 --set search.iterations=10 --set search.batch=2"
TRAIN = shlex.split("train-fixmatch --device cpu --steps 12 --set train.batch=8 --set train.mu=2")


def run(folder: Path, *commands: str) -> None:
    with contextlib.chdir(folder):
        for command in commands:
            answer = call(*shlex.split(command))
            assert answer.code == 0, answer.err


@pytest.fixture(scope="module")
def with_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 48 images of 80 pixels, and a run with squeezenet1_1 (random weights) as its judge; unchanged."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])[np.arange(48) % 3]
    images = colours[:, None, None] + rng.integers(-40, 40, (48, 80, 80, 3))
    np.save(folder / "images.npy", images.astype(np.uint8))
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), folder / "w.pth")
    encoders = "--encoder kernel:rbf?dim=32 --encoder torchvision:squeezenet1_1@w.pth?size=40"
    run(folder, f"discover --images images.npy {encoders} {SEARCH}", "select --per-class 2 --allow-short")
    return folder


@pytest.fixture(scope="module")
def bare_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on two spaces of 60 items and no images; unchanged."""
    folder = tmp_path_factory.mktemp("spaces")
    rng = np.random.default_rng(0)
    for name, d in (("a", 6), ("b", 8)):
        np.save(folder / f"{name}.npy", (4 * np.eye(3, d)[np.arange(60) % 3] + rng.normal(size=(60, d))).astype("f4"))
    run(folder, f"discover --labeller a.npy --judge b.npy {SEARCH}", "select --per-class 2 --allow-short")
    return folder


@pytest.fixture
def images(with_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(with_network / "hume-run", tmp_path / "hume-run")  # which knows where its images are
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def spaces(bare_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(bare_run / "hume-run", tmp_path / "hume-run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_large_images_on_a_cpu_get_a_head_on_the_runs_network(hume: Hume, images: Path) -> None:
    answer = hume(*TRAIN)
    assert answer.code == 0, answer.err
    assert "13 views of each image by torchvision:squeezenet1_1@" in answer.out and "made once" in answer.out
    recipe = load_recipe("hume-run/train/fixmatch-per-class-2/recipe.toml", "train").train
    assert recipe.network == "head" and recipe.threshold == 0.8
    assert recipe.encoder.startswith("torchvision:squeezenet1_1@/") and recipe.encoder.endswith("w.pth?size=40")
    [views] = Path("hume-run/spaces").glob("views-*.npy")
    assert np.load(views, mmap_mode="r").shape == (48, 13, 512)
    assert list(json.loads(Path("hume-run/spaces/views.json").read_text())) == [views.name]
    predictions = pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")
    assert predictions["index"].tolist() == list(range(48)) and predictions["label"].between(0, 2).all()


def test_a_second_training_embeds_nothing(hume: Hume, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hume(*TRAIN).code == 0
    before = artefacts_of(Path("hume-run/spaces"))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was embedded")

    monkeypatch.setattr("hume_ssl.train.feature_views.encode", never)
    answer = hume(*TRAIN, "--seed", "1", "--name", "again")
    assert answer.code == 0 and "there already" in answer.out, answer.err
    assert artefacts_of(Path("hume-run/spaces")) == before


def test_two_trainings_at_once_make_the_views_once(hume: Hume, images: Path) -> None:
    """Each leaves what it leaves alone: the second waits for the views that the first one makes."""
    assert hume(*TRAIN, "--name", "alone").code == 0
    for path in Path("hume-run/spaces").glob("views*"):
        path.unlink()
    command = [sys.executable, "-m", "hume_ssl", *TRAIN, "--name"]
    both = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in ("one", "two")]
    for process in both:
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    expected = Path("hume-run/train/alone/model.safetensors").read_bytes()
    for name in ("one", "two"):
        assert Path(f"hume-run/train/{name}/model.safetensors").read_bytes() == expected
    assert not list(Path("hume-run/spaces").glob("*growing*"))


def test_large_images_without_a_network_get_a_head_on_the_judge_space(hume: Hume, images: Path) -> None:
    run(images, f"discover --images {images_of(images)} --encoder kernel:rbf?dim=32 {SEARCH} --run kernels")
    run(images, "select --per-class 2 --allow-short --run kernels")
    answer = hume(*TRAIN, "--run", "kernels")
    assert answer.code == 0 and "no network among its encoders: a head is trained on the judge space" in answer.out
    assert "hume-ssl assign" not in answer.out  # it takes no images


def images_of(folder: Path) -> str:
    """The file of the run's images."""
    return str(load_recipe(str(folder / "hume-run/recipe.toml"), "discover").data.images)


def test_the_resolved_recipe_trains_the_same_again(hume: Hume, images: Path) -> None:
    first = Path("hume-run/train/fixmatch-per-class-2")
    assert hume(*TRAIN).code == 0
    assert (
        hume("train-fixmatch", "--recipe", str(first / "recipe.toml"), "--name", "again", "--device", "cpu").code == 0
    )
    for name in ("predictions.csv", "metrics.jsonl", "checkpoints/last.safetensors"):
        assert (first / name).read_bytes() == (first.parent / "again" / name).read_bytes()


def test_without_images_the_head_learns_from_the_judge_space(hume: Hume, spaces: Path) -> None:
    answer = hume(*TRAIN, "--steps", "100")
    assert answer.code == 0, answer.err
    assert "the run has no images: a head is trained on the judge space" in answer.out
    predictions = pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")
    labels = pd.read_csv("hume-run/selection/per-class-2/labels.csv")
    assert (predictions["label"][labels["index"]].to_numpy() == labels["label"].to_numpy()).all()
    again = hume(*TRAIN, "--steps", "100")
    assert again.code == 0 and "nothing to do" in again.out


def test_without_a_network_in_the_run_a_head_takes_the_judge_space(hume: Hume, done: Path) -> None:
    """8 x 8 digits and kernel spaces: not the default there, but to be had."""
    answer = hume(*TRAIN, "--set", "train.network=head", "--name", "head")
    assert answer.code == 0, answer.err
    assert "the run has no network among its encoders: a head is trained on the judge space" in answer.out
    assert load_recipe("hume-run/train/head/recipe.toml", "train").train.encoder == "judge"


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("kernel:rbf", "'kernel:rbf' is none"),
        ("torchvision:squeezenet1_1@gone.pth?size=40", "gone.pth"),
        ("torchvision:squeeze", "did you mean 'squeezenet1_"),
    ],
)
def test_a_wrong_encoder_is_refused_and_nothing_written(hume: Hume, images: Path, encoder: str, message: str) -> None:
    before = artefacts_of(Path("hume-run"))
    answer = hume(*TRAIN, "--set", f"train.encoder={encoder}")
    assert answer.code == 2 and message in answer.err and answer.err.count("\n") == 1, answer.err
    assert artefacts_of(Path("hume-run")) == before


def test_the_trained_head_labels_images_and_is_exported(hume: Hume, images: Path, with_network: Path) -> None:
    """With its encoder inside: the weights file is no longer needed. bfloat16 is the difference to the training."""
    assert hume(*TRAIN, "--set", "train.precision=float32").code == 0
    answer = hume("assign", "--from", "train", "--images", str(with_network / "images.npy"), "--device", "cpu")
    assert answer.code == 0, answer.err
    predictions = pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")
    labels = pd.read_csv("hume-run/assign/images.csv")
    np.testing.assert_allclose(labels["confidence"], predictions["confidence"], atol=2e-3)  # views are float16
    certain = predictions["confidence"] > 0.51
    assert (labels["label"] == predictions["label"])[certain].all()
    answer = hume("export", "--to", "torch")
    assert answer.code == 0, answer.err
    readme = Path("hume-run/export/torch/README.txt").read_text()
    assert "An image is converted to red, green and blue, resized to 40 x 40 (bilinear, antialiased)." in readme
    assert "(b, 3, 40, 40)" in readme and str(with_network) not in readme
    [line] = [line for line in readme.splitlines() if "rebuild({" in line]
    network = rebuild(ast.literal_eval(line.partition("rebuild(")[2][:-1]))
    network.load_state_dict(torch.load("hume-run/export/torch/model.pth", weights_only=True))
    pixels = np.load(with_network / "images.npy")[:8]
    small = [np.asarray(Image.fromarray(image).resize((40, 40), Image.Resampling.BILINEAR)) for image in pixels]
    with torch.inference_mode():
        said = network.eval()(torch.from_numpy(np.stack(small)).movedim(3, 1)).softmax(1)
    np.testing.assert_allclose(said.max(1).values, labels["confidence"][:8], atol=1e-5)


def test_a_head_on_a_space_labels_no_images_and_is_exported(hume: Hume, spaces: Path, with_network: Path) -> None:
    """A linear layer on rows of the judge space: torch and ONNX say of them what the training said."""
    ort = pytest.importorskip("onnxruntime")
    assert hume(*TRAIN).code == 0
    before = artefacts_of(Path("hume-run"))
    answer = hume("assign", "--from", "train", "--images", str(with_network / "images.npy"))
    assert answer.code == 2 and "trained on a space of 8 features and takes no images" in answer.err
    assert artefacts_of(Path("hume-run")) == before
    for form in ("torch", "onnx"):
        assert hume("export", "--to", form).code == 0
    rows = np.load("hume-run/spaces/judge.npy")
    readme = Path("hume-run/export/torch/README.txt").read_text()
    assert "rows of the judge space, float32 (b, 8)" in readme
    [line] = [line for line in readme.splitlines() if "rebuild({" in line]
    network = rebuild(ast.literal_eval(line.partition("rebuild(")[2][:-1]))
    network.load_state_dict(torch.load("hume-run/export/torch/model.pth", weights_only=True))
    with torch.inference_mode():
        said = network.eval()(torch.from_numpy(rows)).softmax(1).numpy()
    [onnx] = ort.InferenceSession("hume-run/export/onnx/model.onnx").run(None, {"vectors": rows})
    np.testing.assert_allclose(onnx, said, atol=1e-5)
    predictions = pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")
    assert said.argmax(1).tolist() == predictions["label"].tolist()
    np.testing.assert_allclose(said.max(1), predictions["confidence"], atol=1e-5)


def test_networks_for_images_need_images(hume: Hume, spaces: Path) -> None:
    answer = hume(*TRAIN, "--set", "train.network=wrn-28-2")
    assert answer.code == 2 and "has no images to train on" in answer.err
