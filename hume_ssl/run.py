"""The run folder: what state each stage is in, by its record run.json. Where files lie, `hume_ssl.run_paths` knows.

A stage is named by where its output lies: "discover", "class-count", "selection/per-class-4", "selection/ask-20",
"answers", "train/NAME", "evaluate", "assign/NAME", "export/FORMAT", "report", "pretrain/NAME", "spaces/NAME".
run.json holds one record for each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hume_ssl import claims, disk, files, tensor_files
from hume_ssl.disk import atomic_path
from hume_ssl.errors import InputError
from hume_ssl.files import sha256_array, sha256_file
from hume_ssl.run_paths import patterns_of
from hume_ssl.run_record import RunRecord, now, versions
from hume_ssl.states import Decision, differences, next_step

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

__all__ = ["Decision", "RunFolder", "atomic_path", "decide", "differences", "sha256_array", "sha256_file"]


def decide(
    run: RunFolder,
    stage: str,
    identity: Mapping[str, object],
    *,
    resume: bool = False,
    overwrite: bool = False,
    searches: int | None = None,
    resumable: bool = True,
    editable: bool = False,
) -> Literal["start", "continue", "finished"]:
    """What a command is to do about `stage`, by the table of the run folder's contract; reads, changes nothing.

    `identity` names what the output follows from (`config.identity`). `searches` is the number the user asked for,
    None for no wish; it counts only against a finished stage under `resume`: more of them is "continue". Under
    "start" the caller removes what there is (`RunFolder.remove_stage`). `resumable=False` keeps the message from
    offering --resume where the command has none; `editable` is output that a person is to write in. Raises InputError
    where the contract says exit 2.
    """
    run.check()
    record = run.stage(stage)
    artefacts = list(record.get("artefacts", {}))
    changed = run.changed(stage) if record.get("status") == "finished" else []
    missing = [name for name in changed if not (run.path / name).is_file()]
    changed = missing if editable else changed
    if artefacts and missing == artefacts:
        record = {}  # the user removed the output by hand
    return next_step(
        f"{run.path}: {stage}",
        record,
        json.loads(json.dumps(files.plain(identity))),
        changed=[f"lacks {name}" for name in missing]
        + [f"has another {name} than it was made with" for name in changed if name not in missing],
        resume=resume,
        overwrite=overwrite,
        searches=searches,
        resumable=resumable,
        **({"elsewhere": "give it another --name"} if stage.startswith(("train/", "pretrain/")) else {}),
    )


class RunFolder(RunRecord):
    """A run folder that may not exist yet: its paths, its record run.json, and what stages read and write there."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._hashes: dict[tuple[Path, int, int, int], str] = {}

    def begin_stage(self, name: str, identity: Mapping[str, object], **facts: object) -> None:
        """Record that `name` is under way: unfinished until `finish_stage`. Call it before the first write.

        Of a stage that goes on, the seconds already spent are kept. Raises InputError where another process is at it.
        """

        def begin(record: dict[str, Any]) -> None:
            old = record["stages"].pop(name, {})
            new = {"status": "unfinished", "identity": files.plain(identity), "started": now()}
            if old.get("identity") == new["identity"]:
                new.update(started=old["started"], seconds=old.get("seconds", 0.0))
            record["versions"] = versions()
            record["stages"][name] = {**new, **facts}

        claims.claim(self.path, name)
        self.update(begin)
        claims.remove_dead(self.path)
        for folder in {self.path, *((self.path / pattern).parent for pattern in patterns_of(name))}:
            disk.remove_leftovers(folder)

    def finish_stage(
        self, name: str, artefacts: list[Path], seconds: float, stop_reason: str = "done", **facts: object
    ) -> None:
        """Record that `name` is finished: sha256 of its artefacts, seconds it took, why it stopped, other facts."""
        hashes = {path.relative_to(self.path).as_posix(): sha256_file(path) for path in artefacts}

        def finish(record: dict[str, Any]) -> None:
            stage = record["stages"][name]
            stage.update(
                status="finished",
                finished=now(),
                seconds=round(stage.get("seconds", 0.0) + seconds, 3),
                stop_reason=stop_reason,
                artefacts=hashes,
                **facts,
            )

        self.update(finish)
        claims.release(self.path, name)

    def changed(self, name: str) -> list[str]:
        """The artefacts of a finished stage that are gone or no longer have the bytes they were recorded with."""
        artefacts = self.stage(name).get("artefacts", {})
        paths = {relative: self.path / relative for relative in artefacts}
        return [r for r, path in paths.items() if not path.is_file() or self._sha256(path) != artefacts[r]]

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
        """The files of a stage; a record that was altered to name others, elsewhere, does not reach those."""
        found = {path for pattern in patterns_of(name) for path in self.path.glob(pattern)}
        found |= {self.path / artefact for artefact in self.stage(name).get("artefacts", {})}
        inside = self.path.resolve()
        found = {path for path in found if path.parent.resolve().is_relative_to(inside)}
        return sorted(path for path in found if path.is_file() or path.is_symlink())

    # Reading: what a finished stage wrote has the bytes it was recorded with, or is not read.

    def unaltered(self, path: Path) -> Path:
        """`path`, where it is as the finished stage that wrote it left it, or was written by none.

        Raises InputError, naming the file and the command that makes it again, where it has other bytes.
        """
        for stage, record in self.stages().items():
            digest = record.get("artefacts", {}).get(self._relative(path))
            if record["status"] == "finished" and digest and path.is_file() and self._sha256(path) != digest:
                raise InputError(
                    f"{path} is not as {stage} left it: put it back, or make it again with "
                    f"{self.made_again(stage, record)}"
                )
        return path

    def read_csv(self, path: Path, text: tuple[str, ...] = ()) -> pd.DataFrame:
        """`files.read_csv` of an unaltered file."""
        return files.read_csv(self.unaltered(path), text)

    def read_npy(self, path: Path) -> np.ndarray[Any, Any]:
        """`files.read_npy` of an unaltered file, memory-mapped."""
        return files.read_npy(self.unaltered(path))

    def read_safetensors(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """`tensor_files.read_safetensors` of an unaltered file."""
        return tensor_files.read_safetensors(self.unaltered(path))

    def read_json(self, path: Path) -> dict[str, Any]:
        """`files.read_json` of an unaltered file."""
        return files.read_json(self.unaltered(path))

    def read_rows(self, path: Path) -> list[dict[str, Any]]:
        """`files.read_rows` of an unaltered file."""
        return files.read_rows(self.unaltered(path))

    # Writing, here so that stages need one import.
    write_bytes = staticmethod(files.write_bytes)
    write_link = staticmethod(disk.write_link)
    write_text = staticmethod(files.write_text)
    write_json = staticmethod(files.write_json)
    write_csv = staticmethod(files.write_csv)
    write_npy = staticmethod(files.write_npy)
    write_safetensors = staticmethod(tensor_files.write_safetensors)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix() if path.is_relative_to(self.path) else ""

    def _sha256(self, path: Path) -> str:
        """The hash of a file of the run, computed once while the file stays as it is."""
        facts = path.stat()
        key = (path, facts.st_size, facts.st_mtime_ns, facts.st_ino)
        if key not in self._hashes:
            self._hashes[key] = sha256_file(path)
        return self._hashes[key]
