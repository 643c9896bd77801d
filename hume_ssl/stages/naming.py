"""Names that a person gives the classes, and what two classes of one name mean: they are one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hume_ssl.consensus import chosen_spaces, neighbour_agreement, vote_share
from hume_ssl.errors import InputError
from hume_ssl.files import read_csv, table_of
from hume_ssl.harmless import is_formula
from hume_ssl.run import RunFolder
from hume_ssl.stages.table import (
    DISCOVER,
    Found,
    first_of_name,
    load_found,
    read_names,
    require_discover,
    stored_recipe,
    stored_roles,
    stored_spaces,
)
from hume_ssl.stages.votes import stored_votes

LONGEST = 200  # signs of a name: a folder may have to bear it


def load_named(run: RunFolder, *, names: list[str] | None = None, nearby: bool = False) -> Found:
    """The consensus of a finished run in which classes of one name are one: see `merge_named`."""
    found = load_found(run)
    return merge_named(run, found if names is None else replace(found, names=names), nearby=nearby)


def merge_named(run: RunFolder, found: Found, *, nearby: bool = False) -> Found:
    """A consensus in which all classes of one name are the first of them; ids stay, and the others are empty.

    The votes for any of them count for all, so agreement grows. Neighbours are looked up again only with `nearby`, as
    among many items that takes a while; without, neighbour agreement is that of before, which is never more.

    Consensus.csv stays as it is: give a class another name, and it is one of its own again.
    """
    first = first_of_name(found.names)
    if (first == np.arange(len(first))).all():
        return found
    labels = first[found.labels]
    votes = stored_votes(run, found)
    share = vote_share(votes.labellings, first[votes.matching], votes.weights, labels)
    merged = np.bincount(first, minlength=len(first))[labels] > 1  # of others nothing changes
    agreement = np.where(merged, np.maximum(found.agreement, share), found.agreement)
    near = found.neighbour_agreement
    if nearby:
        config, (labeller, judges) = stored_recipe(run).consensus, stored_spaces(run)
        own = labeller if "labeller" in stored_roles(run) else None  # without one a judge stands for it
        spaces = chosen_spaces(config.neighbour_space, own, judges)
        near = neighbour_agreement(spaces, labels, found.train, config.neighbours)
    answered = found.answered
    if answered is not None:
        answered = np.where(answered >= 0, first[np.maximum(answered, 0)], answered)
    return replace(found, labels=labels, agreement=agreement, neighbour_agreement=near, answered=answered)


def present_names(run: RunFolder) -> list[str]:
    """(k,) names of the classes of a discover. Raises InputError where there is none."""
    record = run.stage(DISCOVER)
    return read_names(run, int((record if "classes" in record else require_discover(run))["classes"]))


def read_given_names(path: Path, present: list[str]) -> list[str]:
    """(k,) names from a file with columns class and name, as the report's classes.csv; classes it leaves out, or gives
    no name, keep their present one.

    Raises InputError, naming the row, for a class that is none, one that stands twice, or a name that cannot be one.
    """
    table = read_csv(path, ("class",))
    if missing := {"class", "name"} - set(table.columns):
        raise InputError(f"{path} has no column {sorted(missing)[0]!r}: its columns are class,name")
    names = list(present)
    rows: dict[int, int] = {}
    for row, (label, name) in enumerate(zip(table["class"], table["name"], strict=True), start=1):
        text = label.removesuffix(".0")
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) >= len(present):
            raise InputError(f"{path} row {row}: {label} is no class from 0 to {len(present) - 1}: correct that row")
        if int(text) in rows:
            raise InputError(f"{path} row {row}: class {text} stands in row {rows[int(text)]} too: keep one of them")
        rows[int(text)] = row
        name = " ".join(name.split())
        if len(name) > LONGEST:
            raise InputError(f"{path} row {row}: the name has {len(name)} signs: give at most {LONGEST}")
        if unreadable := next((sign for sign in name if sign < " " or "\ud800" <= sign <= "\udfff"), None):
            raise InputError(f"{path} row {row}: {name!r} has the sign {unreadable!r}: save the file as CSV in UTF-8")
        if is_formula(name):
            raise InputError(f"{path} row {row}: {name!r} is a formula to a spreadsheet: let the name begin otherwise")
        names[int(text)] = name or names[int(text)]
    return names


def name_by_file(run: RunFolder, path: Path, say: Callable[[str], None]) -> None:
    """Give the classes the names in a file. Raises InputError, before anything is written, for what cannot be."""
    present = present_names(run)
    take_names(run, read_given_names(path, present), present, say)


def take_names(run: RunFolder, names: list[str], before: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Write classes.csv with these names (k,) in the place of those of before; facts for `--json`."""
    first = first_of_name(names)
    together = [np.flatnonzero(first == label).tolist() for label in np.unique(first)]
    together = [labels for labels in together if len(labels) > 1]
    changed = {label: name for label, (name, old) in enumerate(zip(names, before, strict=True)) if name != old}
    if changed:
        run.write_csv(run.classes_csv, table_of({"class": range(len(names)), "name": names}))
        run.log(f"named: {changed}")
    say("named: " + ", ".join(f"class {label} {name}" for label, name in changed.items()) if changed else "no new name")
    for labels in together:
        say(f"classes {' and '.join(map(str, labels))} are one: {names[labels[0]]}")
    return {
        "run": str(run.path),
        "path": str(run.classes_csv),
        "names": names,
        "renamed": len(changed),
        "merged": together,
    }
