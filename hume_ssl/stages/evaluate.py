"""`evaluate`: finished artefacts against the truth. Nothing else in the package ever sees a true label."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.api import evaluate as figures_of
from hume_ssl.calibration import calibration_table
from hume_ssl.consensus import Picked, TooFewReliable, pick
from hume_ssl.discovery import Discovery
from hume_ssl.errors import InputError
from hume_ssl.evaluation import evaluate_consensus, evaluate_history, evaluate_selection
from hume_ssl.files import plain, read_csv
from hume_ssl.item_columns import load_truth
from hume_ssl.report.reliability import reliability_svg
from hume_ssl.run import RunFolder, sha256_file
from hume_ssl.stages.artefacts import stored_searches
from hume_ssl.stages.naming import load_named
from hume_ssl.stages.select import stage_name
from hume_ssl.stages.table import (
    Found,
    every_space,
    read_labels,
    require_discover,
    stored_items,
    tell_if_edited,
    whole_numbers,
)
from hume_ssl.stages.trainings import finished_training

CURVE = (1, 4, 15, 25, 100, 400)


def evaluate(
    run: RunFolder,
    truth_file: str,
    say: Callable[[str], None],
    *,
    per_class: int | None = None,
    name: str | None = None,
    per_class_curve: bool = False,
) -> dict[str, Any]:
    """Compare consensus, selection and training with the truth; write evaluation.json (returned) and a picture.

    Args:
        truth_file: npy in the order of items.csv, or CSV filepath,label; -1 or absent = unknown.
        per_class: which selection; None: the latest, if any.
        name: which training; None: the latest, if any.
        per_class_curve: also the accuracy of reliable items at 1, 4, 15, 25, 100 and 400 a class, and how many classes
            had fewer.

    Raises InputError: no finished discover, a truth of another length, no such selection or training.
    """
    began = time.monotonic()
    found = load_named(run)
    truth, _ = load_truth(truth_file, found.filepaths, stored_items(run).root)
    if not (truth[found.train] >= 0).any():
        raise InputError(f"{truth_file} has no label for any train item: give the truth of at least one")
    selection, picked = _selection(run, found, per_class)
    if selection is not None:
        tell_if_edited(run, selection, say)
    training, predictions = _training(run, name)
    searches = stored_searches(run)
    nothing = np.zeros(len(searches))  # figures need neither votes nor what is reliable
    discovery = Discovery(
        classes=len(found.names),
        train=found.train,
        searches=searches,
        labels=found.labels,
        agreement=found.agreement,
        neighbour_agreement=found.neighbour_agreement,
        reliable=np.zeros(len(found.labels), dtype=bool),
        weights=nothing,
        stability=nothing,
        left_out=[""] * len(searches),
    )
    spaces = every_space(run)
    figures = figures_of(discovery, truth, selection=picked, predictions=predictions, spaces=spaces)
    if selection is not None:
        figures["selection"] = {"path": str(run.labels_csv(selection)), **figures["selection"]}
    if training is not None:
        figures["train"] = {"name": training, **figures["train"]}
        _, mapping = evaluate_consensus(found.labels, truth, found.train, len(found.names))
        index, columns = read_evaluations(run.evaluations_csv(training), len(found.labels))
        figures["train"]["last_evaluations"] = evaluate_history(columns, index, truth, found.train, mapping)
    if per_class_curve:
        figures["per_class_curve"] = _curve(found, truth, spaces)
    identity = {"truth": sha256_file(Path(truth_file).expanduser()), "consensus": found.digest}
    run.begin_stage("evaluate", identity)
    figures = plain(figures)
    run.write_json(run.evaluation_json, figures)
    run.write_text(run.reliability_svg, reliability_svg(figures["calibration"]))
    run.finish_stage("evaluate", [run.evaluation_json, run.reliability_svg], time.monotonic() - began)
    for line in _lines(figures):
        say(line)
    say(f"written to {run.evaluation_json} and {run.reliability_svg}")
    return dict(figures)


def _selection(run: RunFolder, found: Found, per_class: int | None) -> tuple[int | None, Picked | None]:
    latest = run.latest("selection/per-class-", stale=False)
    if per_class is None and latest is None:
        return None, None
    number = per_class if per_class is not None else int(str(latest).rpartition("-")[2])
    _check_fresh(run, stage_name(number), f"hume-ssl select --per-class {number} --overwrite")
    if not run.stage(stage_name(number)) or not run.labels_csv(number).is_file():
        raise InputError(
            f"no selection with {number} a class in {run.path}: run hume-ssl select --per-class {number}{run.flag}"
        )
    index, label = read_labels(run.labels_csv(number), found)
    return number, Picked(index, label, np.arange(len(index)), [""] * len(index))


def _training(run: RunFolder, name: str | None) -> tuple[str | None, Any]:
    if name is None and run.latest("train/", stale=False) is None:
        return None, None
    name = finished_training(run, name, run.predictions_csv)
    return name, read_predictions(run.predictions_csv(name), int(require_discover(run)["items"]))


def read_predictions(path: Path, n: int) -> NDArray[np.int64]:
    """(n,) a training's labels of all items. Raises InputError for what is no such table."""
    table = read_csv(path)
    again = "run train-fixmatch --overwrite"
    if "label" not in table or len(table) != n:
        raise InputError(f"{path} has no column label of {n} rows: {again}")
    return whole_numbers(path, table["label"], 1 << 31, f"a class; {again}, or")


def read_evaluations(path: Path, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(m,) items that a training's last evaluations looked at, and (r, m) what each gave them. Raises likewise."""
    table = read_csv(path)
    if len(table.columns) < 2:
        raise InputError(f"{path} has no evaluations: run train-fixmatch --overwrite")
    index, *columns = (
        whole_numbers(path, table[name], 1 << 31 if i else n, "an item or a class; run train-fixmatch --overwrite, or")
        for i, name in enumerate(table.columns)
    )
    return index, np.stack(columns)


def _check_fresh(run: RunFolder, stage: str, command: str) -> None:
    """Raise InputError if a stage was made from an older consensus: its figures would be of something else."""
    if run.stage(stage).get("stale"):
        raise InputError(
            f"{stage} in {run.path} was made from an older consensus: make it again with {command}{run.flag}"
        )


def _curve(found: Found, truth: Any, spaces: list[Any]) -> dict[str, Any]:
    """Figures of the reliable items at several numbers a class; short classes give what they have."""
    k = len(found.names)
    _, mapping = evaluate_consensus(found.labels, truth, found.train, k)
    shares = (found.agreement, found.neighbour_agreement)
    curve = {}
    for per_class in CURVE:
        try:
            picked = pick(found.labels, *shares, found.train, per_class, k, spaces=spaces, allow_short=True)
        except TooFewReliable:  # not one item is reliable: a figure here, where select has nothing to write
            none = np.zeros(0, dtype=np.int64)
            picked = Picked(none, none, none, [])
        figures = evaluate_selection(picked.label, picked.index, truth, mapping, k)
        short = int(np.count_nonzero(np.bincount(picked.label, minlength=k) < per_class))
        curve[str(per_class)] = {**{key: figures[key] for key in ("n", "correct", "accuracy")}, "short": short}
    return curve


def _lines(figures: dict[str, Any]) -> list[str]:
    """The figures as a person reads them."""

    def share(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.4f}"

    consensus, searches = figures["consensus"], figures["searches"]["acc"]
    lines = [
        f"consensus         accuracy {share(consensus['acc'])}  ARI {share(consensus['ari'])}  "
        f"NMI {share(consensus['nmi'])}"
        + (f"  test accuracy {share(consensus['test_acc'])}" if "test_acc" in consensus else ""),
        f"searches          mean accuracy {share(float(np.mean(searches)))}  "
        f"best generalization score {share(figures['best_search']['acc'])}",
    ]
    if "selection" in figures:
        s = figures["selection"]
        lines.append(f"selection         {s['correct']} of {s['n']} right ({share(s['accuracy'])})  {s['path']}")
    if "train" in figures:
        t = figures["train"]
        test = f"  test accuracy {share(t['test_acc'])}" if "test_acc" in t else ""
        lines.append(f"training          accuracy {share(t['acc'])}{test}  {t['name']}")
        h = t["last_evaluations"]
        over = f"over the last {h['n']} evaluations, on {h['items']} {h['split']} items"
        lines.append(f"                  mean {share(h['mean'])}, standard deviation {share(h['std'])} {over}")
    for name, value in figures.get("baselines", {}).items():
        lines.append(f"{name.replace('_', ' '):17} accuracy {share(value['acc'])}")
    if "objective_correlation" in figures:
        c = figures["objective_correlation"]
        lines.append(f"objective against distance to truth: correlation {c['rho']:.2f} (p {c['p']:.1g})")
    for per_class, row in figures.get("per_class_curve", {}).items():
        short = f"; {row['short']} classes have fewer" if row["short"] else ""
        right = f"{row['correct']} of {row['n']} right ({share(row['accuracy'])})"
        lines.append(f"{per_class:>4} a class      {right}{short}")
    return [*lines, *calibration_table(figures["calibration"])]
