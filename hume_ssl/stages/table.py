"""What finished stages left in the run folder, read back and checked: the consensus, the labels, the items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hume_ssl.broken import Broken, leave_out_listed
from hume_ssl.config import DiscoverRecipe, load_recipe
from hume_ssl.errors import InputError
from hume_ssl.files import read_csv, table_of
from hume_ssl.harmless import is_formula
from hume_ssl.items import Items, bare_items, load_items
from hume_ssl.run import RunFolder, sha256_file
from hume_ssl.spaces.loading import load_space

DISCOVER, CLASS_COUNT, ANSWERS = "discover", "class-count", "answers"
UNASKED = -2  # of an item about which no person was asked


@dataclass(frozen=True)
class Found:
    """The consensus of a run, as consensus.csv and classes.csv have it; n items, k classes."""

    filepaths: list[str]  # (n,)
    train: NDArray[np.bool_]  # (n,)
    labels: NDArray[np.int64]  # (n,)
    agreement: NDArray[np.float64]  # (n,)
    neighbour_agreement: NDArray[np.float64]  # (n,)
    names: list[str]  # (k,)
    digest: str  # sha256 of consensus.csv
    answered: NDArray[np.int64] | None = None  # (n,) class a person gave; -1 = not its class, -2 = not asked


def require_discover(run: RunFolder) -> dict[str, Any]:
    """The record of the finished discover. Raises InputError if there is none, or its consensus was changed."""
    record = run.stage(DISCOVER)
    if not record:
        raise InputError(f"no run in {run.path}: run hume-ssl discover{run.flag} first, or name another with --run")
    if record["status"] != "finished":
        raise InputError(f"discover in {run.path} is unfinished: run hume-ssl discover --resume{run.flag} first")
    if not record.get("classes") or not record.get("items"):
        raise InputError(
            f"{run.run_json} is damaged: of discover it says no number of classes and items: put a whole one back"
        )
    if not run.unaltered(run.consensus_csv).is_file():
        raise InputError(f"{run.consensus_csv} is gone: make it again with {run.made_again(DISCOVER, record)}")
    return record


def load_found(run: RunFolder) -> Found:
    """The consensus of a finished discover. Raises InputError if there is none, or a file is not as it should be."""
    record = require_discover(run)
    table = run.read_csv(run.consensus_csv)
    names = read_names(run, int(record["classes"]))
    return Found(
        filepaths=table["filepath"].tolist(),
        train=(table["split"] == "train").to_numpy(dtype=bool),
        labels=table["label"].to_numpy(dtype=np.int64),
        agreement=table["agreement"].to_numpy(dtype=np.float64),
        neighbour_agreement=table["neighbour_agreement"].to_numpy(dtype=np.float64),
        names=names,
        digest=(digest := sha256_file(run.consensus_csv)),
        answered=_answered(run, len(table), digest),
    )


def _answered(run: RunFolder, n: int, digest: str) -> NDArray[np.int64] | None:
    """(n,) what a person said of each item; None unless the present consensus was made with all those answers."""
    record = run.stage(ANSWERS)
    if record.get("status") != "finished" or record["identity"]["consensus"] != digest or run.changed(ANSWERS):
        return None
    table = run.read_csv(run.answers_csv)
    said = np.full(n, UNASKED, dtype=np.int64)
    said[table["index"].to_numpy(dtype=np.int64)] = table["label"].fillna(-1).to_numpy(dtype=np.int64)
    return said


def read_names(run: RunFolder, k: int) -> list[str]:
    """(k,) class names from classes.csv. Raises InputError if a class is missing there or has no name."""
    table = run.read_csv(run.classes_csv)
    missing = {"class", "name"} - set(table.columns)
    if missing:
        raise InputError(f"{run.classes_csv} has no column {sorted(missing)[0]!r}: its columns are class,name")
    names = {str(label): str(name).strip() for label, name in zip(table["class"], table["name"], strict=True)}
    for label in range(k):
        if not names.get(str(label)):
            raise InputError(f"{run.classes_csv} has no name for class {label}: give every class 0 to {k - 1} one")
        if is_formula(names[str(label)]):
            raise InputError(
                f"{run.classes_csv}: the name {names[str(label)]!r} of class {label} is a formula to a spreadsheet: "
                "let it begin otherwise"
            )
    return [names[str(label)] for label in range(k)]


def first_of_name(names: list[str]) -> NDArray[np.int64]:
    """(k,) for each class the first that has its name, which is itself where names differ."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(name, label) for label, name in enumerate(names)], dtype=np.int64)


def stored_recipe(run: RunFolder) -> DiscoverRecipe:
    """The resolved recipe of the run."""
    return load_recipe(str(run.unaltered(run.recipe_toml).absolute()), "discover")


def stored_spaces(run: RunFolder) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """The labeller and the judges of the run, memory-mapped; alone, the labeller is the judge too.

    Without a labeller (TURTLE) the first judge stands for it, being one of the judges as well. Raises InputError if
    they are gone.
    """
    if not run.spaces_json.is_file():
        raise InputError(f"{run.spaces_json} is gone: put spaces/ back, or run discover --overwrite{run.flag}")
    roles = stored_roles(run)
    names, spaces = list(roles), [load_space(run.unaltered(run.spaces / record["file"])) for record in roles.values()]
    again = f"put spaces/ back, or run discover --overwrite{run.flag}"
    if not spaces:
        raise InputError(f"{run.spaces_json} names no space: {again}")
    items = run.stage(DISCOVER).get("items") or len(spaces[0])
    for record, space in zip(roles.values(), spaces, strict=True):
        if len(space) != items:
            raise InputError(f"{run.spaces / record['file']} has {len(space)} rows for {items} items: {again}")
    return spaces[0], spaces[1 if names[0] == "labeller" else 0 :] or spaces


def stored_roles(run: RunFolder) -> dict[str, dict[str, Any]]:
    """The records of spaces.json that serve a discover: labeller, judge, judge-2 ...; {} where there are none."""
    if not run.spaces_json.is_file():
        return {}
    known = run.read_json(run.spaces_json)
    roles = {name: record for name, record in known.items() if name == "labeller" or name.partition("-")[0] == "judge"}
    for name, record in roles.items():
        file = record.get("file") if isinstance(record, dict) else None
        if not isinstance(file, str) or Path(file).name != file:
            raise InputError(f"{run.spaces_json}: the {name} is in {file!r}, which is no file beside it: correct that")
    return roles


def every_space(run: RunFolder) -> list[NDArray[Any]]:
    """The labeller, if there is one, and the judges of the run, each once, memory-mapped."""
    labeller, judges = stored_spaces(run)
    return [labeller, *(judge for judge in judges if judge is not labeller)]


def stored_items(run: RunFolder) -> Items:
    """The items of the run, from where its recipe has them. Raises InputError if they are no longer the same."""
    record, recipe = require_discover(run), stored_recipe(run)
    if recipe.data.images is None:
        return bare_items(int(record["items"]))
    items, wanted = load_items(recipe.data.images, root=recipe.data.root), record["identity"]["data.images"]
    if items.hash != wanted and run.broken_csv.is_file():  # all of them are there, the broken ones too
        table = run.read_csv(run.broken_csv)
        items = leave_out_listed(items, table["filepath"].tolist(), table["position"].tolist())
    if items.hash != wanted:
        raise InputError(
            f"the images {recipe.data.images} are not those of {run.path} any more: put them back, or run discover "
            "on them in another folder with --run"
        )
    return items


def write_broken(run: RunFolder, broken: Sequence[Broken]) -> None:
    """broken.csv: the images that were left out."""
    columns = {name: [getattr(one, name) for one in broken] for name in ("filepath", "reason", "position")}
    run.write_csv(run.broken_csv, table_of(columns))


def note_broken(run: RunFolder, broken: Sequence[Broken], items: Items) -> None:
    """broken.csv, unless it is that of a discover of other images, which needs it to know its own."""
    if run.stage(DISCOVER).get("identity", {}).get("data.images", items.hash) == items.hash:
        write_broken(run, broken)


def pretrained_encoders(run: RunFolder) -> dict[str, str]:
    """The encoders of finished pretrainings, by the hash of the items they were trained on; of several the last.

    One for which all images look alike is none.
    """
    found = {}
    for name, record in run.stages().items():
        if name.startswith("pretrain/") and record["status"] == "finished":
            if record.get("figures", {}).get("collapsed"):
                continue
            path = run.pretrain_encoder(name.partition("/")[2]).absolute()
            if path.is_file():
                network = record["identity"]["pretrain.network"]
                found[str(record["identity"]["data.images"])] = f"pretrained:{network}@{path}"
    return found


def read_labels(path: Path, found: Found) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Items (m,) and their classes (m,) from a label file. Raises InputError, naming the row, for what cannot be.

    Of classes with one name the first is meant, whenever they got it: see `hume_ssl.stages.naming`.
    """
    table = read_csv(path)
    missing = {"index", "label"} - set(table.columns)
    if missing:
        raise InputError(f"{path} has no column {sorted(missing)[0]!r}: make it again with select --overwrite")
    if table.empty:
        raise InputError(f"{path} has no rows: make it again with select --overwrite")
    n, k = len(found.labels), len(found.names)
    index = whole_numbers(path, table["index"], n, f"an item from 0 to {n - 1}")
    label = whole_numbers(path, table["label"], k, f"a class from 0 to {k - 1}")
    label = first_of_name(found.names)[label]
    doubled = pd.Series(index).duplicated().to_numpy()
    if doubled.any():
        raise InputError(f"{path} row {int(doubled.argmax()) + 1}: item {index[doubled][0]} stands twice: keep one row")
    outside = ~found.train[index]
    if outside.any():
        raise InputError(
            f"{path} row {int(outside.argmax()) + 1}: item {index[outside][0]} is a test item: label train items only"
        )
    return index, label


def tell_if_edited(run: RunFolder, per_class: int, say: Callable[[str], None]) -> None:
    """Warn of a label file that is not as `select` left it: a person may have corrected it, so it is taken as it is."""
    if run.changed(f"selection/per-class-{per_class}"):
        say(f"warning: {run.labels_csv(per_class)} is not as select left it, and taken as it is")


def whole_numbers(path: Path, column: pd.Series[Any], limit: int, what: str) -> NDArray[np.int64]:
    """(m,) a column of whole numbers from 0 to below a limit. Raises InputError, naming the row, for any other cell."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    bad = ~(np.isfinite(numbers) & (numbers == np.rint(numbers)) & (numbers >= 0) & (numbers < limit))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{path} row {row + 1}: {column.name} {column.iloc[row]} is not {what}: correct that row")
    return numbers.astype(np.int64)
