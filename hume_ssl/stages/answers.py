"""`select --answers`: a person's answers kept in the run, the classes named by them, the consensus corrected."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hume_ssl.consensus import (
    apply_answers,
    chosen_spaces,
    name_classes,
    neighbour_agreement,
    reliable_items,
    vote_shares,
)
from hume_ssl.errors import InputError
from hume_ssl.files import csv_bytes, read_csv, table_of
from hume_ssl.run import RunFolder, sha256_file
from hume_ssl.stages.answer_file import DEFAULT_NAME, WRONG, Answer, read_answers
from hume_ssl.stages.artefacts import mark_stale
from hume_ssl.stages.table import (
    ANSWERS,
    DISCOVER,
    UNASKED,
    Found,
    read_names,
    require_discover,
    stored_recipe,
    stored_roles,
    stored_spaces,
)

Ids = NDArray[np.int64]

PENDING = -2  # a name of which is not known yet which class it means


@dataclass(frozen=True)
class Merged:
    """What a file of answers leads to, before anything is written."""

    found: Found  # the corrected consensus
    consensus: pd.DataFrame  # consensus.csv
    answers: pd.DataFrame  # answers.csv
    base: Path  # the consensus as the searches left it
    base_digest: str
    named: dict[str, int]  # names given now
    facts: dict[str, Any]
    ignored: list[str]  # names that were not given, and why
    numbers: list[bool]  # of each answer of this file that is a number alone, whether it is against the consensus


def merge_answers(run: RunFolder, path: Path, names: list[str] | None = None) -> Merged:
    """Read answers, add them to those of the run, and derive the corrected consensus; nothing is written.

    The correction starts from the consensus that the searches voted and takes all answers together, so that it hangs
    neither on the order of the files nor on how often one is given. `names` (k,) are those that the classes are about
    to get; None: those they have. Raises InputError for what cannot be.
    """
    record = run.stage(DISCOVER)
    base, digest = _base(run, record)
    table = run.read_csv(base)
    train = (table["split"] == "train").to_numpy(dtype=bool)
    labels = table["label"].to_numpy(dtype=np.int64)
    agreement = table["agreement"].to_numpy(dtype=np.float64)
    k, filepaths = int(record["classes"]), table["filepath"].tolist()
    names = names or read_names(run, k)
    about = _about(record)
    answers: dict[int, Answer] = {}
    if run.answers_csv.is_file():
        before = run.stage(ANSWERS).get("identity", {}).get("items", about)
        if before != about:
            raise InputError(f"{run.answers_csv} has answers about other items: move it out of {run.path}")
        answers |= read_answers(run.answers_csv, filepaths, train, labels, names, stored=True)
    own = path.exists() and run.answers_csv.exists() and path.samefile(run.answers_csv)
    new = {} if own else read_answers(path, filepaths, train, labels, names)
    if not own and not new:
        raise InputError(f"{path} has no answers: fill in label or class_name in some of its rows")
    answers |= new
    index = np.array(sorted(answers), dtype=np.int64)
    for voted in (run.labellings_npy, run.searches_csv):
        run.unaltered(voted)
    labellings, searches = np.asarray(run.read_npy(run.labellings_npy)), run.read_csv(run.searches_csv)
    # Runs from before votes had weights counted them alike.
    weights = searches["weight"].to_numpy(dtype=np.float64) if "weight" in searches else None
    votes = vote_shares(labellings, labels, index, k, weights=weights, train=train)
    given, ignored = _named(answers, index, labels, votes, names)
    renamed = list(names)
    for name, label in given.items():
        renamed[label] = name
    said = _said(answers, index, given)
    clear = said >= 0
    corrected = apply_answers(labellings, labels, agreement, index[clear], said[clear], k, weights=weights, train=train)
    nearby = _nearby(run, corrected.labels, train)
    reliable = reliable_items(corrected.agreement, nearby)
    reliable[index] = clear
    table = table.assign(
        label=corrected.labels, agreement=corrected.agreement, neighbour_agreement=nearby, reliable=reliable
    )
    kept = table_of(
        {
            "index": index,
            "filepath": [filepaths[i] for i in index],
            "label": ["" if label == PENDING else str(label) for label in said],
            "class_name": [
                answers[int(i)].name if label == PENDING else "" if label == WRONG else renamed[label]
                for i, label in zip(index, said, strict=True)
            ],
        }
    )
    everyone = np.full(len(labels), UNASKED, dtype=np.int64)
    everyone[index] = np.where(clear, said, WRONG)
    found = Found(
        filepaths=filepaths,
        train=train,
        labels=corrected.labels,
        agreement=corrected.agreement,
        neighbour_agreement=nearby,
        names=renamed,
        digest=_digest(table),
        answered=everyone,
    )
    sizes = np.bincount(corrected.labels[train], minlength=k)
    facts = {
        "answers": len(index),
        "new_answers": len(new),
        "wrong": int((said == WRONG).sum()),
        "unnamed": sorted({answers[int(i)].name for i in index[said == PENDING]}),
        "named": given,
        "corrected_items": int(np.count_nonzero(corrected.labels != labels)),
        "class_sizes": sizes.tolist(),
        "mean_agreement": round(float(corrected.agreement[train].mean()), 6),
        "reliable_items": int(np.count_nonzero(reliable & train)),
    }
    bare = {i: answer.label for i, answer in new.items() if not answer.name and answer.label != WRONG}
    numbers = [bool(labels[i] != label) for i, label in bare.items()]
    return Merged(found, table, kept, base, digest, given, facts, ignored, numbers)


def write_answers(run: RunFolder, merged: Merged, say: Callable[[str], None]) -> dict[str, Any]:
    """Write what was merged; facts for `--json`. Killed between two writes, the same command mends the run."""
    began = time.monotonic()
    identity = {"consensus": merged.found.digest, "items": _about(run.stage(DISCOVER))}
    identity["answers"] = _digest(merged.answers)
    before = run.stage(ANSWERS)
    facts = {"run": str(run.path), "path": str(run.answers_csv), **merged.facts}
    same = before.get("status") == "finished" and before["identity"] == identity and "stale" not in before
    there = run.consensus_csv.is_file() and sha256_file(run.consensus_csv) == merged.found.digest
    if same and there and not run.changed(ANSWERS) and not merged.named:
        say(f"the {merged.facts['answers']} answers are in {run.answers_csv} already: nothing to do")
        return {**facts, "stale": []}
    run.begin_stage(ANSWERS, identity)
    run.write_csv(run.answers_csv, merged.answers)
    if merged.named:
        names = merged.found.names
        run.write_csv(run.classes_csv, table_of({"class": range(len(names)), "name": names}))
    if merged.base != run.searches_consensus_csv:
        run.write_bytes(run.searches_consensus_csv, merged.base.read_bytes())
    _record(run, {run.searches_consensus_csv.name: merged.base_digest}, {})
    run.write_csv(run.consensus_csv, merged.consensus)
    told = ("mean_agreement", "reliable_items")
    changed = {key: merged.facts[key] for key in told}
    changed["class_sizes"] = sorted(merged.facts["class_sizes"], reverse=True)
    _record(run, {run.consensus_csv.name: merged.found.digest}, changed)
    run.finish_stage(ANSWERS, [run.answers_csv], time.monotonic() - began, **merged.facts)
    stale = mark_stale(run)
    run.log(f"finished answers: {merged.facts}")
    for line in _lines(run, merged, stale):
        say(line)
    return {**facts, "stale": stale}


def answers_kept(run: RunFolder) -> str | None:
    """What `discover` says of the answers in its run folder: they are a person's work, kept and not yet applied."""
    if not run.answers_csv.is_file():
        return None
    count = len(read_csv(run.answers_csv))
    if run.stage(ANSWERS).get("identity", {}).get("items") != _about(run.stage(DISCOVER)):
        return f"{run.answers_csv} has {count} answers about other items: kept, and of no use here; move it away"
    flag = run.flag
    return f"{run.answers_csv} has {count} answers: apply them with hume-ssl select --answers {run.answers_csv}{flag}"


def _base(run: RunFolder, record: dict[str, Any]) -> tuple[Path, str]:
    """The consensus as the searches left it, and its sha256: kept aside once answers have corrected consensus.csv."""
    digest = record.get("artefacts", {}).get(run.searches_consensus_csv.name)
    aside = run.searches_consensus_csv
    if record.get("status") == "finished" and digest and aside.is_file() and sha256_file(aside) == digest:
        return aside, digest
    record = require_discover(run)
    return run.consensus_csv, record["artefacts"][run.consensus_csv.name]


def _about(record: dict[str, Any]) -> list[Any]:
    """Which items a run is about, as far as its record tells."""
    return [record.get("identity", {}).get("data.images"), record.get("items")]


def _nearby(run: RunFolder, labels: Ids, train: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) neighbour agreement of labels (n,), in the spaces that `discover` took."""
    config, (labeller, judges) = stored_recipe(run).consensus, stored_spaces(run)
    own = labeller if "labeller" in stored_roles(run) else None  # without one a judge stands for it
    return neighbour_agreement(chosen_spaces(config.neighbour_space, own, judges), labels, train, config.neighbours)


def _named(
    answers: dict[int, Answer], index: Ids, labels: Ids, votes: NDArray[np.float64], names: list[str]
) -> tuple[dict[str, int], list[str]]:
    """Names that answers give to classes with a default name, and what was said in vain."""
    given: dict[str, int] = {}
    ignored: list[str] = []
    for item in index:
        answer = answers[int(item)]
        if answer.name and answer.label is not None and answer.label >= 0 and answer.name not in names:
            taken = next((name for name, label in given.items() if label == answer.label), answer.name)
            if given.get(answer.name, answer.label) != answer.label:
                raise InputError(
                    f"classes {given[answer.name]} and {answer.label} are both called {answer.name!r} in the answers: "
                    "correct one of them"
                )
            if taken != answer.name:
                raise InputError(
                    f"class {answer.label} is called {taken!r} and {answer.name!r} in the answers: correct one of them"
                )
            if DEFAULT_NAME.fullmatch(names[answer.label]):
                given[answer.name] = answer.label
            else:
                ignored.append(f"class {answer.label} keeps its name {names[answer.label]}, not {answer.name}")
    free = np.array([bool(DEFAULT_NAME.fullmatch(name)) for name in names])
    free[list(given.values())] = False
    unclear = [answers[int(i)].name if answers[int(i)].label is None else "" for i in index]
    unclear = ["" if name in given else name for name in unclear]
    return given | name_classes(unclear, labels[index], votes, free), sorted(set(ignored))


def _said(answers: dict[int, Answer], index: Ids, given: dict[str, int]) -> Ids:
    """(m,) the class each answer means; WRONG; PENDING."""
    means = [answers[int(i)] for i in index]
    return np.array([given.get(a.name, PENDING) if a.label is None else a.label for a in means], dtype=np.int64)


def _digest(table: pd.DataFrame) -> str:
    """sha256 of the bytes that `write_csv` makes of a table."""
    return hashlib.sha256(csv_bytes(table)).hexdigest()


def _record(run: RunFolder, hashes: dict[str, str], facts: dict[str, Any]) -> None:
    def change(record: dict[str, Any]) -> None:
        stage = record["stages"][DISCOVER]
        stage["artefacts"].update(hashes)
        stage.update(facts)

    run.update(change)


def _lines(run: RunFolder, merged: Merged, stale: list[str]) -> list[str]:
    facts, names = merged.facts, merged.found.names
    lines = [
        f"{facts['answers']} answers in {run.answers_csv} ({facts['new_answers']} in this file); "
        f"{facts['corrected_items']} items have another class now than the searches voted"
    ]
    if merged.named:
        lines.append("named: " + ", ".join(f"class {label} {name}" for name, label in sorted(merged.named.items())))
    lines += merged.ignored
    opposed = sum(merged.numbers)
    if opposed >= 3 and opposed > len(merged.numbers) / 2:
        lines.append(
            f"warning: {opposed} of {len(merged.numbers)} numbers in label are against the consensus: if they are what "
            "you saw, and not classes of the run, give them again in class_name"
        )
    if facts["unnamed"]:
        lines.append(f"no class yet for {', '.join(facts['unnamed'])}: more answers will tell; ask with --ask")
    sizes = facts["class_sizes"]
    lines.append("train items: " + ", ".join(f"{name} {size}" for name, size in zip(names, sizes, strict=True)))
    if stale:
        lines.append(f"now stale, made from the old consensus: {', '.join(stale)}")
    lines.append(f"{facts['reliable_items']} items are reliable. Next: hume-ssl select --per-class 4{run.flag}")
    return lines
