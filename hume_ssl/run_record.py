"""run.json, the record of a run: one entry for each stage that was begun, and the versions it was begun with."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from hume_ssl import disk, files
from hume_ssl.errors import InputError
from hume_ssl.record_faults import fault_of
from hume_ssl.run_paths import RunPaths

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


class RunRecord(RunPaths):
    """The record of a run folder that may not exist yet: read, and changed as a whole."""

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
            other = sorted(p.name for p in self.path.iterdir() if not p.name.startswith(disk.TEMPORARY))
            if other:
                raise InputError(
                    f"{self.path} holds {other[0]!r} but no run.json: name an empty or new folder with --run"
                )

    def update(self, change: Mapping[str, Any] | Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Change run.json, atomically: new top-level values, or a function that edits the record in place.

        Raises InputError where the folder cannot be made or written to, OSError where its disk is full.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with disk.locked(self.path):
                record = self.load() or {"format": FORMAT, "stages": {}}
                if callable(change):
                    change(record)
                else:
                    record.update(change)
                files.write_json(self.run_json, record)
        except OSError as error:
            if error.errno in disk.FULL:  # another folder would not go on with what is here
                raise
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

    def mark_stale(self, name: str, reason: str | None) -> None:
        """Record that the output of `name` was made from something that has since changed; None takes it back."""

        def mark(record: dict[str, Any]) -> None:
            record["stages"][name].pop("stale", None)
            if reason is not None:
                record["stages"][name]["stale"] = reason

        self.update(mark)

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

    def log(self, text: str) -> None:
        """Append a line with the time to log.txt."""
        if not self.exists():
            self.update({})  # a folder with a log and no run.json would be refused as somebody else's
        with disk.naming(self.log_txt), open(self.log_txt, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write(f"{now()} {text}\n")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def versions() -> dict[str, str]:
    from importlib import metadata

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
