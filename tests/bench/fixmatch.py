"""What training learns from few labels: `python tests/bench/fixmatch.py [FILE] [PART...]`; an hour and a half in all.

Parts, all of them by default; what FILE already holds stays. Test accuracy (of the last averaged model, and the mean of
the last 20 evaluations) and seconds a training, for seeds 1 to 5:

- `digits`: fixmatch on 4 and 25 a class picked by `select` from 100 searches, and on as many true labels at random.
- `usps`: fixmatch and supervised-only on 4 true labels of each class drawn by the seed; the set's own test items.
- `algorithms`: the other algorithms on the same labels as `usps`, and on the digits picked by `select`; seeds 1 to 3.
- `noise`: fixmatch with each remedy for wrong labels on what `select` picks at 4, 25 and 100 a class of digits (100
  searches) and usps (50 searches of its train items); seeds 1 to 3.
- `flipped`: fixmatch with and without the remedy that needs no agreements on true labels of the digits, a tenth of
  which the seed moved to another class; 4, 25 and 100 a class, seeds 1 to 3.

Prints a row a training, and writes FILE, by default tests/bench/results/fixmatch.json.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from common import DATA, Data, load, output, write
from numpy.typing import NDArray

import hume_ssl
from hume_ssl.items import load_items
from hume_ssl.metrics import match_classes
from hume_ssl.train_config import TrainConfig

SEEDS, FEW = (1, 2, 3, 4, 5), (1, 2, 3)
SEARCHES = {"digits": 100, "usps": 50}

Labels = tuple[NDArray[Any], NDArray[Any], dict[str, Any]]  # items, classes, what else training may know


@cache
def data_of(name: str) -> tuple[Data, NDArray[np.uint8]]:
    """Spaces, truth and train mask, and the pixels."""
    data = load(name)
    if name == "digits":
        return data, load_items("digits").pixels()
    stored = np.load(DATA / "usps.npz")
    return Data(data.spaces, data.truth, stored["split"] == "train"), stored["images"]


@cache
def discovery(name: str, seed: int) -> Any:
    """Searches and consensus."""
    data, _ = data_of(name)
    return hume_ssl.discover(
        labeller=data.spaces[0],
        judges=data.spaces[1:],
        train=data.train,
        classes=10,
        searches=SEARCHES[name],
        seed=seed,
        device="cpu",
    )


def selected(name: str, n: int, seed: int) -> Labels:
    """What `select` picks, as the true classes that its labels stand for."""
    (data, _), found = data_of(name), discovery(name, seed)
    picked = hume_ssl.select(found, n, seed=seed, allow_short=True)
    mapping = match_classes(found.labels[data.train], data.truth[data.train], 10)
    shares = (found.agreement[picked.index], found.neighbour_agreement[picked.index])
    return picked.index, mapping[picked.label], {"label_agreement": shares}


def true_labels(name: str, n: int, seed: int) -> Labels:
    """n items of each class drawn by the seed, with their truth."""
    data, _ = data_of(name)
    rng = np.random.default_rng(seed)
    classes = [rng.choice(np.flatnonzero(data.train & (data.truth == c)), n, replace=False) for c in range(10)]
    items = np.concatenate(classes)
    return items, data.truth[items], {}


def flipped(name: str, n: int, seed: int) -> Labels:
    """True labels, a tenth of them moved to a class drawn from the nine others."""
    items, classes, more = true_labels(name, n, seed)
    rng = np.random.default_rng([seed, 1])
    wrong = rng.choice(len(items), len(items) // 10, replace=False)
    moved = classes.copy()
    moved[wrong] = (classes[wrong] + rng.integers(1, 10, len(wrong))) % 10
    return items, moved, more


def train(name: str, labels: Labels, seed: int, **settings: Any) -> dict[str, float]:
    """Figures of one training."""
    data, images = data_of(name)
    items, classes, more = labels
    began = time.monotonic()
    trained = hume_ssl.train_fixmatch(
        images,
        items,
        classes,
        classes=10,
        train=data.train,
        config=TrainConfig(flip=False, seed=seed, **settings),
        device="cpu",
        class_shares=[1] * 10 if name == "digits" else None,  # what its recipe knows
        **more,
    )
    seconds = time.monotonic() - began
    last = np.mean(trained.evaluations == data.truth[trained.evaluated], axis=1)
    return {
        "test_acc": float(np.mean(trained.predictions[~data.train] == data.truth[~data.train])),
        "last_20": float(last.mean()),
        "right_labels": float(np.mean(data.truth[items] == classes)),
        "seconds": round(seconds, 1),
    }


Row = tuple[str, str, Callable[..., Labels], int, dict[str, Any], tuple[int, ...]]


def rows(part: str) -> list[Row]:
    """(name of the row, data set, labels, number a class, settings, seeds) of one part."""
    others = ("flexmatch", "freematch", "softmatch", "supervised")
    if part == "digits":
        kinds = (("select", selected), ("true labels", true_labels))
        return [(f"{word}, {n} a class", "digits", how, n, {}, SEEDS) for n in (4, 25) for word, how in kinds]
    if part == "usps":
        return [(word, "usps", true_labels, 4, {"algorithm": word}, SEEDS) for word in ("fixmatch", "supervised")]
    if part == "algorithms":
        sets = (("digits", selected), ("usps", true_labels))
        wanted = [(word, *one) for word in others for one in sets if (word, one[0]) != ("supervised", "usps")]
        return [(f"{name}, {word}", name, how, 4, {"algorithm": word}, FEW) for word, name, how in wanted]
    remedies = ("none", "agreement", "contradicted")
    if part == "flipped":
        cases = [(n, word) for n in (4, 25, 100) for word in remedies[::2]]
        return [(f"{n} a class, {word}", "digits", flipped, n, {"label_noise": word}, FEW) for n, word in cases]
    return [
        (f"{name}, {n} a class, {word}", name, selected, n, {"label_noise": word}, FEW)
        for name in ("digits", "usps")
        for n in (4, 25, 100)
        for word in remedies
    ]


def main() -> None:
    """Measure, print, write."""
    path = output("fixmatch.json")
    figures = json.loads(path.read_text()) if path.is_file() else {}
    figures.pop("machine", None)
    for part in sys.argv[2:] or ("digits", "usps", "algorithms", "noise", "flipped"):
        figures[part] = {}
        for word, name, labels, n, settings, seeds in rows(part):
            cells = {f"seed {seed}": train(name, labels(name, n, seed), seed, **settings) for seed in seeds}
            means = {key: float(np.mean([cell[key] for cell in cells.values()])) for key in cells[f"seed {seeds[0]}"]}
            figures[part][word] = {**cells, "mean": means}
            accuracies = " ".join(f"{cell['test_acc']:.4f}" for cell in cells.values())
            print(f"{part}: {word}: {means['test_acc']:.4f} ({accuracies}), {means['seconds']:.0f} s", flush=True)
            write(path, figures)


if __name__ == "__main__":
    main()
