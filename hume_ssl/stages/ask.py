"""`select --ask`: the items a person should label; and the order of what `select` is asked to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hume_ssl.consensus import Asked
from hume_ssl.consensus import ask as ask_items
from hume_ssl.errors import InputError
from hume_ssl.files import table_of
from hume_ssl.run import RunFolder, decide, sha256_array
from hume_ssl.stages import select as selecting
from hume_ssl.stages.answer_file import read_answers
from hume_ssl.stages.answers import answers_kept, merge_answers, write_answers
from hume_ssl.stages.naming import present_names, read_given_names, take_names
from hume_ssl.stages.table import UNASKED, Found, check_as_left, load_found, run_flag


def select(
    run: RunFolder,
    say: Callable[[str], None],
    *,
    per_class: int | None = None,
    ask: int | None = None,
    answers: Path | None = None,
    names: Path | None = None,
    overwrite: bool = False,
    **how: Any,
) -> dict[str, Any]:
    """Take names, merge answers, then select, then ask, whichever are wanted; facts for `--json`.

    Where only one is wanted the facts are its own; otherwise those of answers and of ask have a key each. `how` goes
    to the selection. Raises InputError before anything is written.
    """
    if per_class is None and ask is None and answers is None and names is None:
        raise InputError(
            "nothing to do: give --per-class N to pick labels, --ask M to list items, --answers FILE or --names FILE"
        )
    facts: dict[str, Any] = {}
    present = present_names(run)
    named = None if names is None else read_given_names(names, present)
    # Answers mend a run in which they were stopped midway, whose consensus `load_found` would refuse.
    merged = None if answers is None else merge_answers(run, answers, named)
    found = merged.found if merged else replace(load_found(run), names=named or present)
    # What may be refused is tried before anything is written.
    if per_class is not None and (merged or named):
        selecting.select(run, per_class, say, overwrite=overwrite, found=found, check=True, **how)
    if ask is not None and (merged or per_class is not None):
        check_ask(run, found, ask, overwrite)
    if named is not None:
        facts["names"] = take_names(run, named, present, say)
    if merged:
        facts["answers"] = write_answers(run, merged, say)
    elif found.answered is None and (kept := answers_kept(run)):
        say(f"warning: not heard here: {kept}")
    if per_class is not None:
        facts["selection"] = selecting.select(run, per_class, say, overwrite=overwrite, **how)
    if ask is not None:
        facts["ask"] = write_ask(run, ask, say, overwrite=overwrite)
    if len(facts) == 1:
        return dict(next(iter(facts.values())))
    return {**facts.pop("selection", {"run": str(run.path)}), **facts}


def stage_name(count: int) -> str:
    """The stage of an ask in run.json."""
    return f"selection/ask-{count}"


def check_ask(run: RunFolder, found: Found, count: int, overwrite: bool) -> str:
    """What is to be done about `selection/ask-M`. Raises InputError: another ask in its place, M below 1,
    or nothing left to ask."""
    if count < 1:
        raise InputError(f"--ask {count} asks nothing: give 1 or more")
    step = decide(run, stage_name(count), _identity(found, count), overwrite=overwrite, resumable=False)
    if step != "finished":
        _unmerged(run, found, count)
        if found.answered is not None and (found.answered[found.train] > UNASKED).all():
            raise InputError("every train item has an answer: there is nothing left to ask")
    return step


def write_ask(run: RunFolder, count: int, say: Callable[[str], None], *, overwrite: bool = False) -> dict[str, Any]:
    """Write the `count` items a person should label, the most useful first; facts for `--json`.

    An ask that a person has begun to fill in is never written over without --overwrite.

    Raises InputError: no finished discover; another ask, or an edited one, in its place; nothing left to ask.
    """
    began = time.monotonic()
    found = load_found(run)
    stage, path = stage_name(count), run.ask_csv(count)
    step = check_ask(run, found, count, overwrite)
    facts = {"run": str(run.path), "path": str(path), "ask": count}
    if step == "finished":
        say(f"{path} is there already: nothing to do. Next: fill it in, and {_next(run, count)}")
        record = run.stage(stage)
        return {**facts, "n": record["n"], "settles": record["settles"]}
    before = None if found.answered is None else np.flatnonzero(found.answered > UNASKED)
    check_as_left(run, run.labellings_npy)
    labellings = np.asarray(run.read_npy(run.labellings_npy))
    k = len(found.names)
    asked = ask_items(labellings, found.labels, found.agreement, k, count, train=found.train, answered=before)
    run.remove_stage(stage)
    run.begin_stage(stage, _identity(found, count))
    table = {
        "index": asked.index,
        "filepath": [found.filepaths[i] for i in asked.index],
        "label": "",
        "class_name": "",
        "agreement": found.agreement[asked.index],
        "neighbour_agreement": found.neighbour_agreement[asked.index],
        "rank": np.arange(1, len(asked.index) + 1),
        "reason": _reasons(asked, found),
    }
    run.write_csv(path, table_of(table))
    told: dict[str, Any] = {"n": len(asked.index), "settles": int(asked.settles.sum())}
    facts |= told
    run.finish_stage(stage, [path], time.monotonic() - began, **told)
    run.log(f"finished {stage}: {facts}")
    say(
        f"{len(asked.index)} items to label by hand, which speak for {facts['settles']} of {int(found.train.sum())}; "
        f"written to {path}. Next: write what you see into class_name, one word a class (or the number of a class of "
        f"the run, or -1 for wrong, into label); leave out what you cannot tell; then {_next(run, count)}"
    )
    return facts


def _identity(found: Found, count: int) -> dict[str, object]:
    said = None if found.answered is None else sha256_array(found.answered)
    return {"consensus": found.digest, "names": found.names, "ask": count, "answers": said}


def _unmerged(run: RunFolder, found: Found, count: int) -> None:
    """Raise InputError if an ask to be written over holds answers that are not merged: they are a person's work."""
    if not run.ask_csv(count).is_file():
        return
    try:
        index = list(read_answers(run.ask_csv(count), found.filepaths, found.train, found.labels, found.names))
    except InputError as error:
        raise InputError(f"{error}; or move the file away") from error
    if index and (found.answered is None or (found.answered[index] == UNASKED).any()):
        raise InputError(
            f"{run.ask_csv(count)} holds answers that are not merged yet: {_next(run, count)} first, or move it away"
        )


def _reasons(asked: Asked, found: Found) -> list[str]:
    reasons = []
    for item, settles, prototype, rival in zip(asked.index, asked.settles, asked.prototype, asked.rival, strict=True):
        guess = found.names[found.labels[item]]
        if prototype:
            kind = f"the most typical of {guess}"
        elif rival >= 0:
            kind = f"of a group that may be {guess} or {found.names[rival]}"
        else:
            kind = f"a second look at {guess}"
        reach = f"speaks for {settles} {'item' if settles == 1 else 'items'}"
        reasons.append(f"{kind}; {reach}, {found.agreement[item]:.0%} of searches agree on {guess}")
    return reasons


def _next(run: RunFolder, count: int) -> str:
    return f"hume-ssl select --answers {run.ask_csv(count)}{run_flag(run)}"
