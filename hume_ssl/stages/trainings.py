"""Which training a command means, and whether it can be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hume_ssl.errors import InputError
from hume_ssl.run import RunFolder
from hume_ssl.stages.table import require_discover


def finished_training(run: RunFolder, name: str | None, file_of: Callable[[str], Path]) -> str:
    """The name of a finished training; None: the latest that is not stale.

    `file_of` gives the file of it that is needed, as `run.predictions_csv`.

    Raises InputError: no such training, made from an older consensus, or the file is not as the training left it.
    """
    stage = run.latest("train/", stale=False) or run.latest("train/") if name is None else f"train/{name}"
    again = f"hume-ssl train-fixmatch{run.flag}"
    if stage is None:
        require_discover(run)
        raise InputError(f"no finished training in {run.path}: run {again} first")
    name = stage.removeprefix("train/")
    record = run.stage(stage)
    if record.get("status") != "finished":
        known = [n.removeprefix("train/") for n, s in run.stages().items() if n.startswith("train/")]
        raise InputError(
            f"no finished training {name!r} in {run.path}: there is {', '.join(known) or 'none yet'}; run {again}"
        )
    again = f"hume-ssl train-fixmatch --name {name} --overwrite{run.flag}"
    if record.get("stale"):
        raise InputError(f"{stage} in {run.path} was made from an older consensus: make it again with {again}")
    path = file_of(name)
    relative = path.relative_to(run.path).as_posix()
    if relative not in record["artefacts"] or relative in run.changed(stage):
        raise InputError(f"{path} is not as train-fixmatch left it: run {again}")
    return name
