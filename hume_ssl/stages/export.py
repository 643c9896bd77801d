"""`export`: a trained network, or labels, in a format that other programs read."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from typing import Any

from hume_ssl import export as formats
from hume_ssl import labels as label_formats
from hume_ssl.distributed import refuse
from hume_ssl.errors import InputError
from hume_ssl.labels.labelled import How
from hume_ssl.run import RunFolder, decide, sha256_file
from hume_ssl.stages.export_labels import export_labels
from hume_ssl.stages.table import read_names
from hume_ssl.stages.trainings import finished_training


def export(
    run: RunFolder,
    form: str,
    say: Callable[[str], None],
    *,
    name: str | None = None,
    of: str | None = None,
    how: How | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write export/FORMAT/; facts for `--json`.

    Args:
        form: a format of networks (`hume_ssl.export`) or of labels (`hume_ssl.labels`).
        name: of the training, for a network; None: the latest that is not stale.
        of, how: which labels, and how they are written: see `export_labels`.

    Raises InputError: no such format or training, a package it needs is missing, another export in its place, or an
    option that the format has no use for.
    """
    refuse("export")
    known = [*formats.FORMATS, *label_formats.FORMATS]
    if form not in known:
        near = difflib.get_close_matches(form, known, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"no export format is called {form!r}: {meant}give --to {', '.join(known[:-1])} or {known[-1]}"
        )
    if form in label_formats.FORMATS:
        if name is not None:
            raise InputError(f"--name {name} names a training, and --to {form} writes labels: leave one of them out")
        return export_labels(run, form, say, of=of, how=how, overwrite=overwrite)
    if of is not None:
        raise InputError(f"--of {of} chooses labels, and --to {form} writes a network: leave one of them out")
    return _export_network(run, form, say, name=name, overwrite=overwrite)


def listed() -> list[str]:
    """A line for each format."""
    every = {name: known.what for name, known in formats.FORMATS.items()}
    every |= {name: f"{known.what} ({known.of})" for name, known in label_formats.FORMATS.items()}
    return [f"{name:14}{what}" for name, what in every.items()]


def _export_network(
    run: RunFolder, form: str, say: Callable[[str], None], *, name: str | None, overwrite: bool
) -> dict[str, Any]:
    formats.check(form)
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
