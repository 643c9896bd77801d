"""The run folder: the only module that knows which file lies where, and what state each stage is in.

A stage is named by where its output lies: "discover", "class-count", "selection/per-class-4", "selection/ask-20",
"answers", "train/NAME", "evaluate", "assign/NAME", "export/FORMAT", "report", "pretrain/NAME", "spaces/NAME".
run.json holds one record for each.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from hume_ssl import files
from hume_ssl.errors import InputError
from hume_ssl.files import atomic_path, sha256_array, sha256_file
from hume_ssl.states import Decision, differences, next_step

__all__ = ["Decision", "RunFolder", "atomic_path", "decide", "differences", "sha256_array", "sha256_file"]

FORMAT = "hume_ssl run 1"
PACKAGES = (
    "hume_ssl",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "faiss-cpu",
    "pandas",
    "pillow",
    "pydantic",
    "lightly",
)

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
    "export": ("{}/model.pth", "{}/model.onnx", "{}/classes.json", "{}/README.txt"),
    "evaluate": ("evaluation.json", "reliability.svg"),
    "report": ("report.html",),
}  # fmt: skip


def decide(
    run: RunFolder,
    stage: str,
    identity: Mapping[str, object],
    *,
    resume: bool = False,
    overwrite: bool = False,
    searches: int | None = None,
    resumable: bool = True,
) -> Literal["start", "continue", "finished"]:
    """What a command is to do about `stage`, by the table of the run folder's contract; reads, changes nothing.

    `identity` names what the output follows from (`config.identity`). `searches` is the number the user asked for,
    None for no wish; it counts only against a finished stage under `resume`: more of them is "continue". Under
    "start" the caller removes what there is (`RunFolder.remove_stage`). `resumable=False` keeps the message from
    offering --resume where the command has none. Raises InputError where the contract says exit 2.
    """
    run.check()
    record = run.stage(stage)
    artefacts = list(record.get("artefacts", {}))
    missing = [name for name in artefacts if not (run.path / name).is_file()]
    if record.get("status") == "finished" and artefacts and missing == artefacts:
        record = {}  # the user removed the output by hand
    return next_step(
        f"{run.path}: {stage}",
        record,
        json.loads(json.dumps(files.plain(identity))),
        missing=missing,
        resume=resume,
        overwrite=overwrite,
        searches=searches,
        resumable=resumable,
        **({"elsewhere": "give it another --name"} if stage.startswith(("train/", "pretrain/")) else {}),
    )


class RunFolder:
    """A run folder that may not exist yet: its paths, its record run.json, and whole-or-absent writing."""

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

    # run.json

    def exists(self) -> bool:
        """Whether there is a run in the folder."""
        return self.run_json.is_file()

    def load(self) -> dict[str, Any]:
        """run.json; {} where there is none. Raises InputError if it is not one of ours."""
        try:
            record = json.loads(self.run_json.read_text(encoding="utf-8", errors="surrogateescape"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {self.run_json}: {error}: name another folder with --run") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise InputError(f"{self.run_json} is no record of {FORMAT!r}: name another folder with --run")
        return record

    def check(self) -> None:
        """Raise InputError if the folder is a file, or holds things but no run: it is somebody else's."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file: name a folder with --run")
        if not self.load() and self.path.is_dir():
            other = sorted(p.name for p in self.path.iterdir() if not p.name.startswith(files.TEMPORARY))
            if other:
                raise InputError(
                    f"{self.path} holds {other[0]!r} but no run.json: name an empty or new folder with --run"
                )

    def update(self, change: Mapping[str, Any] | Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Change run.json, atomically: new top-level values, or a function that edits the record in place.

        Raises InputError where the folder cannot be made or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with files.locked(self.path):
                record = self.load() or {"format": FORMAT, "stages": {}}
                if callable(change):
                    change(record)
                else:
                    record.update(change)
                files.write_json(self.run_json, record)
        except OSError as error:
            raise InputError(
                f"cannot write to {self.path}: {error.strerror}: name another folder with --run"
            ) from error
        return record

    def stages(self) -> dict[str, dict[str, Any]]:
        """The records of all stages begun, oldest first."""
        return dict(self.load().get("stages", {}))

    def stage(self, name: str) -> dict[str, Any]:
        """The record of a stage; {} if it was never begun."""
        return self.stages().get(name, {})

    def begin_stage(self, name: str, identity: Mapping[str, object], **facts: object) -> None:
        """Record that `name` is under way: unfinished until `finish_stage`. Call it before the first write.

        Of a stage that goes on, the seconds already spent are kept.
        """

        def begin(record: dict[str, Any]) -> None:
            old = record["stages"].pop(name, {})
            now = {"status": "unfinished", "identity": files.plain(identity), "started": _now()}
            if old.get("identity") == now["identity"]:
                now.update(started=old["started"], seconds=old.get("seconds", 0.0))
            record["versions"] = _versions()
            record["stages"][name] = {**now, **facts}

        self.update(begin)
        for folder in {self.path, *((self.path / pattern).parent for pattern in _patterns(name))}:
            files.remove_leftovers(folder)

    def finish_stage(
        self, name: str, artefacts: list[Path], seconds: float, stop_reason: str = "done", **facts: object
    ) -> None:
        """Record that `name` is finished: sha256 of its artefacts, seconds it took, why it stopped, other facts."""
        hashes = {path.relative_to(self.path).as_posix(): sha256_file(path) for path in artefacts}

        def finish(record: dict[str, Any]) -> None:
            stage = record["stages"][name]
            stage.update(
                status="finished",
                finished=_now(),
                seconds=round(stage.get("seconds", 0.0) + seconds, 3),
                stop_reason=stop_reason,
                artefacts=hashes,
                **facts,
            )

        self.update(finish)

    def mark_stale(self, name: str, reason: str | None) -> None:
        """Record that the output of `name` was made from something that has since changed; None takes it back."""

        def mark(record: dict[str, Any]) -> None:
            record["stages"][name].pop("stale", None)
            if reason is not None:
                record["stages"][name]["stale"] = reason

        self.update(mark)

    def changed(self, name: str) -> list[str]:
        """The artefacts of a finished stage that are gone or no longer have the bytes they were recorded with."""
        artefacts = self.stage(name).get("artefacts", {})
        paths = {relative: self.path / relative for relative in artefacts}
        return [relative for relative, path in paths.items() if not _is_file_with(path, artefacts[relative])]

    def latest(self, kind: str, *, stale: bool = True) -> str | None:
        """The stage finished last among those whose name begins with `kind`, as in "selection/"; None if none.

        `stale=False` passes over those made from something that has since changed.
        """
        done = [
            (s["finished"], name)
            for name, s in self.stages().items()
            if name.startswith(kind) and s["status"] == "finished" and (stale or "stale" not in s)
        ]
        return max(done)[1] if done else None

    def remove_stage(self, name: str, keep: tuple[str, ...] = ()) -> None:
        """Remove a stage's files and record, for `--overwrite`; `keep` names patterns to spare, as "classes.csv".

        Only files the contract names go, and folders that are empty then. Raises InputError if the folder is not
        a run's. Killed half-way, the stage is unfinished.
        """
        self.check()
        if name in self.stages():
            self.update(lambda record: record["stages"][name].update(status="unfinished"))
        for path in self._owned(name):
            if not any(fnmatch(path.relative_to(self.path).as_posix(), pattern) for pattern in keep):
                path.unlink(missing_ok=True)
                for folder in path.parents[: len(path.relative_to(self.path).parts) - 1]:
                    with suppress(OSError):  # not empty
                        folder.rmdir()
        if self.exists():
            self.update(lambda record: record["stages"].pop(name, None))

    def discard(self, name: str, keep: tuple[str, ...] = ()) -> None:
        """`remove_stage`, and the whole folder where nothing else was ever begun or put there: as if never started."""
        self.remove_stage(name, keep)
        if not self.stages() and not self.answers_csv.is_file():  # without run.json they would be somebody else's
            self.run_json.unlink(missing_ok=True)
            self.log_txt.unlink(missing_ok=True)
            for folder in sorted({(self.path / pattern).parent for pattern in _patterns(name)}, reverse=True):
                with suppress(OSError):  # not empty, or not there
                    folder.rmdir()

    def _owned(self, name: str) -> list[Path]:
        found = {path for pattern in _patterns(name) for path in self.path.glob(pattern)}
        found |= {self.path / artefact for artefact in self.stage(name).get("artefacts", {})}
        return sorted(path for path in found if path.is_file() or path.is_symlink())

    def log(self, text: str) -> None:
        """Append a line with the time to log.txt."""
        if not self.exists():
            self.update({})  # a folder with a log and no run.json would be refused as somebody else's
        with open(self.log_txt, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{_now()} {text}\n")

    # Reading and writing, here so that stages need one import.
    write_bytes = staticmethod(files.write_bytes)
    write_link = staticmethod(files.write_link)
    write_text = staticmethod(files.write_text)
    write_json = staticmethod(files.write_json)
    write_csv = staticmethod(files.write_csv)
    write_npy = staticmethod(files.write_npy)
    write_safetensors = staticmethod(files.write_safetensors)
    read_csv = staticmethod(files.read_csv)
    read_npy = staticmethod(files.read_npy)
    read_safetensors = staticmethod(files.read_safetensors)


def safe_name(name: str) -> str:
    """`name` if it can be a file name. Raises InputError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+=-]{0,119}", name):
        raise InputError(f"the name {name!r} cannot be a folder: use letters, digits and . _ + = -")
    return name


def _patterns(stage: str) -> list[str]:
    return [pattern.format(stage) for pattern in OWNED.get(stage.partition("/")[0], ())]


def _is_file_with(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_file(path) == digest


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _versions() -> dict[str, str]:
    from importlib import metadata

    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
