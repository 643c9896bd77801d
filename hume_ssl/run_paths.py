"""Which file lies where in a run folder, and which of them belong to a stage: no other module knows their names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hume_ssl.errors import InputError

# What `--overwrite` may remove, by the first part of a stage's name; {} is the whole name. What a stage's record
# lists as its artefacts comes on top. answers.csv is a person's work: nothing here removes it.
OWNED: dict[str, tuple[str, ...]] = {
    "discover": (
        "recipe.toml",
        "items.csv",
        "broken.csv",
        "spaces/*.npy",
        "spaces/spaces.json",
        "spaces/views.json",
        "spaces/*.growing.json",
        "searches/labellings.npy",
        "searches/searches.csv",
        "searches/encoders.safetensors",
        "searches/matching.safetensors",
        "searches/checkpoint*",
        "consensus.csv",
        "consensus-searches.csv",
        "classes.csv",
    ),
    "spaces": ("{}.npy", "{}.safetensors", "{}.growing.npy", "{}.growing.json"),
    "class-count": ("class-count.csv", "class-count.svg", "class-count/rows.csv"),
    "selection": ("{}/labels.csv",),
    "train": ("{}/recipe.toml", "{}/checkpoints/last*", "{}/checkpoints/previous*", "{}/metrics.jsonl",
              "{}/evaluations.csv", "{}/predictions.csv", "{}/model.safetensors",
              "{}/tensorboard/events.out.tfevents.*"),
    "pretrain": ("{}/recipe.toml", "{}/checkpoints/last*", "{}/checkpoints/previous*", "{}/metrics.jsonl",
                 "{}/encoder.safetensors", "{}/space.npy", "{}/space.growing.*"),
    "assign": ("{}.csv",),
    # What a manifest.csv lists is removed by `hume_ssl.labels.pictures.take_away`.
    "export": ("{}/model.pth", "{}/model.onnx", "{}/classes.json", "{}/README.txt", "{}/manifest.csv",
               "{}/labels.csv", "{}/labels.json", "{}/labels.npy", "{}/labels.parquet",
               "{}/data/train/metadata.csv", "{}/data/test/metadata.csv", "{}/images.npy",
               "{}/usb_train.py", "{}/usb.json", "{}/labeled_idx/*.npy",
               "{}/sampled_label_idx.npy", "{}/cleanlab.npz", "{}/votes.csv", "{}/classes.csv", "{}/tasks.json",
               "{}/interface.xml", "{}/annotations.xml", "{}/task-labels.json"),
    "evaluate": ("evaluation.json", "reliability.svg"),
    "report": ("report.html",),
}  # fmt: skip


class RunPaths:
    """Where everything of a run lies; nothing of it need exist."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.run_json = self.path / "run.json"
        self.log_txt = self.path / "log.txt"
        self.recipe_toml = self.path / "recipe.toml"
        self.items_csv = self.path / "items.csv"
        self.broken_csv = self.path / "broken.csv"  # images left out because they cannot be read
        self.spaces = self.path / "spaces"
        self.spaces_json = self.spaces / "spaces.json"
        self.views_json = self.spaces / "views.json"  # encoder and settings of each file of views in spaces/
        self.searches = self.path / "searches"
        self.labellings_npy = self.searches / "labellings.npy"
        self.searches_csv = self.searches / "searches.csv"
        self.encoders = self.searches / "encoders.safetensors"
        self.matching = self.searches / "matching.safetensors"  # what the searches' classes are in the consensus
        self.search_checkpoint = self.searches / "checkpoint.safetensors"  # only while the searches run
        self.consensus_csv = self.path / "consensus.csv"
        self.searches_consensus_csv = self.path / "consensus-searches.csv"  # before answers corrected consensus.csv
        self.classes_csv = self.path / "classes.csv"
        self.answers_csv = self.path / "answers.csv"
        self.class_count_csv = self.path / "class-count.csv"
        self.class_count_svg = self.path / "class-count.svg"
        self.class_count_rows = self.path / "class-count/rows.csv"  # only while the numbers of classes are tried
        self.evaluation_json = self.path / "evaluation.json"
        self.reliability_svg = self.path / "reliability.svg"
        self.report_html = self.path / "report.html"

    def space(self, name: str) -> Path:
        """The array of a space; signs that trouble a file system become "-"."""
        return self.spaces / f"{re.sub(r'[^A-Za-z0-9._=-]+', '-', name).lstrip('.-')[:120] or 'space'}.npy"

    def batch_checkpoint(self, start: int) -> Path:
        """The state of the batch in hand that begins with search `start`; only while it runs."""
        return self.searches / f"checkpoint-batch-{start}.safetensors"

    def labels_csv(self, per_class: int) -> Path:
        """The label file with at most `per_class` items a class."""
        return self.path / f"selection/per-class-{per_class}/labels.csv"

    def ask_csv(self, count: int) -> Path:
        """The label file, without labels, of the `count` items a person is asked about."""
        return self.path / f"selection/ask-{count}/labels.csv"

    def train(self, name: str) -> Path:
        """The folder of a training. Raises InputError if `name` is no plain file name."""
        return self.path / "train" / safe_name(name)

    def train_recipe(self, name: str) -> Path:
        """The resolved recipe of a training."""
        return self.train(name) / "recipe.toml"

    def checkpoints(self, name: str) -> Path:
        """The folder of a training's checkpoints, last and previous."""
        return self.train(name) / "checkpoints"

    def metrics_jsonl(self, name: str) -> Path:
        """One line for each evaluated step of a training."""
        return self.train(name) / "metrics.jsonl"

    def evaluations_csv(self, name: str) -> Path:
        """What a training's last evaluations gave the items they looked at."""
        return self.train(name) / "evaluations.csv"

    def predictions_csv(self, name: str) -> Path:
        """A trained classifier's labels of all items."""
        return self.train(name) / "predictions.csv"

    def trained(self, name: str) -> Path:
        """The trained network: averaged weights, and what the network is rebuilt from."""
        return self.train(name) / "model.safetensors"

    def pretraining(self, name: str) -> Path:
        """The folder of a self-supervised training. Raises InputError if `name` is no plain file name."""
        return self.path / "pretrain" / safe_name(name)

    def pretrain_recipe(self, name: str) -> Path:
        """The resolved recipe of a self-supervised training."""
        return self.pretraining(name) / "recipe.toml"

    def pretrain_checkpoints(self, name: str) -> Path:
        """The folder of its checkpoints, last and previous."""
        return self.pretraining(name) / "checkpoints"

    def pretrain_metrics(self, name: str) -> Path:
        """One line for each row of its figures."""
        return self.pretraining(name) / "metrics.jsonl"

    def pretrain_encoder(self, name: str) -> Path:
        """Its encoder: weights, and what the network is rebuilt from."""
        return self.pretraining(name) / "encoder.safetensors"

    def pretrain_space(self, name: str) -> Path:
        """The space of all items under its encoder, (n, d)."""
        return self.pretraining(name) / "space.npy"

    def tensorboard(self, name: str) -> Path:
        """The folder of a training's event files; outside byte comparisons, as they hold the time."""
        return self.train(name) / "tensorboard"

    def assign_csv(self, name: str) -> Path:
        """The labels of new items."""
        return self.path / "assign" / f"{safe_name(name)}.csv"

    def export(self, form: str) -> Path:
        """The folder of an export."""
        return self.path / "export" / safe_name(form)

    @property
    def flag(self) -> str:
        """What a command to paste needs to find this run: nothing for the default folder."""
        return "" if str(self.path) == "hume-run" else f" --run {shlex.quote(str(self.path))}"

    def made_again(self, stage: str, record: Mapping[str, Any]) -> str:
        """The command that makes the output of a stage with this record again."""
        kind, _, name = stage.partition("/")
        what, _, number = name.rpartition("-")
        if kind == "discover" and "imported" in record:
            return f"hume-ssl import-hume {shlex.quote(str(record['imported']))} --overwrite{self.flag}"
        commands = {
            "discover": f"discover --recipe {shlex.quote(str(self.recipe_toml))} --resume",
            "class-count": "discover --overwrite",
            "spaces": "embed --overwrite",
            "selection": f"select --{what} {number} --overwrite",
            "answers": "select --answers FILE",
            "train": f"train-fixmatch --name {name} --overwrite",
            "pretrain": f"pretrain --name {name} --overwrite",
        }
        more = " (or --overwrite, from the start)" if kind == "discover" else ""
        return f"hume-ssl {commands.get(kind, kind)}{self.flag}{more}"


def safe_name(name: str) -> str:
    """`name` if it can be a file name. Raises InputError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+=-]{0,119}", name):
        raise InputError(f"the name {name!r} cannot be a folder: use letters, digits and . _ + = -")
    return name


def patterns_of(stage: str) -> list[str]:
    """What of a stage may be removed, relative to the run folder, with * for any name."""
    return [pattern.format(stage) for pattern in OWNED.get(stage.partition("/")[0], ())]
