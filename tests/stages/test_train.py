"""`train-fixmatch`: what stands in its files."""

import json
from pathlib import Path

import pandas as pd
from safetensors import safe_open

from hume_ssl.config import load_recipe
from hume_ssl.run import sha256_file
from tests.conftest import TRAIN, Hume, files_of

HERE = Path("hume-run/train/fixmatch-per-class-2")


def test_predictions_for_all_items(done: Path) -> None:
    predictions = pd.read_csv(HERE / "predictions.csv")
    items = pd.read_csv("hume-run/items.csv")
    assert list(predictions) == ["index", "filepath", "split", "label", "class_name", "confidence"]
    assert predictions["index"].tolist() == list(range(400))
    assert predictions["split"].equals(items["split"])
    assert predictions["label"].between(0, 9).all()
    assert predictions["confidence"].between(0.1, 1).all()
    assert predictions["class_name"].tolist() == [f"class-{label:02d}" for label in predictions["label"]]


def test_the_checkpoint_holds_the_hash_of_the_label_file(done: Path) -> None:
    with safe_open(HERE / "checkpoints/last.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["hume_ssl"])
    assert facts["identity"]["label file"] == sha256_file(Path("hume-run/selection/per-class-2/labels.csv"))


def test_the_resolved_recipe_trains_the_same_again(hume: Hume, done: Path) -> None:
    recipe = load_recipe(str(HERE / "recipe.toml"), "train")
    assert (recipe.train.network, recipe.train.flip, recipe.train.steps) == ("small-cnn", False, 12)
    assert hume("train-fixmatch", "--recipe", str(HERE / "recipe.toml"), "--name", "again").code == 0
    for name in ("predictions.csv", "metrics.jsonl", "checkpoints/last.safetensors", "model.safetensors"):
        assert (HERE / name).read_bytes() == (HERE.parent / "again" / name).read_bytes()


def test_the_unlabelled_pool_with_and_without_labelled_items(hume: Hume, done: Path) -> None:
    """320 train items, 20 of them labelled: the line says how many are drawn from, and the stored recipe knows."""
    with_them = hume(*TRAIN, "--name", "with")
    without = hume(*TRAIN, "--name", "without", "--exclude-labelled")
    assert "20 labelled items; unlabelled pool: 320 train items, which include the labelled ones" in with_them.out
    assert "20 labelled items; unlabelled pool: 300 train items, without the labelled ones" in without.out
    stored = [load_recipe(str(HERE.parent / name / "recipe.toml"), "train") for name in ("with", "without")]
    assert [recipe.train.exclude_labelled for recipe in stored] == [False, True]


def test_status_says_what_a_training_is_good_for(hume: Hume, done: Path) -> None:
    lines = hume("status").out.splitlines()
    assert lines[-3:-1] == ["also: hume-ssl assign --images DIR", "also: hume-ssl export --to onnx"]
    record = json.loads(Path("hume-run/run.json").read_text())
    record["stages"]["train/fixmatch-per-class-2"]["stale"] = "the consensus changed"
    Path("hume-run/run.json").write_text(json.dumps(record))
    assert hume("status", "--json").json["also"] == ["hume-ssl report", "hume-ssl export --to csv"]


def test_a_training_that_diverges_is_not_called_finished(hume: Hume, done: Path) -> None:
    answer = hume(*TRAIN, "--name", "wild", "--set", "train.lr=1e30")
    assert answer.code == 2 and "the loss is not a number by step" in answer.err and "train.lr" in answer.err
    stages = hume("status", "--json").json["stages"]
    assert stages["train/wild"]["status"] == "unfinished"
    assert not (HERE.parent / "wild/predictions.csv").exists()


def test_a_network_that_cannot_be_built_is_refused_before_anything_is_written(hume: Hume, done: Path) -> None:
    before = files_of(done)
    for network, message in (
        ("torchvision:resnet18@gone.pth", "/gone.pth; check its path"),
        ("torchvision:squeezenet1_1", "cannot take images of 8 x 8 pixels"),
        ("wrn-82-2", "did you mean 'wrn-28-2'"),
    ):
        answer = hume(*TRAIN, "--name", "new", "--set", f"train.network={network}")
        assert answer.code == 2 and message in answer.err and answer.err.count("\n") == 1, answer.err
    assert files_of(done) == before


def test_a_weights_file_is_known_by_its_content(hume: Hume, done: Path) -> None:
    """Another file under the same name is another training; its path in the stored recipe is absolute."""
    import torch
    import torchvision

    network = ("--set", "train.network=torchvision:resnet18@w.pth", "--set", "train.size=32", "--steps", "1")
    shorter = ("train-fixmatch", *network, "--set", "train.batch=2", "--name", "tuned")
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), "w.pth")
    assert hume(*shorter).code == 0
    stored = load_recipe(str(HERE.parent / "tuned/recipe.toml"), "train").train
    assert stored.network == f"torchvision:resnet18@{Path('w.pth').absolute()}" and stored.size == 32
    assert "nothing to do" in hume(*shorter).out
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), "w.pth")
    answer = hume(*shorter)
    assert answer.code == 2 and "weights of the network was" in answer.err


def test_what_was_said_before_the_training(hume: Hume, done: Path) -> None:
    labels = pd.read_csv("hume-run/selection/per-class-2/labels.csv")
    labels[labels["label"] > 1].to_csv("hume-run/selection/per-class-2/labels.csv", index=False)
    answer = hume(*TRAIN, "--recipe", "supervised", "--name", "few", "--set", "train.mu=2")
    first, second, *_ = answer.out.splitlines()
    assert first == (
        "16 labelled items; 2 of 10 classes have none (class-00, class-01): nothing teaches them; images at 8 x 8 "
        "pixels; augmentation fixmatch-paper: weak = crop after 12.5 % reflect padding (no mirror)"
    )
    assert second == "train.mu = 2 has no effect: supervised learns from labelled items alone"
