"""The run folder: what state each stage is in, by its record run.json. Where files lie, `hume_ssl.run_paths` knows.

A stage is named by where its output lies: "discover", "class-count", "selection/per-class-4", "selection/ask-20",
"answers", "train/NAME", "evaluate", "assign/NAME", "export/FORMAT", "report", "pretrain/NAME", "spaces/NAME".
run.json holds one record for each.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from hume_ssl import claims, files
from hume_ssl.errors import InputError
from hume_ssl.files import atomic_path, sha256_array, sha256_file
from hume_ssl.run_paths import RunPaths, patterns_of
from hume_ssl.run_record import fault_of
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
    "timm",
    "open_clip_torch",
)


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


class RunFolder(RunPaths):
    """A run folder that may not exist yet: its paths, its record run.json, and whole-or-absent writing."""

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
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"cannot read {self.run_json}: {error}: name another folder with --run") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise InputError(f"{self.run_json} is no record of {FORMAT!r}: name another folder with --run")
        if fault := fault_of(record):
            raise InputError(f"{self.run_json} is damaged: {fault}: put a whole one back, or name another with --run")
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

        Of a stage that goes on, the seconds already spent are kept. Raises InputError where another process is at it.
        """

        def begin(record: dict[str, Any]) -> None:
            old = record["stages"].pop(name, {})
            now = {"status": "unfinished", "identity": files.plain(identity), "started": _now()}
            if old.get("identity") == now["identity"]:
                now.update(started=old["started"], seconds=old.get("seconds", 0.0))
            record["versions"] = _versions()
            record["stages"][name] = {**now, **facts}

        claims.claim(self.path, name)
        self.update(begin)
        for folder in {self.path, *((self.path / pattern).parent for pattern in patterns_of(name))}:
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
        claims.release(self.path, name)

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
        a run's, or another process is at that stage. Killed half-way, the stage is unfinished.
        """
        self.check()
        if not self.exists():
            return
        claims.claim(self.path, name)
        if name in self.stages():
            self.update(lambda record: record["stages"][name].update(status="unfinished"))
        for path in self._owned(name):
            if not any(fnmatch(path.relative_to(self.path).as_posix(), pattern) for pattern in keep):
                path.unlink(missing_ok=True)
                for folder in path.parents[: len(path.relative_to(self.path).parts) - 1]:
                    with suppress(OSError):  # not empty
                        folder.rmdir()
        self.update(lambda record: record["stages"].pop(name, None))
        claims.release(self.path, name)

    def discard(self, name: str, keep: tuple[str, ...] = ()) -> None:
        """`remove_stage`, and the whole folder where nothing else was ever begun or put there: as if never started."""
        self.remove_stage(name, keep)
        if not self.stages() and not self.answers_csv.is_file():  # without run.json they would be somebody else's
            self.run_json.unlink(missing_ok=True)
            self.log_txt.unlink(missing_ok=True)
            for folder in sorted({(self.path / pattern).parent for pattern in patterns_of(name)}, reverse=True):
                with suppress(OSError):  # not empty, or not there
                    folder.rmdir()

    def _owned(self, name: str) -> list[Path]:
        found = {path for pattern in patterns_of(name) for path in self.path.glob(pattern)}
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
    read_json = staticmethod(files.read_json)
    read_npy = staticmethod(files.read_npy)
    read_safetensors = staticmethod(files.read_safetensors)


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
