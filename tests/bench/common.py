"""What the benchmarks share: the data sets with their spaces, the machine's description, tables, results on disk."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import hume_ssl
from hume_ssl.config import load_recipe
from hume_ssl.item_columns import make_split
from hume_ssl.items import load_items
from hume_ssl.spaces.choice import KERNELS
from hume_ssl.spaces.embed import embed
from hume_ssl.spaces.spec import parse_spec

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@dataclass(frozen=True)
class Data:
    """What one data set is searched with."""

    spaces: list[NDArray[Any]]  # labeller and judge, (n, d1) and (n, d2)
    truth: NDArray[np.int64]  # (n,) for evaluation only
    train: NDArray[np.bool_]  # (n,)


def load(name: str) -> Data:
    """Spaces of "digits" (split and encoders of its recipe), "digits-unsplit" (all train items), "usps" (default
    encoders) or "cifar10-dev" (as stored)."""
    if name == "cifar10-dev":
        stored = np.load(DATA / "cifar10-dev.npz")
        return Data([stored["mobilenetv2"], stored["resnet50s3"]], stored["truth"], stored["split"] == "train")
    if name == "usps":
        stored = np.load(DATA / "usps.npz")
        items, truth, encoders = load_items(stored["images"]), stored["truth"], KERNELS
        train = np.ones(len(truth), dtype=bool)
    else:
        recipe = load_recipe("digits", "discover")
        items, truth, encoders = load_items("digits"), load_digits().target, recipe.spaces.encoders
        train = make_split(len(truth), recipe.data.split, recipe.data.split_seed, [""] * len(truth)) == "train"
        train |= name == "digits-unsplit"
    return Data([embed(items, parse_spec(text), train, device="cpu") for text in encoders], truth, train)


def measure(data: Data, searches: int, seed: int, **options: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """The figures of one run of `hume_ssl.discover`, all on train items, and what `evaluate` says of its searches."""
    began = time.monotonic()
    found = hume_ssl.discover(
        labeller=data.spaces[0],
        judges=data.spaces[1:],
        classes=10,
        train=data.train,
        searches=searches,
        seed=seed,
        **options,
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


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    import sklearn
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }
    found: dict[str, Any] = {"processor": model, "cores": len(os.sched_getaffinity(0)), "versions": versions}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def table(name: str, columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row a figure, a column a run."""
    rows = list(dict.fromkeys(key for column in columns.values() for key in column))
    lines = [f"| {name} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [column.get(row, "") for column in columns.values()]
        lines.append(f"| {row} | " + " | ".join(f"{c:.4g}" if isinstance(c, float) else str(c) for c in cells) + " |")
    return "\n".join(lines)


def output(name: str) -> Path:
    """Where the figures go: the command's first argument, else NAME in the results of the repository."""
    return Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS / name


def write(path: Path, figures: Mapping[str, Any]) -> None:
    """The figures with machine and versions, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n")
    print(f"written to {path}")
