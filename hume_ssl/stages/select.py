"""`select`: the reliable items of each class, into a label file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hume_ssl.consensus import pick
from hume_ssl.run import RunFolder, decide, sha256_array
from hume_ssl.stages.table import Found, load_found, run_flag

HUMAN = "labelled by a person"


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
    found: Found | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Write the label file with at most `per_class` reliable train items of each class; facts for `--json`.

    What a person has labelled comes first, what a person has called wrong not at all. `found` is a consensus that is
    not written yet, None: the run's; `check` writes nothing.

    Raises InputError: no finished discover; too few reliable items, with a table; another selection in its place.
    """
    began = time.monotonic()
    found = found or load_found(run)
    shares = certain(found)
    picked = pick(
        found.labels,
        *shares,
        found.train,
        per_class,
        len(found.names),
        allow_short=allow_short,
        names=found.names,
    )
    stage, path = stage_name(per_class), run.labels_csv(per_class)
    identity = {"consensus": found.digest, "names": found.names, "per_class": per_class, "allow_short": allow_short}
    sizes = [int((picked.label == label).sum()) for label in range(len(found.names))]
    identity |= {"answers": sha256_array(found.answered)} if found.answered is not None else {}
    facts: dict[str, Any] = {"per_class": per_class, "n": len(picked.index), "class_counts": sizes}
    if decide(run, stage, identity, overwrite=overwrite, resumable=False) == "finished" and not check:
        say(f"{path} is there already: nothing to do. Next: hume-ssl train-fixmatch{run_flag(run)}")
        return {"run": str(run.path), "path": str(path), **facts}
    if check:
        return facts
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
        "reason": [HUMAN if shares[0][i] > 1 else why for i, why in zip(picked.index, picked.reason, strict=True)],
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
    return {"run": str(run.path), "path": str(path), **facts}


def certain(found: Found) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) agreement and (n,) neighbour agreement to rank by: a person counts more than all searches, or forbids."""
    if found.answered is None:
        return found.agreement, found.neighbour_agreement

    def heard(share: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(found.answered == -1, 0.0, np.where(right, 1 + 1e-6, share))

    right = found.answered >= 0
    return heard(found.agreement), heard(found.neighbour_agreement)
