"""`report`: what a run came to, as one HTML page in which a person names the classes and marks what is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hume_ssl.distributed import refuse
from hume_ssl.errors import InputError
from hume_ssl.files import read_json
from hume_ssl.items import Items
from hume_ssl.progress import duration
from hume_ssl.report.confused import confusion
from hume_ssl.report.page import Report, page
from hume_ssl.run import RunFolder
from hume_ssl.stages.answer_file import DEFAULT_NAME
from hume_ssl.stages.report_pictures import cards_of, map_of
from hume_ssl.stages.table import (
    DISCOVER,
    Found,
    load_found,
    read_labels,
    run_flag,
    stored_items,
    stored_roles,
)
from hume_ssl.stages.votes import stored_votes

MAPS = ("pca", "umap")


def report(
    run: RunFolder,
    say: Callable[[str], None],
    *,
    truth: str | None = None,
    layout: str = "pca",
    show: bool = True,
) -> dict[str, Any]:
    """Write report.html; facts for `--json`. It is made anew each time.

    Args:
        truth: as `evaluate` takes it, which is then done first; None: what an `evaluate` of this consensus left.
        layout: of the map, "pca" or "umap".
        show: progress on stderr.

    Raises InputError: no finished discover, an unknown map, umap-learn missing.
    """
    refuse("report")
    began = time.monotonic()
    _check_layout(layout)
    if truth is not None:
        from hume_ssl.stages.evaluate import evaluate

        evaluate(run, truth, say, per_class_curve=True)
    found = load_found(run)
    warnings: list[str] = []
    items = _items(run, warnings)
    votes = stored_votes(run, found)
    selected, selection = _selection(run, found)
    named = {label: name for label, name in enumerate(found.names) if not DEFAULT_NAME.fullmatch(name)}
    k, train = len(found.names), found.train
    shares = confusion(votes.labellings, votes.matching, votes.weights, found.labels, train, k)
    evaluation = _evaluation(run, found, warnings)
    made = Report(
        title=f"hume-ssl report: {run.path.absolute().name}",
        digest=found.digest,
        glance=_glance(run, found, selection),
        warnings=warnings,
        stages=_stages(run),
        spaces=_spaces(run),
        names=found.names,
        named=named,
        cards=cards_of(run, found, votes, items, selected, shares, show=show),
        sizes=np.bincount(found.labels[train], minlength=k).tolist(),
        agreement=found.agreement[train],
        neighbour_agreement=found.neighbour_agreement[train],
        confusion=shares,
        searches=run.read_csv(run.searches_csv),
        select=f"hume-ssl select --per-class {selection or 4} --names classes.csv --overwrite{run_flag(run)}",
        answer=f"hume-ssl select --answers answers.csv{run_flag(run)}",
        evaluation=evaluation,
        trainings=_trainings(run),
        **map_of(run, found, items, layout, show=show),
    )
    html = page(made)
    run.remove_stage("report")
    run.begin_stage("report", {"consensus": found.digest, "layout": layout})
    run.write_text(run.report_html, html)
    run.finish_stage("report", [run.report_html], time.monotonic() - began)
    for words in warnings:
        say(f"warning: {words}")
    size = run.report_html.stat().st_size
    say(f"written to {run.report_html} ({size / 1e6:.1f} MB): open it, name the classes, mark what is wrong")
    tiles = sum(len(card.certain) + len(card.doubtful) for card in made.cards)
    return {"run": str(run.path), "path": str(run.report_html), "bytes": size, "classes": k, "tiles": tiles}


def _check_layout(layout: str) -> None:
    if layout not in MAPS:
        raise InputError(f"--map {layout!r} is no map: give {' or '.join(MAPS)}")
    if layout == "umap":
        from importlib.util import find_spec

        if find_spec("umap") is None:
            raise InputError("--map umap needs umap-learn: pip install 'hume_ssl[umap]', or leave --map out")


def _items(run: RunFolder, warnings: list[str]) -> Items | None:
    """The run's images; None where there are none, or where they are no longer to be had, which is said."""
    try:
        items = stored_items(run)
    except InputError as error:
        warnings.append(f"no pictures: {error}")
        return None
    return items if items.has_images else None


def _selection(run: RunFolder, found: Found) -> tuple[Any, int | None]:
    """Items (m,) of the latest label file, and its number a class; none where there is none of this consensus."""
    latest = run.latest("selection/per-class-", stale=False)
    if latest is None:
        return np.zeros(0, dtype=np.int64), None
    number = int(latest.rpartition("-")[2])
    return read_labels(run.labels_csv(number), found)[0], number


def _evaluation(run: RunFolder, found: Found, warnings: list[str]) -> dict[str, Any]:
    """evaluation.json; {} where there is none. One of another consensus is left out, which is said."""
    record = run.stage("evaluate")
    if record.get("status") != "finished" or not run.evaluation_json.is_file():
        return {}
    if record["identity"].get("consensus") != found.digest:
        warnings.append("evaluation.json is of an older consensus and left out: run hume-ssl evaluate again")
        return {}
    return read_figures(run.evaluation_json)


def read_figures(path: Path) -> dict[str, Any]:
    """The figures of an evaluation. Raises InputError where the file holds none."""
    figures = read_json(path)
    if not isinstance(figures, dict):
        raise InputError(f"{path} is damaged: run hume-ssl evaluate again")
    return figures


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows of a training's figures, each by name. Raises InputError where the file holds something else."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}: train again with --overwrite") from error
    if not all(isinstance(row, dict) and all(_is_figure(value) for value in row.values()) for row in rows):
        raise InputError(f"{path} is damaged: train again with --overwrite")
    return rows


def _is_figure(value: Any) -> bool:
    return value is None or type(value) in (int, float)


def _trainings(run: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """The histories of all finished trainings of this consensus, the latest first."""
    histories = {}
    for stage, record in reversed(run.stages().items()):
        name = stage.partition("/")[2]
        if stage.startswith("train/") and record["status"] == "finished" and "stale" not in record:
            path = run.metrics_jsonl(name)
            if path.is_file():
                histories[name] = read_history(path)
    return histories


def _glance(run: RunFolder, found: Found, selection: int | None) -> list[tuple[str, str]]:
    record, train = run.stage(DISCOVER), found.train
    spent = sum(float(stage.get("seconds", 0.0)) for stage in run.stages().values())
    values = [("items", f"{len(train):,}")]
    if not train.all():
        values.append(("of those test items", f"{int((~train).sum()):,}"))
    values += [("classes", f"{len(found.names):,}"), ("searches", f"{record.get('searches', '?')}")]
    values.append(("mean agreement", f"{found.agreement[train].mean():.3f}"))
    values.append(("reliable items", f"{record.get('reliable_items', 0):,}"))
    if selection is not None:
        values.append(("selected a class", f"{selection:,}"))
    return [*values, ("time in all", duration(spent))]


def _stages(run: RunFolder) -> list[list[str]]:
    rows = []
    for name, record in run.stages().items():
        state = record["status"] + (", stale" if "stale" in record else "")
        took = duration(record["seconds"]) if "seconds" in record else ""
        ended = str(record.get("finished", ""))[:16].replace("T", " ")  # to the minute, UTC
        rows.append([name, state, took, ended])
    return rows


def _spaces(run: RunFolder) -> list[list[str]]:
    """Role, encoder and shape of each space, the shape from the header of its file."""
    rows = []
    for role, record in stored_roles(run).items():
        path = run.spaces / record["file"]
        shape = " x ".join(f"{side:,}" for side in run.read_npy(path).shape) if path.is_file() else "gone"
        rows.append([role, str(record.get("encoder", record.get("source", ""))), shape])
    return rows
