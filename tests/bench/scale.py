"""Matching and voting at ImageNet's size: 1.28 million items, 100 searches, 1,000 classes (made labellings).

python tests/bench/scale.py [FILE]: seconds and peak memory (of a process of its own, mapped labellings included).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import output, write

N, R, K = 1_280_000, 100, 1000
WRONG = 0.3  # share of random labels in a made labelling


def make(folder: Path) -> None:
    """(r, n) int32 labellings of one truth, each with other class ids and errors of its own; written row by row."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, K, N)
    labellings = np.lib.format.open_memmap(folder / "labellings.npy", "w+", dtype=np.int32, shape=(R, N))
    for row in labellings:
        row[:] = rng.permutation(K)[np.where(rng.random(N) < WRONG, rng.integers(0, K, N), truth)]
    np.save(folder / "truth.npy", truth)


def measure(folder: Path) -> None:
    """The consensus of the labellings in `folder`; figures on stdout as JSON."""
    from hume_ssl.consensus import find_consensus

    labellings = np.load(folder / "labellings.npy", mmap_mode="r")
    rng = np.random.default_rng(1)
    began = time.perf_counter()
    found = find_consensus(labellings, K, scores=rng.random(R), objective=rng.random(R), classes_found=[K] * R)
    seconds = time.perf_counter() - began
    truth = np.load(folder / "truth.npy")
    same = np.bincount(found.labels * K + truth, minlength=K * K).reshape(K, K).max(1).sum() / N
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak_gib": peak, "items_in_their_class": float(same)}))


def main() -> None:
    """Make, measure in a process of its own, print, write."""
    with tempfile.TemporaryDirectory() as name:
        if sys.argv[1:2] == ["--measure"]:
            return measure(Path(sys.argv[2]))
        make(Path(name))
        told = subprocess.run(
            [sys.executable, __file__, "--measure", name], check=True, capture_output=True, text=True
        ).stdout
    figures = {"items": N, "searches": R, "classes": K, **json.loads(told)}
    print(figures)
    write(output("scale.json"), figures)


if __name__ == "__main__":
    main()
