"""The report's charts: class sizes, agreement, confusions, searches, accuracy where truth is known, trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hume_ssl.calibration import WITNESSES, agreement_bins
from hume_ssl.report import charts
from hume_ssl.report.confused import confused_pairs
from hume_ssl.report.document import figure, table, text
from hume_ssl.report.gallery import colour

Shares = NDArray[np.float64]

BARS_UP_TO, HEAT_UP_TO, PAIRS = 60, 40, 40
SHORT = ("≤ 0.5", "≤ 0.6", "≤ 0.7", "≤ 0.8", "≤ 0.9", "< 1", "1")  # names of the bins of agreement
POINTS = 1500  # searches, or steps of a training, drawn at most


def class_sizes(sizes: Sequence[int], names: Sequence[str]) -> str:
    """Train items of each class: bars, or of many classes their sizes in falling order."""
    k = len(sizes)
    if k <= BARS_UP_TO:
        named = enumerate(zip(names, sizes, strict=True))
        rows = [(name, size, colour(label, k), f"{size:,}") for label, (name, size) in named]
        return figure(charts.bars(rows, "train items of each class"), "Class sizes", "in train items.")
    falling = sorted(sizes, reverse=True)
    points = list(enumerate(map(float, falling), 1))
    line = charts.lines({"size": points}, "classes, largest first", "train items", "class sizes")
    return figure(line, "Class sizes", f"from {falling[0]:,} to {falling[-1]:,} train items.")


def agreement(shares: Shares, neighbour_shares: Shares) -> str:
    """How many train items lie in each bin of agreement, by searches and by neighbours."""
    made = ""
    for values, title, words in (
        (shares, "Agreement of the searches", "Share of the votes for an item's class."),
        (neighbour_shares, "Agreement of the neighbours", "Share of an item's nearest items that have its class."),
    ):
        bins = [(name, row["n"]) for name, row in zip(SHORT, agreement_bins(values), strict=True)]
        made += figure(charts.histogram(bins, "share who agree", title), title, words)
    return made


def confusions(shares: Shares, names: Sequence[str]) -> str:
    """Which classes the searches take for one another: a square of all, or of many classes the most confused pairs."""
    k = len(names)
    if k <= HEAT_UP_TO:
        largest = float((shares * (1 - np.eye(k))).max())
        square = charts.heat(shares.tolist(), names, "confusions of classes by the searches")
        words = f"In a row: where the votes on items of that class go beside it; the deepest colour is {largest:.1%}."
        return figure(square, "Confused classes", words)
    rows = [[names[a], names[b], f"{share:.1%}"] for a, b, share in confused_pairs(shares, PAIRS)]
    pairs = table(["class", "taken for", "of its votes"], rows, "the most confused pairs of classes")
    return figure(pairs, "Confused classes", f"The {len(rows)} pairs that the searches mix up most.")


def searches(found: pd.DataFrame, accuracies: Sequence[float] | None, correlation: Mapping[str, float] | None) -> str:
    """Objective against generalization score of all searches; and against accuracy, where truth is known.

    Args:
        found: searches.csv.
        accuracies: (r,) of evaluation.json; None: no truth, or of other searches.
        correlation: {"rho", "p"} of objective and 1 - accuracy.
    """
    rows = found.iloc[:: max(1, len(found) // POINTS)]
    votes = rows["weight"].gt(0).tolist() if "weight" in rows else [True] * len(rows)
    reasons = rows["left_out"].tolist() if "left_out" in rows else [""] * len(rows)
    names = [f"search {seed}" + (f" ({why})" if why else "") for seed, why in zip(rows["seed"], reasons, strict=True)]
    objective = rows["objective"].tolist()

    def against(values: Sequence[float], name: str) -> str:
        points = [
            (float(x), float(y), f"{who}: objective {x:.4g}, {name} {y:.4f}", heard)
            for x, y, who, heard in zip(objective, values, names, votes, strict=True)
            if np.isfinite(x) and np.isfinite(y)
        ]
        return charts.scatter(points, "objective", name, f"objective and {name} of the searches")

    words = "Each point is one; further left and up is better. Hollow: without a vote."
    made = figure(against(rows["generalization_score"].tolist(), "generalization score"), "Searches", words)
    if accuracies is not None and len(accuracies) == len(found):
        words = "The objective knows no truth; it is of use where accuracy falls as it grows (HUME, figure 2)."
        if correlation:
            words += f" Correlation of objective and error: {correlation['rho']:.2f} (p = {correlation['p']:.2g})."
        made += figure(
            against(list(accuracies)[:: max(1, len(found) // POINTS)], "accuracy"), "Objective and truth", words
        )
    return made


def truth(evaluation: Mapping[str, Any]) -> str:
    """How right the reliable items are at N a class, and what each share of agreement is worth."""
    made = ""
    curve = {n: row for n, row in evaluation.get("per_class_curve", {}).items() if row["accuracy"] is not None}
    if len(curve) > 1:
        points = [(float(np.log10(float(n))), float(row["accuracy"])) for n, row in curve.items()]
        span = (min(0.9, *(y for _, y in points)), 1.0)
        ticks = [(x, n) for (x, _), n in zip(points, curve, strict=True)]
        chart = charts.lines(
            {"right": points},
            "reliable items a class",
            "share that is right",
            "accuracy of reliable items",
            y_range=span,
            dots=True,
            x_ticks=ticks,
        )
        rows = [[n, f"{row['correct']:,} of {row['n']:,}", f"{row['accuracy']:.4f}"] for n, row in curve.items()]
        chart += table(["a class", "right", "share"], rows, "accuracy of reliable items")
        made += figure(chart, "Reliable items", "The N most certain of each class, against the truth.")
    calibration = evaluation.get("calibration")
    if calibration:
        series = {
            WITNESSES[name]: [(row["mean_agreement"], row["accuracy"]) for row in figures["bins"] if row["right"]]
            for name, figures in calibration.items()
        }
        chart = charts.lines(
            series,
            "mean share who agree",
            "share that is right",
            "agreement and accuracy",
            y_range=(0.0, 1.0),
            dots=True,
        )
        made += figure(chart, "What agreement is worth", "Right items in each bin of agreement.")
    return made


def measured(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Figures against the truth, as (name, value)."""

    def of(part: str, key: str = "acc") -> Any:
        return evaluation.get(part, {}).get(key)

    rows = [
        ("consensus accuracy", of("consensus")),
        ("consensus, test items", of("consensus", "test_acc")),
        ("ARI", of("consensus", "ari")),
        ("NMI", of("consensus", "nmi")),
        ("best search", of("best_search")),
        ("selection", of("selection", "accuracy")),
        ("trained network", of("train")),
        ("trained, test items", of("train", "test_acc")),
    ]
    for name, value in evaluation.get("baselines", {}).items():
        rows.append((f"beside it: {name.replace('_', ' ')}", value.get("acc")))
    return [(name, f"{value:.4f}") for name, value in rows if value is not None]


def training(name: str, history: Sequence[Mapping[str, Any]]) -> str:
    """Losses, and shares that say how it goes, over the steps of one training."""
    rows = history[:: max(1, len(history) // POINTS)]

    def series(keys: Mapping[str, str]) -> dict[str, list[tuple[float, float]]]:
        made = {
            words: [(float(row["step"]), float(row[key])) for row in rows if isinstance(row.get(key), int | float)]
            for key, words in keys.items()
        }
        return {words: points for words, points in made.items() if len(points) > 1}

    losses = series({"labelled_loss": "labelled", "unlabelled_loss": "unlabelled", "loss": "in all"})
    shares = series(
        {
            "mask_rate": "learned from",
            "pseudo_agreement": "pseudo-labels as the consensus",
            "consensus_agreement": "predictions as the consensus",
        }
    )
    made = ""
    if losses:
        made += figure(charts.lines(losses, "step", "loss", f"losses of {name}"), f"{name}: losses")
    if shares:
        chart = charts.lines(shares, "step", "share", f"shares of {name}", y_range=(0.0, 1.0))
        made += figure(chart, f"{name}: unlabelled items", "How many it learns from, and whether they agree.")
    return made


def map_part(names: Sequence[str], words: str) -> str:
    """The map's canvas, and a button for each class that shows it alone."""
    k = len(names)
    keys = "".join(
        f'<button type="button" aria-pressed="false" style="--class:{colour(label, k)}" data-shows="{label}">'
        f"{text(name)}</button>"
        for label, name in enumerate(names)
    )
    return (
        f'<div class="keys" role="group" aria-label="Show one class">{keys}</div><div class="map">'
        f'<canvas id="map-canvas" tabindex="0" role="img" aria-label="Map of the items: {text(words)} Arrow keys go '
        'from item to item."></canvas><div class="tip" id="map-tip" hidden></div></div>'
        '<p id="map-said" class="note" role="status" aria-live="polite"></p>'
    )
