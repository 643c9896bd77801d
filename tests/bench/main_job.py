"""The README's table of the main job, measured: `python tests/bench/main_job.py [OUTPUT.json]`.

Runs the three commands on the digits for seeds 1, 2 and 3, each in an empty folder, as a user would, then the searches
on two ready-made spaces of cifar10-dev.npz where the development data is there. Prints the table and writes the figures
with machine and versions. Takes about ten minutes on two cores; run nothing beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, output, table, write
from sklearn.datasets import load_digits

SEEDS = (1, 2, 3)


def run(folder: Path, *words: str) -> float:
    """Seconds one command of hume-ssl takes; its own progress goes to our stderr."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "hume_ssl", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def figures(folder: Path, truth: Any) -> dict[str, Any]:
    """What `evaluate --json` says."""
    np.save(folder / "truth.npy", truth)
    command = [sys.executable, "-m", "hume_ssl", "evaluate", "--truth", "truth.npy", "--json"]
    told: dict[str, Any] = json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)
    return told


def digits(seed: int) -> dict[str, float]:
    """The whole chain on the digits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = [("discover", "--seed", str(seed)), ("select", "--per-class", "4"), ("train-fixmatch",)]
        seconds = [run(folder, *step) for step in steps]
        told = figures(folder, load_digits().target)
    return {
        "consensus": told["consensus"]["acc"],
        "consensus_test": told["consensus"]["test_acc"],
        "single_search": float(np.mean(told["searches"]["acc"])),
        "kmeans": told["baselines"]["kmeans"]["acc"],
        "correct_of_40": told["selection"]["correct"],
        "fixmatch_test": told["train"]["test_acc"],
        "objective_correlation": told["objective_correlation"]["rho"],
        "seconds": sum(seconds),
        "seconds_discover": seconds[0],
        "seconds_train": seconds[2],
    }


def cifar(seed: int) -> dict[str, float]:
    """Searches on the two spaces of cifar10-dev.npz."""
    data = np.load(DATA / "cifar10-dev.npz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "labeller.npy", data["mobilenetv2"])
        np.save(folder / "judge.npy", data["resnet50s3"])
        np.save(folder / "split.npy", data["split"])
        spaces = ("--labeller", "labeller.npy", "--judge", "judge.npy", "--split", "split.npy")
        seconds = run(folder, "discover", *spaces, "--classes", "10", "--searches", "64", "--seed", str(seed))
        told = figures(folder, data["truth"])
    return {
        "consensus": told["consensus"]["acc"],
        "consensus_test": told["consensus"]["test_acc"],
        "single_search": float(np.mean(told["searches"]["acc"])),
        "kmeans": told["baselines"]["kmeans"]["acc"],
        "objective_correlation": told["objective_correlation"]["rho"],
        "seconds": seconds,
    }


def main() -> None:
    """Measure, print, write."""
    results = {"digits": {f"seed {seed}": digits(seed) for seed in SEEDS}}
    write(output("main_job.json"), results)
    if DATA.is_dir():
        results["cifar10-dev"] = {f"seed {seed}": cifar(seed) for seed in SEEDS}
        write(output("main_job.json"), results)
    for name, rows in results.items():
        print(table(name, rows), end="\n\n")


if __name__ == "__main__":
    main()
