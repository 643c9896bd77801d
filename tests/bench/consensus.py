"""How good the consensus of the `fast` preset is: `python tests/bench/consensus.py [FOLDER]`.

100 searches on the digits, split and spaces as in their recipe, for seeds 1 to 5, and on usps.npz (the spaces that
`discover` makes by default) and cifar10-dev.npz (its two networks) for seeds 1 to 3, where the development data is
there. Prints a table a data set and writes to FOLDER, by default tests/bench/results, consensus.json with machine and
versions and, for each data set, consensus-NAME.svg: the objective of every search against its accuracy. The seconds
are those of searches and consensus with the spaces given. Run nothing beside it.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import hume_ssl
from hume_ssl.api import DEFAULT_ENCODERS
from hume_ssl.config import load_recipe
from hume_ssl.evaluation import kmeans_baseline
from hume_ssl.item_columns import make_split
from hume_ssl.items import load_items
from hume_ssl.spaces.embed import embed
from hume_ssl.spaces.spec import parse_spec

SEARCHES = 100
SEEDS = {"digits": (1, 2, 3, 4, 5), "usps": (1, 2, 3), "cifar10-dev": (1, 2, 3)}
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#6c4f8c")  # one a seed


@dataclass(frozen=True)
class Data:
    """What one data set is searched with."""

    spaces: list[NDArray[Any]]  # labeller and judge, (n, d1) and (n, d2)
    truth: NDArray[np.int64]  # (n,) for evaluation only
    train: NDArray[np.bool_]  # (n,)


def load(name: str) -> Data:
    """The spaces of a data set, made where they are not in its file."""
    if name == "cifar10-dev":
        stored = np.load(DATA / "cifar10-dev.npz")
        return Data([stored["mobilenetv2"], stored["resnet50s3"]], stored["truth"], stored["split"] == "train")
    if name == "usps":
        stored = np.load(DATA / "usps.npz")
        items, truth, encoders = load_items(stored["images"]), stored["truth"], DEFAULT_ENCODERS
        train = np.ones(len(truth), dtype=bool)
    else:
        recipe = load_recipe("digits", "discover")
        items, truth, encoders = load_items("digits"), load_digits().target, recipe.spaces.encoders
        train = make_split(len(truth), recipe.data.split, recipe.data.split_seed, [""] * len(truth)) == "train"
    return Data([embed(items, parse_spec(text), train, device="cpu") for text in encoders], truth, train)


def measure(data: Data, seed: int) -> tuple[dict[str, float], dict[str, Any]]:
    """The figures of one run, all on train items, and what `evaluate` says of its searches."""
    began = time.monotonic()
    found = hume_ssl.discover(
        labeller=data.spaces[0],
        judges=data.spaces[1:],
        classes=10,
        train=data.train,
        searches=SEARCHES,
        seed=seed,
        device="cpu",
    )
    seconds = time.monotonic() - began
    told = hume_ssl.evaluate(found, data.truth)
    figures = {
        "consensus": told["consensus"]["acc"],
        "single_search": float(np.mean(told["searches"]["acc"])),
        "objective_correlation": told["objective_correlation"]["rho"],
        "seconds": seconds,
    }
    return figures, told["searches"]


def scatter(name: str, runs: dict[int, dict[str, Any]]) -> str:
    """An SVG: every search a point, its objective to the right and its accuracy upwards, one colour a seed."""
    width, height, edge = 480, 360, 50
    x = np.concatenate([run["objective"] for run in runs.values()])
    y = np.concatenate([run["acc"] for run in runs.values()])
    lows, spans = (x.min(), y.min()), (max(float(np.ptp(x)), 1e-9), max(float(np.ptp(y)), 1e-9))

    def place(objective: float, accuracy: float) -> tuple[float, float]:
        right = edge + (objective - lows[0]) / spans[0] * (width - 2 * edge)
        return right, height - edge - (accuracy - lows[1]) / spans[1] * (height - 2 * edge)

    def text(at: tuple[float, float], words: str, more: str = "") -> str:
        return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" {more}>{escape(words)}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="11" text-anchor="middle">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{edge} {edge / 2}V{height - edge}H{width - edge / 2}" fill="none" stroke="black"/>',
        text((width / 2, 16), f"{name}: {len(x)} searches, correlation of objective and error {rho(x, y):.2f}"),
        text((width / 2, height - 12), "objective (nats, lower is better)"),
        text((14, height / 2), "accuracy on train items", f'transform="rotate(-90 14 {height / 2:.0f})"'),
    ]
    for share in (0, 0.5, 1):
        at = (lows[0] + share * spans[0], lows[1] + share * spans[1])
        right, down = place(*at)
        parts.append(text((right, height - edge + 15), f"{at[0]:.3f}"))
        parts.append(text((edge - 18, down + 4), f"{at[1]:.2f}"))
    for (seed, run), colour in zip(runs.items(), COLOURS, strict=False):
        for objective, accuracy in zip(run["objective"], run["acc"], strict=True):
            right, down = place(objective, accuracy)
            parts.append(f'<circle cx="{right:.1f}" cy="{down:.1f}" r="2.5" fill="{colour}" fill-opacity="0.6"/>')
        at = (width - edge, 40 + 14 * list(runs).index(seed))
        parts.append(text(at, f"seed {seed}", f'fill="{colour}"'))
    return "\n".join([*parts, "</svg>", ""])


def rho(objective: NDArray[Any], accuracy: NDArray[Any]) -> float:
    """Pearson correlation of objective and 1 - accuracy: 1 = the objective orders searches as the truth does."""
    return float(np.corrcoef(objective, 1 - accuracy)[0, 1])


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "versions": versions}


def table(name: str, rows: dict[int, dict[str, float]]) -> str:
    """Markdown: a row a figure, a column a seed, and their mean."""
    lines = [f"| {name} | " + " | ".join(f"seed {seed}" for seed in rows) + " | mean |", "|---" * (len(rows) + 2) + "|"]
    for key in next(iter(rows.values())):
        values = [row[key] for row in rows.values()]
        lines.append(f"| {key} | " + " | ".join(f"{value:.4g}" for value in [*values, float(np.mean(values))]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results"
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for name, seeds in SEEDS.items():
        if name != "digits" and not DATA.is_dir():
            continue
        data = load(name)
        kmeans = kmeans_baseline(data.spaces, data.train, data.truth, 10)
        rows, runs = {}, {}
        for seed in seeds:
            figures, runs[seed] = measure(data, seed)
            rows[seed] = {"kmeans": kmeans, **figures}
        print(table(name, rows), end="\n\n", flush=True)
        results[name] = rows
        (folder / f"consensus-{name}.svg").write_text(scatter(name, runs))
    path = folder / "consensus.json"
    path.write_text(json.dumps({"machine": machine(), "searches": SEARCHES, **results}, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
