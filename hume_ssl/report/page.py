"""The whole report, from what a run found to one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hume_ssl.report import figures
from hume_ssl.report.document import document, section, table, text
from hume_ssl.report.gallery import Card, gallery


@dataclass(frozen=True)
class Report:
    """What a report is made of: n items, k classes, r searches; shares in [0, 1]."""

    title: str
    digest: str  # of the consensus: names and marks a browser keeps belong to it
    glance: Sequence[tuple[str, str]]  # what the run came to, as (name, value)
    warnings: Sequence[str]
    stages: Sequence[Sequence[str]]  # name, state, time, when
    spaces: Sequence[Sequence[str]]  # role, encoder, shape
    names: Sequence[str]  # (k,)
    named: Mapping[int, str]  # those that a person gave
    cards: Sequence[Card]
    sizes: Sequence[int]  # (k,) of train items
    agreement: NDArray[np.float64]  # of train items
    neighbour_agreement: NDArray[np.float64]  # of train items
    confusion: NDArray[np.float64]  # (k, k)
    searches: pd.DataFrame  # searches.csv
    select: str  # the commands that take what is downloaded here
    answer: str
    evaluation: Mapping[str, Any] = field(default_factory=dict)  # evaluation.json; {} = no truth
    trainings: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)  # name -> metrics.jsonl
    map: Mapping[str, Any] | None = None  # what page.js draws
    map_words: str = ""


def page(report: Report) -> str:
    """The report as one HTML file."""
    parts = {"overview": _overview(report), "classes": _classes(report), "figures": _figures(report)}
    if report.evaluation:
        parts["truth"] = _truth(report)
    if report.trainings:
        charts = "".join(figures.training(name, history) for name, history in report.trainings.items())
        parts["training"] = section("training", "Training", f'<div class="charts">{charts}</div>')
    if report.map is not None:
        words = text(report.map_words) + " Point at an item, or go to the map with the tab key and use the arrow keys. "
        words += "A class's button shows it alone."
        parts["map"] = section("map", "Map", figures.map_part(report.names, report.map_words), words)
    links = "".join(f'<li><a href="#{name}">{name.capitalize()}</a></li>' for name in parts)
    body = (
        f'<header><h1>{text(report.title)}</h1><nav aria-label="Parts"><ul class="top">{links}</ul></nav></header>\n'
        f"<main>{''.join(parts.values())}</main>"
    )
    data: dict[str, object] = {
        "run-data": {
            "digest": report.digest,
            "names": list(report.names),
            "named": {str(k): v for k, v in report.named.items()},
        }
    }
    if report.map is not None:
        data["map-data"] = report.map
    return document(report.title, body, data)


def _overview(report: Report) -> str:
    glance = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in report.glance)
    warnings = "".join(f'<p class="warning">{text(words)}</p>' for words in report.warnings)
    tables = table(["stage", "state", "time", "finished"], report.stages, "stages of the run")
    if report.spaces:
        tables += table(["space", "encoder", "shape"], report.spaces, "spaces of the run")
    return section("overview", "Overview", f'<dl class="glance">{glance}</dl>{warnings}{tables}')


def _classes(report: Report) -> str:
    words = (
        "Each class with the items that searches and neighbours are most sure of, and those they are least sure of. "
        "Give classes names (two with one name become one class); click an item that is in the wrong class; then "
        "download. ★: in the label file."
    )
    return section("classes", "Classes", gallery(report.cards, report.names, report.select, report.answer), words)


def _figures(report: Report) -> str:
    evaluation = report.evaluation
    accuracies = evaluation.get("searches", {}).get("acc")
    charts = figures.class_sizes(report.sizes, report.names)
    charts += figures.agreement(report.agreement, report.neighbour_agreement)
    charts += figures.confusions(report.confusion, report.names)
    charts += figures.searches(report.searches, accuracies, evaluation.get("objective_correlation"))
    return section("figures", "Figures", f'<div class="charts">{charts}</div>', "Of train items, without any truth.")


def _truth(report: Report) -> str:
    rows = figures.measured(report.evaluation)
    values = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in rows)
    charts = f'<div class="charts">{figures.truth(report.evaluation)}</div>'
    words = "Against human labels, classes matched to them as well as can be."
    return section("truth", "Truth", f'<dl class="glance">{values}</dl>{charts}', words)
