"""The report of a made run: `python tests/bench/report.py [--items 1000000] [--searches 100] [--classes 10] [FILE]`.

A run folder of the given size is made, with 8 x 8 images, one space of 64 columns and labellings that agree on nine
items of ten; then `hume-ssl report` runs as a program of its own, with its time and its largest memory taken from the
system. Writes FILE, by default tests/bench/results/report.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, write

from hume_ssl.config import DiscoverRecipe, override, to_toml
from hume_ssl.consensus import vote_share
from hume_ssl.files import table_of
from hume_ssl.items import load_items
from hume_ssl.run import RunFolder

# A process begun by this one, which is large, would count this one's memory as its own: a small one begins it.
MEASURED = """
import resource, subprocess, sys, time
began = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def make(folder: Path, n: int, r: int, k: int) -> RunFolder:
    """A run folder as a finished discover leaves it, of made labellings."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, k, n)
    images = generator.integers(0, 256, (n, 8, 8), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    run = RunFolder(folder / "hume-run")
    labellings = np.empty((r, n), dtype=np.int32)
    for row in labellings:
        row[:] = np.where(generator.random(n) < 0.9, labels, generator.integers(0, k, n))
    matching = np.tile(np.arange(k), (r, 1))
    weights = np.ones(r)
    agreement = vote_share(labellings, matching, weights, labels)
    recipe = override(DiscoverRecipe(name="made"), {"data.images": str(folder / "images.npy"), "data.classes": k})
    items = load_items(folder / "images.npy")
    run.begin_stage("discover", {"data.images": items.hash})
    run.write_text(run.recipe_toml, to_toml(recipe))
    space = generator.normal(size=(n, 64)).astype(np.float16) + labels[:, None].astype(np.float16)
    run.write_npy(run.space("labeller"), space)
    run.write_json(run.spaces_json, {"labeller": {"file": "labeller.npy", "encoder": "made"}})
    run.write_npy(run.labellings_npy, labellings)
    kept = {"matching": torch.from_numpy(matching), "ids": torch.arange(k)}
    run.write_safetensors(run.matching, kept, {"reference": 0})
    searches = {"seed": range(r), "objective": generator.random(r), "generalization_score": generator.random(r)}
    run.write_csv(run.searches_csv, table_of({**searches, "weight": weights, "left_out": [""] * r}))
    consensus = {
        "index": np.arange(n),
        "filepath": [f"folder-{i % 997:03d}/image-{i:07d}.jpg" for i in range(n)],
        "split": ["train"] * n,
        "label": labels,
        "agreement": agreement,
        "neighbour_agreement": np.round(generator.random(n), 2),
        "reliable": agreement > 0.5,
    }
    run.write_csv(run.consensus_csv, table_of(consensus))
    run.write_csv(run.classes_csv, table_of({"class": range(k), "name": [f"class-{i:02d}" for i in range(k)]}))
    run.finish_stage("discover", [run.consensus_csv], 1.0, classes=k, items=n, searches=r)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--searches", type=int, default=100)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("file", nargs="?", type=Path, default=RESULTS / "report.json")
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    for k in asked.classes:
        with tempfile.TemporaryDirectory() as name:
            run = make(Path(name), asked.items, asked.searches, k)
            command = [sys.executable, "-m", "hume_ssl", "report", "--run", str(run.path)]
            asked_of = subprocess.run([sys.executable, "-c", MEASURED, *command], stdout=subprocess.PIPE, check=True)
            seconds, memory = map(float, asked_of.stdout.split())
            figures[f"{k} classes"] = {
                "seconds": round(seconds, 2),
                "largest_memory_gib": round(memory / 2**20, 3),
                "megabytes": round(run.report_html.stat().st_size / 1e6, 2),
            }
            print(k, figures[f"{k} classes"], flush=True)
    write(asked.file, {"items": asked.items, "searches": asked.searches, **figures})


if __name__ == "__main__":
    main()
