"""FixMatch on a frozen encoder: `python tests/bench/head.py [FILE]`; ten minutes on one core, the second time three.

cifar10-dev's images through squeezenet1_1 at 128 pixels, 5,000 train and 1,000 test items; 25 and 4 true labels a class
drawn by seed, seeds 0 to 4: test accuracy of a head under each algorithm, beside logistic regression on the same
features and labels (standardised features at scikit-learn's defaults, the best of five C for the test accuracy itself,
and the features' square roots that the head sees). What the head's settings were chosen on: label draws 10 to 13 and
the unlabelled train items. The views are kept in CACHE, an environment variable naming a folder, else a temporary one.
Prints tables, and writes FILE, by default tests/bench/results/head.json.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, output, table, write
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import hume_ssl
from hume_ssl.items import Items, load_items
from hume_ssl.progress import track
from hume_ssl.spaces.embed import embed
from hume_ssl.spaces.spec import parse_spec
from hume_ssl.train.feature_sources import NoisySource, ViewSource
from hume_ssl.train.feature_views import ViewPlan, describe_views, embed_views, views_name
from hume_ssl.train_config import TrainConfig

SEEDS, COUNTS = range(5), (25, 4)
ALGORITHMS = ("fixmatch", "supervised", "flexmatch", "freematch", "softmatch")
STRENGTHS = (1.0, 0.1, 0.01, 0.001, 0.0001)  # C of logistic regression; the first is the default

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]


def main() -> None:
    """Measure, print, write after each row; rows that FILE has already are kept, so that a run cut off goes on."""
    import torch

    cpu = torch.device("cpu")
    stored = np.load(DATA / "cifar10-dev.npz")
    truth, train = stored["truth"].astype(np.int64), stored["split"] == "train"
    path = output("head.json")
    figures: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    figures.pop("machine", None)
    with tempfile.TemporaryDirectory() as scratch:
        views, plain = embedded(Path(os.environ.get("CACHE", scratch)), train, figures)
        noise = TrainConfig().feature_noise
        wanted: list[tuple[str, Any, Any, int, tuple[str, ...]]] = []
        for n in COUNTS:
            name = f"squeezenet1_1 views, {n} a class"
            wanted.append((name, plain, lambda: ViewSource(views, ViewPlan().weak, cpu), n, ALGORITHMS[:2]))
        for name in ("resnet50s3", "mobilenetv2"):
            space = stored[name].astype(np.float32)
            noisy = partial(NoisySource, space, train, noise, cpu)
            wanted += [(f"{name} with noise, {n} a class", space, noisy, n, ALGORITHMS[:2]) for n in COUNTS]
        for n in COUNTS:
            name = f"squeezenet1_1 views, {n} a class"
            wanted.append((name, plain, lambda: ViewSource(views, ViewPlan().weak, cpu), n, ALGORITHMS[2:]))
        for name, space, source, n, algorithms in wanted:
            rows = figures.setdefault(name, {})
            draws = [draw(truth, train, n, seed) for seed in SEEDS]
            if not rows.keys() - set(ALGORITHMS):
                rows |= told(baselines(space, truth, train, draws))
                write(path, figures)
            for algorithm in algorithms:
                if algorithm not in rows:
                    rows |= told({algorithm: heads(source(), algorithm, truth, train, draws)})
                    write(path, figures)
            columns = {column: {row: rows[row][column] for row in rows} for column in ("mean", "std")}
            print(table(name, columns), flush=True)


def embedded(folder: Path, train: NDArray[np.bool_], figures: dict[str, Any]) -> tuple[Any, Floats]:
    """The views, and the space that the encoder gives the images as they are; both are kept in `folder`."""
    items = images(folder)
    spec = parse_spec(f"torchvision:squeezenet1_1@{DATA / 'squeezenet1_1-imagenet.pth'}?size=128")
    path = folder / f"{views_name(describe_views(items, spec, ViewPlan()))}.npy"
    there, began, busy = path.is_file(), time.monotonic(), time.process_time()
    with track(len(items), "views") as progress:
        views = embed_views(items, spec, ViewPlan(), path, progress=progress)
    if not there:
        count, busy = len(items) * ViewPlan().count, time.process_time() - busy
        figures["embedding"] = {"images": count, "seconds": time.monotonic() - began, "processor_seconds": busy}
    if not (folder / "plain.npy").is_file():
        np.save(folder / "plain.npy", embed(items, spec, train, device="cpu"))
    return views, np.load(folder / "plain.npy")


def images(folder: Path) -> Items:
    """The 6,000 images, unpacked in `folder`."""
    if not (folder / "images").is_dir():
        with zipfile.ZipFile(DATA / "cifar10-dev-images.zip") as archive:
            archive.extractall(folder)
    return load_items(folder / "images")


def draw(truth: Ids, train: NDArray[np.bool_], n: int, seed: int) -> Ids:
    """`n` train items of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(train & (truth == c)))[:n] for c in range(10)])


def baselines(
    space: Floats, truth: Ids, train: NDArray[np.bool_], draws: list[Ids]
) -> dict[str, list[dict[str, float]]]:
    """Logistic regression on the labelled items, one dict a draw."""
    inputs = {"": StandardScaler().fit(space[train]).transform(space)}
    one_scale = space - space[train].mean(0)
    inputs[", one scale for all features"] = one_scale / np.sqrt(np.square(one_scale[train]).mean())
    if space.min() >= 0:
        inputs[", square roots"] = StandardScaler().fit(np.sqrt(space[train])).transform(np.sqrt(space))
    rows: dict[str, list[dict[str, float]]] = {}
    for kind, x in inputs.items():
        tried = {}
        for c in STRENGTHS:
            fits = [LogisticRegression(C=c, max_iter=2000).fit(x[drawn], truth[drawn]) for drawn in draws]
            tried[c] = [{"test": float(np.mean(fit.predict(x[~train]) == truth[~train]))} for fit in fits]
        rows[f"logistic regression{kind}, C 1"] = tried[1.0]
        best = max(STRENGTHS, key=lambda c: float(np.mean([row["test"] for row in tried[c]])))
        rows[f"logistic regression{kind}, best C ({best:g})"] = tried[best]
    return rows


def heads(
    source: Any, algorithm: str, truth: Ids, train: NDArray[np.bool_], draws: list[Ids]
) -> list[dict[str, float]]:
    """A head trained on the labelled items, one dict a draw."""
    rows = []
    for seed, drawn in zip(SEEDS, draws, strict=True):
        config = TrainConfig(algorithm=algorithm, seed=seed)  # type: ignore[arg-type]
        began = time.process_time()
        result = hume_ssl.train_fixmatch(
            source, drawn, truth[drawn], classes=10, train=train, config=config, device="cpu"
        )
        right = result.predictions == truth
        busy = time.process_time() - began
        rows.append({"test": float(right[~train].mean()), "processor_seconds": busy})
        print(algorithm, len(drawn), seed, rows[-1], flush=True)
    return rows


def told(rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds, and each of them."""
    out = {}
    for name, runs in rows.items():
        test = [run["test"] for run in runs]
        out[name] = {"mean": float(np.mean(test)), "std": float(np.std(test, ddof=1)), "seeds": test}
        if "processor_seconds" in runs[0]:
            out[name]["processor_seconds"] = float(np.mean([run["processor_seconds"] for run in runs]))
    return out


if __name__ == "__main__":
    main()
