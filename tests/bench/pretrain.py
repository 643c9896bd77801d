"""What a labeller trained on the images is worth: `python tests/bench/pretrain.py [DATA ...] [--seeds 1] [--kernels]`.

DATA: digits, usps, where the development data is there, and cifar10-dev, its images; the first two by default. For each
seed: `hume-ssl pretrain` as it is by default, then, with its space as labeller and as its own judge, the consensus of
50 searches, and that of 16 under --prior free (class sizes not taken to be equal). With --kernels also that of 50
searches judged by kernel:rbf, which takes some times as long, and, of seed 1, of two kernel spaces alone. All items are
train items.
Writes tests/bench/results/pretrain.json, one seed after the other, and keeps what it has of others. Training
takes one core: two data sets can be measured side by side on two.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, RESULTS, machine, table
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import hume_ssl
from hume_ssl.config import PretrainRecipe, override
from hume_ssl.disk import locked
from hume_ssl.evaluation import kmeans_baseline
from hume_ssl.items import load_items
from hume_ssl.run import RunFolder
from hume_ssl.stages.pretrain import pretrain

SEARCHES = 50
FREE_SEARCHES = 16  # of --prior free, which runs them at several strengths
KERNELS = ("kernel:rbf?width=0.5&dim=512", "kernel:rbf?width=0.7&dim=1024")


def images_of(name: str, folder: Path) -> tuple[str, NDArray[np.int64]]:
    """What `--images` takes, and the truth."""
    if name == "digits":
        return "digits", load_digits().target
    if name == "usps":
        stored = np.load(DATA / "usps.npz")
        np.save(folder / "usps.npy", stored["images"])
        return str(folder / "usps.npy"), stored["truth"]
    with zipfile.ZipFile(DATA / "cifar10-dev-images.zip") as archive:
        archive.extractall(folder)
    return str(folder / "images"), np.load(DATA / "cifar10-dev.npz")["truth"]


def consensus(truth: NDArray[np.int64], seed: int, searches: int = SEARCHES, **spaces: Any) -> tuple[float, float]:
    """Accuracy of the consensus, and seconds of searches and consensus."""
    began = time.monotonic()
    found = hume_ssl.discover(classes=10, searches=searches, seed=seed, device="cpu", **spaces)
    seconds = time.monotonic() - began
    return hume_ssl.evaluate(found, truth)["consensus"]["acc"], seconds


def measure(name: str, seed: int, *, kernels: bool, alone: bool) -> dict[str, float]:
    """The figures of one seed; `kernels`: kernel:rbf as judge too; `alone`: and two kernel spaces alone."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images, truth = images_of(name, folder)
        recipe = override(PretrainRecipe(name="bench"), {"data.images": images, "pretrain.seed": seed})
        wall, processor = time.monotonic(), time.process_time()
        made = pretrain(recipe, RunFolder(folder / "run"), print, device="cpu", show=False)
        figures: dict[str, float] = {
            "pretrain_seconds": time.monotonic() - wall,
            "pretrain_cpu_seconds": time.process_time() - processor,
        }
        figures |= {key: made["figures"][key] for key in ("found_again", "spread", "effective_rank")}
        space = np.load(made["space"])
        pixels = load_items(images).pixels()
    everything = np.ones(len(truth), dtype=bool)
    figures["kmeans"] = kmeans_baseline([space], everything, truth, 10)
    figures["consensus_itself"], figures["seconds_itself"] = consensus(truth, seed, labeller=space, judges=[space])
    free = consensus(truth, seed, FREE_SEARCHES, labeller=space, judges=[space], prior="free")
    figures["consensus_itself_free"], figures["seconds_itself_free"] = free
    if not kernels:
        return figures
    judged = consensus(truth, seed, images=pixels, labeller=space, encoders=["kernel:rbf"])
    figures["consensus_kernel_judge"], figures["seconds_kernel_judge"] = judged
    if alone:
        kernels = consensus(truth, seed, images=pixels, encoders=KERNELS)
        figures["consensus_kernels_alone"], figures["seconds_kernels_alone"] = kernels
    return figures


def keep(name: str, seeds: dict[str, dict[str, float]]) -> None:
    """Add figures of a data set to the results."""
    path = RESULTS / "pretrain.json"
    with locked(RESULTS):
        known = json.loads(path.read_text()) if path.is_file() else {}
        before = known.get(name, {}) if known.get("searches") == SEARCHES else {}
        seeds = dict(sorted((before | seeds).items()))
        known |= {"machine": {**machine(), "load": os.getloadavg()}, "searches": SEARCHES, name: seeds}
        path.write_text(json.dumps(known, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", default=["digits", "usps"], metavar="DATA")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--kernels", action="store_true")
    asked = parser.parse_args()
    for name in asked.data:
        seeds: dict[str, dict[str, float]] = {}
        for seed in asked.seeds:
            seeds[f"seed {seed}"] = measure(name, seed, kernels=asked.kernels, alone=seed == 1)
            print(table(name, seeds), flush=True)
            keep(name, seeds)


if __name__ == "__main__":
    main()
