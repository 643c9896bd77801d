"""`export`: a trained network in a format that other programs read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hume_ssl import export as formats
from hume_ssl.distributed import refuse
from hume_ssl.run import RunFolder, decide, sha256_file
from hume_ssl.stages.table import read_names
from hume_ssl.stages.trainings import finished_training


def export(
    run: RunFolder,
    form: str,
    say: Callable[[str], None],
    *,
    name: str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write export/FORMAT/; facts for `--json`.

    Args:
        form: "torch" or "onnx".
        name: of the training; None: the latest that is not stale.

    Raises InputError: no such format or training, a package it needs is missing, another export in its place.
    """
    refuse("export")
    formats.check_format(form)
    began = time.monotonic()
    name = finished_training(run, name, run.trained)
    from hume_ssl.train import trained

    network = trained.load(run.trained(name))
    names = read_names(run, int(network.facts["classes"]))
    stage, folder = f"export/{form}", run.export(form)
    identity = {"network": sha256_file(run.trained(name)), "names": names}
    facts: dict[str, Any] = {"run": str(run.path), "name": name, "format": form, "classes": names}
    facts["path"] = str(folder / formats.FORMATS[form].file)
    if decide(run, stage, identity, overwrite=overwrite, resumable=False) == "finished":
        say(f"{facts['path']} is there already: nothing to do")
        return facts
    run.remove_stage(stage)
    run.begin_stage(stage, identity, training=name)
    try:
        written = formats.write(form, network, names, folder)
    except BaseException:
        run.remove_stage(stage)  # wrong input leaves nothing
        raise
    run.finish_stage(stage, written, time.monotonic() - began)
    run.log(f"finished {stage}: train/{name}")
    say(f"train/{name} ({network.facts['network']}) written as {form}: {', '.join(map(str, written))}")
    return facts
