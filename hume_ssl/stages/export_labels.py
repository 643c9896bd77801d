"""`export` of labels: the consensus, what of it is reliable, or the selection, for other tools."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from hume_ssl import labels as formats
from hume_ssl.consensus import reliable_items
from hume_ssl.errors import InputError
from hume_ssl.files import sha256_file
from hume_ssl.labels.labelled import How, Labelled, merged
from hume_ssl.labels.pictures import take_away
from hume_ssl.run import RunFolder, decide
from hume_ssl.run_paths import patterns_of
from hume_ssl.stages.naming import load_named
from hume_ssl.stages.table import (
    Found,
    first_of_name,
    load_found,
    read_labels,
    stored_items,
    stored_recipe,
    tell_if_edited,
)
from hume_ssl.stages.votes import stored_votes


def export_labels(
    run: RunFolder,
    form: str,
    say: Callable[[str], None],
    *,
    of: str | None = None,
    how: How | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write export/FORMAT/ with labels; facts for `--json`.

    Args:
        form: a key of `hume_ssl.labels.FORMATS`.
        of: "consensus" (all items), "reliable" or "selection" (the latest label file); None: what the format asks for.

    Raises InputError: no finished discover or selection, a missing package, no images, another export in its place.
    """
    began, how = time.monotonic(), how or How()
    which = of or formats.FORMATS[form].of
    if which not in formats.CHOICES:
        raise InputError(f"--of {which} is nothing to export: give {', '.join(formats.CHOICES)}")
    formats.check(form)
    found = load_named(run, nearby=True)
    number, selected, given = _selection(run, found, wanted=which == "selection")
    stage, folder = f"export/{form}", run.export(form)
    identity = {"consensus": found.digest, "names": found.names, "of": which, "copy": how.copy, "prefix": how.prefix}
    if number is not None:
        identity["selection"] = sha256_file(run.labels_csv(number))
        tell_if_edited(run, number, say)
    facts: dict[str, Any] = {"run": str(run.path), "format": form, "of": which, "path": str(folder)}
    labelled = _labelled(run, found, selected, given, which, train_only=form in formats.TAUGHT)
    facts |= {"n": len(labelled), "classes": list(labelled.names)}
    if decide(run, stage, identity, overwrite=overwrite, resumable=False) == "finished":
        say(f"{folder} is there already: nothing to do")
        return facts
    if form in formats.PICTURED:
        labelled.images()  # where they are gone, what was exported before stays
    _refuse_links_out(run, stage)
    take_away(folder)
    run.remove_stage(stage)
    run.begin_stage(stage, identity)
    try:
        written = formats.write(form, labelled, folder, how)
    except BaseException:
        take_away(folder)
        run.remove_stage(stage)  # wrong input leaves nothing
        raise
    run.finish_stage(stage, written, time.monotonic() - began, of=which, n=len(labelled))
    run.log(f"finished {stage}: {len(labelled)} items ({which})")
    kind = {"consensus": "all", "reliable": "the reliable", "selection": "the selected"}[which]
    say(f"{kind} {len(labelled):,} items of {len(labelled.names)} classes written to {folder}")
    say(f"next, in {folder}: {formats.FORMATS[form].after}")
    return facts


def _refuse_links_out(run: RunFolder, stage: str) -> None:
    """Raise InputError where a folder of an export's files is a link to elsewhere: what is there is the user's."""
    folder = run.path / stage
    for parent in sorted({(run.path / pattern).parent for pattern in patterns_of(stage)}):
        if not parent.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{parent} leads out of {folder}: move it away")


def _selection(run: RunFolder, found: Found, *, wanted: bool) -> tuple[int | None, Any, Any]:
    """Number a class, items (m,) and classes (m,) of the latest label file of this consensus; None and nothing where
    there is none.

    Raises InputError if it is `wanted`.
    """
    latest = run.latest("selection/per-class-", stale=False)
    if latest is None:
        if wanted:
            raise InputError(
                f"no selection of this consensus in {run.path}: run hume-ssl select --per-class 4{run.flag}"
            )
        return None, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    number = int(latest.rpartition("-")[2])
    return number, *read_labels(run.labels_csv(number), found)


def _labelled(run: RunFolder, found: Found, selected: Any, given: Any, which: str, *, train_only: bool) -> Labelled:
    """The items to write. Of a selection the classes are those of the label file: a person's answers count."""
    reliable = run.read_csv(run.consensus_csv)["reliable"].to_numpy(dtype=bool)
    reliable = reliable | (_merged(found) & reliable_items(found.agreement, found.neighbour_agreement))
    rows = {"consensus": np.arange(len(found.labels)), "reliable": np.flatnonzero(reliable), "selection": selected}[
        which
    ]
    if train_only:
        rows = rows[found.train[rows]]
    label = given if which == "selection" else found.labels[rows]
    names, place = merged(found.names)
    chosen = np.zeros(len(found.labels), dtype=bool)
    chosen[selected] = True
    return Labelled(
        index=rows.astype(np.int64),
        filepaths=[found.filepaths[row] for row in rows],
        split=np.where(found.train[rows], "train", "test").tolist(),
        label=label,
        target=place[label],
        names=names,
        place=place,
        agreement=found.agreement[rows],
        neighbour_agreement=found.neighbour_agreement[rows],
        reliable=reliable[rows],
        selected=chosen[rows],
        what=which,
        train=np.flatnonzero(found.train).astype(np.int64),
        seed=stored_recipe(run).search.seed,
        open_images=cache(lambda: stored_items(run)),
        votes=lambda: stored_votes(run, load_found(run)),
    )


def _merged(found: Found) -> Any:
    """(n,) whether an item's class is several of one name, of which the votes and neighbours were counted again."""
    first = first_of_name(found.names)
    return (np.bincount(first, minlength=len(first)) > 1)[found.labels]
