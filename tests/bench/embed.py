"""Images a second of `embed` against a plain loop over a torchvision ImageFolder, on the same images and weights.

    python tests/bench/embed.py [FILE]

6,000 JPEG of 32 x 32 pixels (CIFAR-10), squeezenet1_1 at 128 pixels, decoding included, in turns in one process, median
of three. The plain loop is what torchvision's documentation shows: ImageFolder with Resize, ToTensor and Normalize, a
DataLoader of batches of 64 (without and with two worker processes), the network under no_grad, rows collected. Ours is
`hume_ssl.spaces.embed` in float32 and, where the processor computes in it, in bfloat16. Writes FILE, by default
tests/bench/results/embed.json.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from common import DATA, output, write
from torchvision import transforms

from hume_ssl.items import load_items
from hume_ssl.search.precision import has_bfloat16
from hume_ssl.spaces.embed import embed
from hume_ssl.spaces.encode import Meter
from hume_ssl.spaces.spec import parse_spec

WEIGHTS = DATA / "squeezenet1_1-imagenet.pth"
REPEATS = 3


def plain(folder: Path, workers: int) -> np.ndarray:
    """The loop that people write."""
    network = torchvision.models.squeezenet1_1(weights=None)
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    network.eval()
    prepare = transforms.Compose(
        [
            transforms.Resize((128, 128)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    images = torchvision.datasets.ImageFolder(str(folder), prepare)
    rows = []
    with torch.no_grad():
        for batch, _ in torch.utils.data.DataLoader(images, batch_size=64, num_workers=workers):
            rows.append(network.features(batch).mean(dim=(2, 3)).numpy())
    return np.concatenate(rows)


def ours(folder: Path, precision: str, meter: Meter) -> np.ndarray:
    """The space of `hume-ssl embed`."""
    items = load_items(folder)
    spec = parse_spec(f"torchvision:squeezenet1_1@{WEIGHTS}?size=128")
    with tempfile.TemporaryDirectory() as there:
        space = embed(
            items,
            spec,
            np.ones(len(items), bool),
            device="cpu",
            precision=precision,
            path=Path(there) / "space.npy",
            meter=meter,
        )
        return np.array(space)


def main() -> None:
    path = output("embed.json")
    figures: dict[str, Any] = {"bfloat16 in hardware": has_bfloat16("cpu")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(DATA / "cifar10-dev-images.zip") as archive:
            archive.extractall(folder)
        ways: dict[str, Callable[[Meter], np.ndarray]] = {
            "plain loop": lambda meter: plain(folder, 0),
            "plain loop, 2 workers": lambda meter: plain(folder, 2),
            "ours, float32": lambda meter: ours(folder, "float32", meter),
        }
        if has_bfloat16("cpu"):
            ways["ours, bfloat16"] = lambda meter: ours(folder, "bfloat16", meter)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        spaces, meters = {}, {way: Meter() for way in ways}
        for _ in range(REPEATS):
            for way, run in ways.items():
                began = time.perf_counter()
                spaces[way] = run(meters[way])
                seconds[way].append(time.perf_counter() - began)
                print(f"{way}: {seconds[way][-1]:.1f} s", flush=True)
        n = len(spaces["plain loop"])
        reference = spaces["plain loop"]
        for way, taken in seconds.items():
            figures[way] = {
                "images_per_second": round(n / statistics.median(taken), 1),
                "seconds": [round(one, 2) for one in taken],
                "times_plain": round(statistics.median(seconds["plain loop"]) / statistics.median(taken), 2),
                "times_plain_2_workers": round(
                    statistics.median(seconds["plain loop, 2 workers"]) / statistics.median(taken), 2
                ),
                "largest_difference": float(np.abs(spaces[way] - reference).max()),
                "largest_value": float(np.abs(reference).max()),
            }
            if meters[way].seconds:
                figures[way]["cores_busy"] = round(meters[way].busy("cpu"), 3)
            print(way, figures[way], flush=True)
        write(path, figures)


if __name__ == "__main__":
    main()
