"""`select`: the reliable items of each class, into a label file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd

from hume_ssl.calibration import agreement_bins, bins_table
from hume_ssl.consensus import pick
from hume_ssl.run import RunFolder, decide
from hume_ssl.stages.table import load_found, run_flag


def stage_name(per_class: int) -> str:
    """The stage of a selection in run.json."""
    return f"selection/per-class-{per_class}"


def select(
    run: RunFolder,
    per_class: int,
    say: Callable[[str], None],
    *,
    allow_short: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the label file with at most `per_class` reliable train items of each class; facts for `--json`.

    Raises InputError: no finished discover; too few reliable items, with a table; another selection in its place.
    """
    began = time.monotonic()
    found = load_found(run)
    picked = pick(
        found.labels,
        found.agreement,
        found.neighbour_agreement,
        found.train,
        per_class,
        len(found.names),
        allow_short=allow_short,
        names=found.names,
    )
    stage, path = stage_name(per_class), run.labels_csv(per_class)
    identity = {"consensus": found.digest, "names": found.names, "per_class": per_class, "allow_short": allow_short}
    sizes = [int((picked.label == label).sum()) for label in range(len(found.names))]
    facts: dict[str, Any] = {"per_class": per_class, "n": len(picked.index), "class_counts": sizes}
    witnesses = (found.agreement[found.train], found.neighbour_agreement[found.train])
    bins = {"agreement_bins": agreement_bins(witnesses[0])}
    state = decide(run, stage, identity, overwrite=overwrite, resumable=False)
    for line in bins_table(*witnesses):
        say(line)
    if state == "finished":
        say(f"{path} is there already: nothing to do. Next: hume-ssl train-fixmatch{run_flag(run)}")
        return {"run": str(run.path), "path": str(path), **facts, **bins}
    run.remove_stage(stage)
    run.begin_stage(stage, identity)
    table = {
        "index": picked.index,
        "filepath": [found.filepaths[i] for i in picked.index],
        "label": picked.label,
        "class_name": [found.names[label] for label in picked.label],
        "agreement": found.agreement[picked.index],
        "neighbour_agreement": found.neighbour_agreement[picked.index],
        "rank": picked.rank,
        "reason": picked.reason,
    }
    run.write_csv(path, pd.DataFrame(table))
    run.finish_stage(stage, [path], time.monotonic() - began, **facts)
    run.log(f"finished {stage}: {facts}")
    short = sum(size < per_class for size in sizes)
    say(
        f"{len(picked.index)} items of {sum(size > 0 for size in sizes)} classes picked"
        + (f" ({short} classes have fewer than {per_class})" if short else "")
        + f"; written to {path}. Next: hume-ssl train-fixmatch{run_flag(run)}"
    )
    return {"run": str(run.path), "path": str(path), **facts, **bins}
