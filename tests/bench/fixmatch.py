"""What FixMatch learns from a selection: `python tests/bench/fixmatch.py [FILE]`; half an hour on one core.

The digits (100 searches, seeds 1 to 3), 4 and 25 a class picked by `select --strategy cover` and `certain`, beside as
many true labels of each class drawn at random: held-back test accuracy of FixMatch as its recipe trains it. Prints a
row a training, and writes FILE, by default tests/bench/results/fixmatch.json.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import Data, load, output, table, write
from numpy.typing import NDArray

import hume_ssl
from hume_ssl.items import load_items
from hume_ssl.metrics import match_classes
from hume_ssl.train_config import TrainConfig

SEEDS, COUNTS, SEARCHES = (1, 2, 3), (4, 25), 100


def picks(found: Any, data: Data, how: str, n: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Items, and the true class that the label of each stands for."""
    if how == "true labels":
        rng = np.random.default_rng(seed)
        classes = [rng.permutation(np.flatnonzero(data.train & (data.truth == c)))[:n] for c in range(10)]
        items = np.concatenate(classes)
        return items, data.truth[items]
    picked = hume_ssl.select(found, n, strategy=how, seed=seed)
    mapping = match_classes(found.labels[data.train], data.truth[data.train], 10)
    return picked.index, mapping[picked.label]


def main() -> None:
    """Measure, print, write."""
    data, images = load("digits"), load_items("digits").pixels()
    spaces = {"labeller": data.spaces[0], "judges": data.spaces[1:], "train": data.train, "classes": 10}
    rows: dict[str, dict[str, Any]] = {}
    for seed in SEEDS:
        found = hume_ssl.discover(**spaces, searches=SEARCHES, seed=seed, device="cpu")
        for n in COUNTS:
            for how in ("cover", "certain", "true labels"):
                items, labels = picks(found, data, how, n, seed)
                config = TrainConfig(flip=False, seed=seed)
                trained = hume_ssl.train_fixmatch(
                    images, items, labels, classes=10, train=data.train, config=config, device="cpu"
                )
                right = float(np.mean(trained.predictions[~data.train] == data.truth[~data.train]))
                rows.setdefault(f"{how}, {n} a class", {})[f"seed {seed}"] = right
                print(seed, n, how, right, flush=True)
                write(output("fixmatch.json"), {"digits": rows})
    columns = {f"seed {seed}": {row: cells[f"seed {seed}"] for row, cells in rows.items()} for seed in SEEDS}
    print(table("digits, test accuracy", columns))


if __name__ == "__main__":
    main()
