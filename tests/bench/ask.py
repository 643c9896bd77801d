"""What a person's answers are worth: `tests/bench/ask.py [NAME ...]`.

Runs the searches of digits, cifar10-dev and usps (of usps a fixed random sample of 4,000 items, to be quick), or of
those named, and asks about up to 200 train items: as `select --ask` does, at random (mean of five draws), and by least
agreement of the searches (of equals the first items). Every answer is the true class by name, and is taken in as
`select --answers` does, all answers at once on the consensus that the searches voted: classes are named by the answers,
and an answer counts once its name has a class. The first M of those that `--ask 200` lists are those of `--ask M`.

accuracy: of the corrected consensus on train items, those asked about among them, after the best matching of classes,
as `evaluate` has it. named: share of train items that lie in a class bearing the name of their own true class, without
any matching: what a user gets who reads class_name; 0 before any answer. Prints a table a data set, with mean and worst
seed, and writes ask.json, where data sets not named stay as they were, and ask-NAME.svg.
"""

from __future__ import annotations

import json
import sys
from html import escape
from typing import Any

import numpy as np
from common import DATA, RESULTS, Data, load, table, write
from numpy.typing import NDArray

import hume_ssl
from hume_ssl.consensus import apply_answers, ask, name_classes, vote_shares
from hume_ssl.discovery import Discovery
from hume_ssl.metrics import acc

PLANS = {"digits": 100, "cifar10-dev": 50, "usps": 50}  # searches
SEEDS = (1, 2, 3)
COUNTS = (0, 10, 20, 50, 100, 200)  # answers
DRAWS = 5
SAMPLE = 4000  # items of usps
COLOURS = ("#1b6ca8", "#d1495b", "#66a182")  # one a way of asking
FIGURES = ("accuracy", "named")

Array = NDArray[Any]
Curves = dict[str, dict[str, list[float]]]  # {way of asking: {figure: value at each of COUNTS}}


def sample(data: Data, count: int) -> Data:
    """That many of the items, drawn at random, always the same; all where there are no more."""
    items = np.sort(np.random.default_rng(0).permutation(len(data.truth))[:count])
    return Data([space[items] for space in data.spaces], data.truth[items], data.train[items])


def ways(found: Discovery, seed: int) -> dict[str, list[Array]]:
    """The items each way asks about, in its order; several lists where it draws."""
    items, most = np.flatnonzero(found.train), max(COUNTS)
    rng = np.random.default_rng(seed)
    asked = ask(found.searches.labellings, found.labels, found.agreement, found.classes, most, train=found.train)
    return {
        "--ask": [asked.index],
        "at random": [rng.permutation(items)[:most] for _ in range(DRAWS)],
        "least agreement": [items[np.argsort(found.agreement[items], kind="stable")][:most]],
    }


def corrected(found: Discovery, truth: Array, index: Array) -> tuple[Array, dict[str, int]]:
    """(n,) the consensus after true answers about the items `index`, and the class that each name was given."""
    if not len(index):
        return found.labels, {}
    index, labellings, k = np.sort(index), found.searches.labellings, found.classes
    how: dict[str, Any] = {"weights": found.weights, "train": found.train}
    names = [str(label) for label in truth[index]]
    votes = vote_shares(labellings, found.labels, index, k, **how)
    given = name_classes(names, found.labels[index], votes, np.ones(k, dtype=bool))
    said = np.array([given.get(name, -1) for name in names], dtype=np.int64)
    clear = said >= 0
    moved = apply_answers(labellings, found.labels, found.agreement, index[clear], said[clear], k, **how)
    return moved.labels, given


def measure(found: Discovery, truth: Array, seed: int) -> Curves:
    """The figures of one discovery, by true classes (n,)."""
    train, curves = found.train, {}
    for way, lists in ways(found, seed).items():
        values = np.zeros((len(FIGURES), len(COUNTS), len(lists)))
        for at, count in enumerate(COUNTS):
            for draw, index in enumerate(lists):
                labels, given = corrected(found, truth, index[:count])
                meant = np.full(found.classes, -1)
                meant[list(given.values())] = [int(name) for name in given]
                right = float(np.mean(meant[labels[train]] == truth[train]))
                values[:, at, draw] = acc(labels[train], truth[train], found.classes), right
        curves[way] = {figure: row.mean(1).tolist() for figure, row in zip(FIGURES, values, strict=True)}
    return curves


def over_seeds(runs: dict[str, Curves], way: str, figure: str) -> Array:
    """(seeds, counts) values."""
    return np.array([curves[way][figure] for curves in runs.values()])


def as_table(name: str, runs: dict[str, Curves]) -> str:
    """The table of a data set: mean and worst seed, a column for each number of answers."""
    columns: dict[str, dict[str, str]] = {f"{count} answers": {} for count in COUNTS}
    for figure in FIGURES:
        for way in runs["1"]:
            values = over_seeds(runs, way, figure)
            for column, mean, worst in zip(columns.values(), values.mean(0), values.min(0), strict=True):
                column[f"{way}, {figure}"] = f"{mean:.3f} ({worst:.3f})"
    return table(f"{name}, {PLANS[name]} searches, mean (worst) of {len(runs)} seeds", columns)


def plot(name: str, runs: dict[str, Curves]) -> str:
    """An SVG: accuracy over the number of answers, evenly spaced; a line a way, its worst seed dashed."""
    width, height, edge = 480, 320, 50
    curves = {way: over_seeds(runs, way, "accuracy") for way in runs["1"]}
    low, high = min(v.min() for v in curves.values()), max(v.max() for v in curves.values())

    def place(at: int, value: float) -> str:
        right = edge + 10 + at / (len(COUNTS) - 1) * (width - 2 * edge - 20)
        return f"{right:.1f} {height - edge - 10 - (value - low) / ((high - low) or 1) * (height - 2 * edge - 20):.1f}"

    def text(at: str, words: str, more: str = "") -> str:
        right, down = at.split()
        return f'<text x="{right}" y="{down}" {more}>{escape(words)}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="11" text-anchor="middle">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{edge} {edge / 2}V{height - edge}H{width - edge / 2}" fill="none" stroke="black"/>',
        text(f"{width / 2} 16", f"{name}: accuracy after answers, mean and worst (dashed) of {len(runs)} seeds"),
        text(f"{width / 2} {height - 12}", "answers"),
    ]
    for at, count in enumerate(COUNTS):
        parts.append(text(f"{place(at, low).split()[0]} {height - edge + 15}", str(count)))
    for value in (low, (low + high) / 2, high):
        parts.append(text(f"{edge - 18} {place(0, value).split()[1]}", f"{value:.3f}"))
    for number, (way, values) in enumerate(curves.items()):
        colour = COLOURS[number]
        for line, dash in ((values.mean(0), ""), (values.min(0), ' stroke-dasharray="4 3"')):
            path = "L".join(place(at, value) for at, value in enumerate(line))
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}"{dash}/>')
        parts.append(text(f"{width * (number + 1) / (len(curves) + 1):.1f} 36", way, f'fill="{colour}"'))
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Measure, print, write."""
    path = RESULTS / "ask.json"
    results: dict[str, Any] = json.loads(path.read_text())["runs"] if path.is_file() else {}
    for name in sys.argv[1:] or PLANS:
        if name != "digits" and not DATA.is_dir():
            continue
        data, runs = load(name), {}
        if name == "usps":
            data = sample(data, SAMPLE)
        for seed in SEEDS:
            found = hume_ssl.discover(
                labeller=data.spaces[0],
                judges=data.spaces[1:],
                classes=10,
                train=data.train,
                searches=PLANS[name],
                seed=seed,
                device="cpu",
            )
            runs[str(seed)] = measure(found, data.truth, seed)
            results[name] = runs
            write(path, {"answers": COUNTS, "runs": results})  # after each seed: usps takes long
        print(as_table(name, runs), end="\n\n", flush=True)
        (RESULTS / f"ask-{name}.svg").write_text(plot(name, runs))


if __name__ == "__main__":
    main()
