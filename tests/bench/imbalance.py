"""Class sizes that are not equal: `python tests/bench/imbalance.py [FILE]`; about ten minutes on two cores.

Subsets of digits, usps.npz and cifar10-dev.npz (their spaces as in common.py) with ten classes of unequal size, which
class is how large drawn by a seed: "tail", shares falling geometrically from 10 to 1; "two", five classes of 10 and
five of 1; and "even". On each, 25 searches of the `fast` preset with the prior "uniform", "free" and the true shares.
Prints a table a data set and writes FILE, by default tests/bench/results/imbalance.json: means over two seeds (subset
and searches), and the figures of each.

acc, ari, nmi: the consensus. recall: mean over true classes of the share of items right after the matching. l1: sum of
the differences between found and true shares, both sorted (0 = the sizes are found). smallest: share of the smallest
class found. lost: share of searches that found fewer than ten. search_acc: mean over searches. rho_objective: over
searches, correlation of their accuracy with minus the objective. strength: what "free" chose.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from common import DATA, Data, load, output, table, write
from numpy.typing import NDArray

import hume_ssl
from hume_ssl import metrics

K, SEARCHES, SEEDS = 10, 25, (1, 2)
LARGEST = {"digits": 170, "usps": 300, "cifar10-dev": 300}  # items of the largest class
SIZES = {
    "tail": 10.0 ** (-np.arange(K) / (K - 1)),
    "two": np.where(np.arange(K) < K // 2, 1.0, 0.1),
    "even": np.full(K, 0.5),
}


def subset(data: Data, kind: str, largest: int, seed: int) -> NDArray[np.int64]:
    """Items, ascending, of ten classes with sizes of a kind; the seed says which class has which, and which items."""
    rng = np.random.default_rng(seed)
    picked = []
    for label, size in zip(rng.permutation(K), SIZES[kind], strict=True):
        items = rng.permutation(np.flatnonzero(data.truth == label))
        picked.append(items[: round(size * largest)])
    return np.sort(np.concatenate(picked))


def shares(labels: NDArray[Any]) -> NDArray[np.float64]:
    """(10,) share of each class, the largest first."""
    return np.sort(np.bincount(labels, minlength=K))[::-1] / len(labels)


def figures(spaces: list[NDArray[Any]], truth: NDArray[np.int64], prior: Any, seed: int) -> dict[str, float]:
    """What one run finds."""
    began = time.monotonic()
    found = hume_ssl.discover(
        labeller=spaces[0], judges=spaces[1:], classes=K, searches=SEARCHES, seed=seed, prior=prior, device="cpu"
    )
    seconds = time.monotonic() - began
    mapping = metrics.match_classes(found.labels, truth, K)
    right = metrics.correct(found.labels, truth, mapping)
    searches = found.searches
    accuracies = [metrics.acc(labelling, truth, K) for labelling in searches.labellings]
    return {
        "acc": float(right.mean()),
        "ari": metrics.ari(found.labels, truth),
        "nmi": metrics.nmi(found.labels, truth),
        "recall": float(np.mean([right[truth == label].mean() for label in np.unique(truth)])),
        "l1": float(np.abs(shares(found.labels) - shares(truth)).sum()),
        "smallest": float(shares(found.labels)[-1]),
        "lost": float(np.mean(np.array(searches.classes_found) < K)),
        "search_acc": float(np.mean(accuracies)),
        "rho_objective": float(np.corrcoef(-searches.objective, accuracies)[0, 1]),
        "strength": searches.strength or 1.0,
        "seconds": seconds,
    }


def main() -> None:
    """Measure, print, write."""
    path = output("imbalance.json")
    results: dict[str, Any] = {"searches": SEARCHES, "seeds": list(SEEDS)}
    for name, largest in LARGEST.items():
        if name != "digits" and not DATA.is_dir():
            continue
        data, columns = load(name), {}
        for kind in SIZES:
            priors = ["uniform", "free"] if kind == "even" else ["uniform", "free", "file"]
            runs: dict[str, list[dict[str, float]]] = {prior: [] for prior in priors}
            for seed in SEEDS:
                items = subset(data, kind, largest, seed)
                truth, spaces = data.truth[items], [np.ascontiguousarray(space[items]) for space in data.spaces]
                for prior in priors:
                    given = tuple(shares(truth)) if prior == "file" else prior
                    runs[prior].append(figures(spaces, truth, given, seed))
            for prior, rows in runs.items():
                columns[f"{kind} {prior}"] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
                results.setdefault(name, {}).setdefault(kind, {})[prior] = rows
            results[name][kind]["items"] = len(items)
        results[name]["mean"] = columns
        print(table(name, columns), end="\n\n", flush=True)
        write(path, results)


if __name__ == "__main__":
    main()
