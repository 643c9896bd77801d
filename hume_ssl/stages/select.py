"""`select`: the reliable items of each class, into a label file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.calibration import agreement_bins, bins_table
from hume_ssl.consensus import DEFAULT_STRATEGY, people_first, pick
from hume_ssl.files import table_of
from hume_ssl.run import RunFolder, decide, sha256_array
from hume_ssl.stages.naming import merge_named
from hume_ssl.stages.table import (
    DISCOVER,
    Found,
    every_space,
    first_of_name,
    load_found,
    stored_recipe,
)


def stage_name(per_class: int) -> str:
    """The stage of a selection in run.json."""
    return f"selection/per-class-{per_class}"


def select(
    run: RunFolder,
    per_class: int,
    say: Callable[[str], None],
    *,
    strategy: str = DEFAULT_STRATEGY,
    allow_short: bool = False,
    overwrite: bool = False,
    found: Found | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Write the label file with at most `per_class` reliable train items of each class; facts for `--json`.

    Classes of one name are one (`hume_ssl.stages.naming`): items of any of them are picked for the first. `strategy` is
    one of those of `pick`; it measures in all spaces of the run, and draws by the seed of its searches. What a person
    has labelled comes first, what a person has called wrong not at all. `found` is a consensus that is not written yet,
    None: the run's; `check` writes nothing.

    Raises InputError: no finished discover; too few reliable items, with a table; another selection in its place.
    """
    began = time.monotonic()
    found = merge_named(run, found or load_found(run), nearby=True)
    seed = stored_recipe(run).search.seed
    # Of classes with one name only the first has items: the others are no classes that could be short.
    classes = np.unique(first_of_name(found.names))
    picked = pick(
        np.searchsorted(classes, found.labels),
        *heard(found),
        found.train,
        per_class,
        len(classes),
        strategy=strategy,
        spaces=every_space(run),
        seed=seed,
        allow_short=allow_short,
        names=[found.names[label] for label in classes],
    )
    picked = replace(picked, label=classes[picked.label])
    if found.answered is not None:
        picked = people_first(picked, found.answered, found.agreement, per_class)
    stage, path = stage_name(per_class), run.labels_csv(per_class)
    files = {
        k: v for k, v in run.stage(DISCOVER)["artefacts"].items() if k.startswith("spaces/") and k.endswith(".npy")
    }
    identity = {"consensus": found.digest, "names": found.names, "per_class": per_class, "allow_short": allow_short}
    identity |= {"strategy": strategy, "seed": seed, "spaces": files}
    if found.answered is not None:
        identity["answers"] = sha256_array(found.answered)
    sizes = [int((picked.label == label).sum()) for label in range(len(found.names))]
    own = [sizes[label] for label in classes]
    facts: dict[str, Any] = {"per_class": per_class, "strategy": strategy, "n": len(picked.index)}
    facts["class_counts"] = sizes
    witnesses = (found.agreement[found.train], found.neighbour_agreement[found.train])
    bins = {"agreement_bins": agreement_bins(witnesses[0])}
    state = decide(run, stage, identity, overwrite=overwrite, resumable=False)
    if check:
        return facts
    for line in bins_table(*witnesses):
        say(line)
    if state == "finished":
        say(f"{path} is there already: nothing to do. Next: hume-ssl train-fixmatch{run.flag}")
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
    run.write_csv(path, table_of(table))
    run.finish_stage(stage, [path], time.monotonic() - began, **facts)
    run.log(f"finished {stage}: {facts}")
    short = sum(size < per_class for size in own)
    empty = [found.names[label] for label, size in zip(classes, own, strict=True) if not size]
    say(
        f"{len(picked.index)} items of {len(own) - len(empty)} classes picked ({strategy})"
        + (f" ({short} classes have fewer than {per_class})" if short else "")
        + (f"; no reliable item in {', '.join(empty)}" if empty else "")
        + f"; written to {path}. Next: hume-ssl train-fixmatch{run.flag}"
    )
    return {"run": str(run.path), "path": str(path), **facts, **bins}


def heard(found: Found) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) agreement and (n,) neighbour agreement, where people have spoken theirs: 1 = labelled, 0 = called wrong."""
    said = found.answered
    if said is None:
        return found.agreement, found.neighbour_agreement
    shares = (found.agreement, found.neighbour_agreement)
    first, second = (np.where(said >= 0, 1.0, np.where(said == -1, 0.0, share)) for share in shares)
    return first, second
