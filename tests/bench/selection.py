"""How right consensus and picked labels are, and what a linear head learns: `tests/bench/selection.py [NAME ...]`.

Runs the searches of each development set (or of those named) and votes them as `discover`, the paper and others do.
Picks 1 to 100 items a class by each strategy of `select`, and by its rivals: the best search's own confidence (margin
of its task encoder), agreement alone, neighbours alone, and the rule of SPICE on the best search (at least 0.99, or
0.90, of 100 nearest items in the labeller space, itself among them, and softmax confidence above 0.99 at temperature
0.01; drawn at random; where it keeps fewer than asked for, the best by share besides). Every labelling is matched to
the truth on its own. Then a linear head (logistic regression on unit rows of the judge space) is taught with each,
beside as many true labels drawn at random (mean of five draws), and asked about test items, or all where there is no
split. Prints mean and worst over seeds, and writes selection.json, where data sets not named stay as they were.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
from common import DATA, RESULTS, Data, load, table, write
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

import hume_ssl
from hume_ssl.consensus import Strategy, agreement_of, find_consensus, find_nearest
from hume_ssl.discovery import Discovery
from hume_ssl.evaluation import PROBE_C, unit_rows
from hume_ssl.metrics import acc, match_classes
from hume_ssl.search import best_search

PLANS = {"digits": 100, "digits-unsplit": 100, "usps": 50, "cifar10-dev": 50}  # searches
SEEDS = (1, 2, 3, 4, 5)
COUNTS = (1, 4, 15, 25, 100)  # a class
TAUGHT = (4, 25, 100)
TARGETS = ("usps", "cifar10-dev")  # the data sets on which rivals are to be matched
DRAWS = 5

CONSENSUS: dict[str, dict[str, Any]] = {
    "ours": {},
    "the paper's": {"align": "reference", "weights": "equal"},
    "align reference": {"align": "reference"},
    "align stable": {"align": "stable"},
    "weights equal": {"weights": "equal"},
    "weights by score": {"weights": "score"},
    "weights by stability": {"weights": "stability"},
    "better half, equal": {"weights": "equal", "voters": 0.5},
    "dawid-skene": {"vote": "dawid-skene", "weights": "equal"},
}

Array = NDArray[Any]
Picks = tuple[Array, Array]  # items, and the true class that their label stands for


def first(items: Array, labels: Array, n: int, k: int) -> Array:
    """The first `n` of each class, of items in the order of choice."""
    return np.concatenate([items[labels[items] == label][:n] for label in range(k)])


def rivals(found: Discovery, data: Data) -> dict[str, Callable[[int], Picks]]:
    """How the rivals pick `n` a class."""
    k, train = found.classes, np.flatnonzero(data.train)
    best = best_search(found.searches.generalization_score, found.searches.classes_found)
    own = found.searches.labellings[best].astype(np.int64)
    names = {id(labels): match_classes(labels[train], data.truth[train], k) for labels in (own, found.labels)}
    centre = 0 if found.searches.centre is None else found.searches.centre
    scores = unit_rows(data.spaces[0] - centre) @ found.searches.weights[best].T
    top = np.sort(scores, axis=1)
    confidence = 1 / np.exp((scores - top[:, -1:]) / 0.01).sum(1)
    nearest = find_nearest(data.spaces[:1], data.train, 99)
    share = (agreement_of(nearest, own, data.train) * 99 + 1) / 100

    def ranked(labels: Array, key: Array) -> Callable[[int], Picks]:
        items = train[np.argsort(-key[train], kind="stable")]

        def choose(n: int) -> Picks:
            chosen = first(items, labels, n, k)
            return chosen, names[id(labels)][labels[chosen]]

        return choose

    def spice(least: float) -> Callable[[int], Picks]:
        keep = (share >= least) & (confidence > 0.99)
        draw = np.random.default_rng(0).random(len(own))
        return ranked(own, np.where(keep, 2 + draw, share))

    return {
        "own confidence": ranked(own, top[:, -1] - top[:, -2]),
        "agreement alone": ranked(found.labels, found.agreement),
        "neighbours alone": ranked(found.labels, found.neighbour_agreement),
        "SPICE 0.99": spice(0.99),
        "SPICE 0.90": spice(0.90),
    }


def strategies(found: Discovery, data: Data, seed: int) -> dict[str, Callable[[int], Picks]]:
    """How `select` picks `n` a class, or what there is."""
    mapping = match_classes(found.labels[data.train], data.truth[data.train], found.classes)

    def by(strategy: str) -> Callable[[int], Picks]:
        def choose(n: int) -> Picks:
            picked = hume_ssl.select(found, n, strategy=strategy, seed=seed, allow_short=True)
            return picked.index, mapping[picked.label]

        return choose

    return {strategy: by(strategy) for strategy in get_args(Strategy)}


def true_labels(data: Data, n: int, seed: int) -> Picks:
    """As many true labels, drawn at random."""
    rng = np.random.default_rng(seed)
    classes = [rng.permutation(np.flatnonzero(data.train & (data.truth == c))) for c in np.unique(data.truth)]
    items = np.concatenate([items[:n] for items in classes])
    return items, data.truth[items]


def head(data: Data, picks: Picks) -> float:
    """Accuracy of a linear head taught with the picks, on test items, or on all where there is no split."""
    rows, asked = unit_rows(data.spaces[-1]), ~data.train if (~data.train).any() else data.train
    model = LogisticRegression(C=PROBE_C, max_iter=1000).fit(rows[picks[0]], picks[1])
    return float(np.mean(model.predict(rows[asked]) == data.truth[asked]))


def consensus(found: Discovery, data: Data) -> dict[str, float]:
    """Accuracy on train items of our consensus, of others on the same searches, and of a single search."""
    searches, train, k = found.searches, data.train, found.classes
    told = {}
    for name, options in CONSENSUS.items():
        other = find_consensus(
            searches.labellings,
            k,
            scores=searches.generalization_score,
            objective=searches.objective,
            classes_found=searches.classes_found,
            train=train,
            **options,
        )
        told[name] = acc(other.labels[train], data.truth[train], k)
    single = [acc(labels[train], data.truth[train], k) for labels in searches.labellings]
    return {**told, "a single search": float(np.mean(single))}


def measure(found: Discovery, data: Data, seed: int) -> dict[str, dict[str, float]]:
    """{figure: {method: value}} of one discovery."""
    methods = {**strategies(found, data, seed), **rivals(found, data)}
    told: dict[str, dict[str, float]] = defaultdict(dict)
    told["consensus"] = consensus(found, data)
    for method, choose in methods.items():
        for n in COUNTS:
            items, meant = choose(n)
            told[f"right at {n}"][method] = float(np.mean(data.truth[items] == meant))
    draws = [[true_labels(data, n, draw) for draw in range(DRAWS)] for n in TAUGHT]
    for n, some in zip(TAUGHT, draws, strict=True):
        for method, choose in methods.items():
            told[f"head at {n}"][method] = head(data, choose(n))
        told[f"head at {n}"]["true labels"] = float(np.mean([head(data, picks) for picks in some]))
    return dict(told)


def verdict(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Each strategy against each rival over usps and cifar10-dev at 4 to 100 a class: mean, and the worst cell."""
    cells = [[seed[f"right at {n}"] for seed in results[name].values()] for name in TARGETS for n in COUNTS[1:]]
    told: dict[str, dict[str, float]] = defaultdict(dict)
    for ours in get_args(Strategy):
        for rival in ("own confidence", "agreement alone", "neighbours alone", "SPICE 0.99", "SPICE 0.90"):
            ahead = [np.mean([figures[ours] - figures[rival] for figures in cell]) for cell in cells]
            told[f"{ours} ahead of {rival}"] = {"mean": float(np.mean(ahead)), "worst cell": float(np.min(ahead))}
    return dict(told)


def run(name: str) -> dict[str, Any]:
    """{seed: figures} of a data set, its table printed."""
    data, runs = load(name), {}
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
        runs[str(seed)] = measure(found, data, seed)
    rows = {row: {m: summary(runs, row, m) for m in methods} for row, methods in runs["1"].items()}
    columns = {m: {row: rows[row].get(m, "") for row in rows} for m in {m: 0 for r in rows.values() for m in r}}
    print(table(f"{name}, mean (worst) of {len(SEEDS)} seeds", columns), end="\n\n", flush=True)
    return runs


def summary(runs: dict[str, Any], row: str, method: str) -> str:
    """Mean and worst over seeds."""
    values = [figures[row][method] for figures in runs.values()]
    return f"{np.mean(values):.3f} ({np.min(values):.3f})"


def main() -> None:
    """Measure, print, write."""
    path = RESULTS / "selection.json"
    results: dict[str, Any] = json.loads(path.read_text())["runs"] if path.is_file() else {}
    for name in sys.argv[1:] or PLANS:
        if name.startswith("digits") or DATA.is_dir():
            results[name] = run(name)
            against = verdict(results) if set(TARGETS) <= set(results) else {}
            write(path, {"runs": results, "verdict": against})
    for line, figures in against.items():
        print(f"{line}, usps and cifar10-dev: mean {figures['mean']:+.4f}, worst cell {figures['worst cell']:+.4f}")


if __name__ == "__main__":
    main()
