"""The generalization score against scikit-learn: `python tests/bench/score.py [OUTPUT.json]`.

Speed: 20 labellings of 10,000 items in a judge space 1024 wide, ten classes, against scikit-learn's fits of four
of them in the same run, scaled up. Agreement: 20 labellings of digits and cifar10-dev, four of usps, found by
searches of 8 to 220 steps so that they differ in quality; and for comparison the closed form that takes over for
many classes. Prints the table and writes the figures with machine and versions. Takes about a quarter of an hour
on two cores; run nothing beside it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
from common import DATA, output, table, write
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from hume_ssl.config import SearchConfig
from hume_ssl.items import load_items
from hume_ssl.search import prepare_spaces, run_searches
from hume_ssl.search.score import generalization_scores
from hume_ssl.search.subsets import Spaces
from hume_ssl.spaces.choice import KERNELS
from hume_ssl.spaces.embed import embed
from hume_ssl.spaces.spec import parse_spec

STEPS, EACH, CLASSES = (8, 30, 100, 220), 5, 10
COMPARED = {"usps": 4, "speed": 4}  # of the 20 labellings, where scikit-learn takes minutes for a few


def made(images: np.ndarray) -> Spaces:
    """The two default spaces of images, all of them train items."""
    items, train = load_items(images), np.ones(len(images), dtype=bool)
    labeller, judge = (embed(items, parse_spec(text), train, device="cpu") for text in KERNELS)
    return prepare_spaces(labeller, [judge], train, SearchConfig())


def data_sets() -> dict[str, Callable[[], Spaces]]:
    """What there is to measure on; `speed` is usps and 702 of its images moved by a pixel."""
    sets: dict[str, Callable[[], Spaces]] = {
        "digits": lambda: made((load_digits().images * (255 / 16)).round().astype(np.uint8))
    }
    if DATA.is_dir():
        usps = np.load(DATA / "usps.npz")["images"]
        cifar = np.load(DATA / "cifar10-dev.npz")
        sets["usps"] = lambda: made(usps)
        sets["cifar10-dev"] = lambda: prepare_spaces(
            cifar["mobilenetv2"], [cifar["resnet50s3"]], cifar["split"] == "train", SearchConfig()
        )
        sets["speed"] = lambda: made(np.concatenate([usps, np.roll(usps[: 10_000 - len(usps)], 1, axis=2)]))
    return sets


def labellings(spaces: Spaces) -> np.ndarray:
    """(20, m) what short and long searches find."""
    found = []
    for seed, steps in enumerate(STEPS):
        config = SearchConfig(searches=EACH, batch=EACH, seed=seed, iterations=steps, subset_size=3000)
        found.append(run_searches(spaces, CLASSES, config).labellings[:, spaces.train])
    return np.concatenate(found)


def scikit_learn(x: np.ndarray, labels: np.ndarray) -> float:
    """The reference: ten folds, one fit each."""
    folds = KFold(10, shuffle=True, random_state=1).split(x)
    fits = [(LogisticRegression(C=np.inf, max_iter=100).fit(x[a], labels[a]), b) for a, b in folds]
    return float(np.mean([model.score(x[b], labels[b]) for model, b in fits]))


def figures(spaces: Spaces, compared: int) -> dict[str, float]:
    """Seconds of both for 20 labellings, and how they differ; scikit-learn fits `compared`, its seconds scaled."""
    found = labellings(spaces)
    began = time.perf_counter()
    ours = generalization_scores(spaces, found, CLASSES, "logistic")
    seconds = time.perf_counter() - began
    closed = generalization_scores(spaces, found, CLASSES, "ridge")
    x = np.asarray(spaces.judges[0][spaces.train], dtype=np.float32)
    began = time.perf_counter()
    which = np.linspace(0, len(found) - 1, compared).round().astype(int)  # of all qualities
    theirs = np.array([scikit_learn(x, found[i]) for i in which])
    reference = (time.perf_counter() - began) * len(found) / compared
    ours, closed = ours[which], closed[which]
    row = {
        "items": len(x),
        "compared": compared,
        "width": x.shape[1],
        "seconds": seconds,
        "seconds_scikit_learn": reference,
    }
    row["times_faster"] = reference / seconds
    row["score_least"], row["score_most"] = float(theirs.min()), float(theirs.max())
    for name, scores in (("", ours), ("closed_form_", closed)):
        row[f"{name}mean_difference"] = float(np.abs(scores - theirs).mean())
        row[f"{name}largest_difference"] = float(np.abs(scores - theirs).max())
        row[f"{name}rank_correlation"] = float(spearmanr(scores, theirs).statistic)
    return row


def main() -> None:
    """Measure, print, write."""
    warnings.simplefilter("ignore")  # scikit-learn warns of 100 iterations that were not enough, 200 times a set
    rows: dict[str, dict[str, float]] = {}
    for name, make in data_sets().items():
        rows[name] = figures(make(), COMPARED.get(name, 20))
        write(output("score.json"), rows)
    print(table("20 labellings", rows))


if __name__ == "__main__":
    main()
