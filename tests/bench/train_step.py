"""The training step beside that of FixMatch-pytorch: `python tests/bench/train_step.py --theirs DIR [--batch 16] ...`.

DIR is a checkout of github.com/kekmodel/FixMatch-pytorch (measured at commit 040be3b); nothing of it is kept here.
WRN-28-2, images of 32 x 32 pixels, B labelled and 7 B unlabelled ones in two views: 15 B images through the network a
step. Ours is `hume_ssl.train_fixmatch` as it is, its views included. Theirs is its model, optimiser, schedule, average,
interleaving and losses as its train.py puts them together, in float32, fed with finished tensors; its transforms are
measured apart, through its own kind of DataLoader. Steps of both take turns in one process, so that whatever else the
machine does meets both; the ratio is the median over turns, by the clock and by the time spent on cores (which other
programs on the machine lengthen less). Ours is measured as it runs by default and in float32.
Without --theirs ours alone is measured. On a GPU a turn is 20 steps, with synchronisation at its ends alone.
Writes FILE (--out), by default tests/bench/results/train_step.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, table, write
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as nnf
from torch.utils.data import DataLoader

import hume_ssl
from hume_ssl.train.feed import Steps
from hume_ssl.train.sources import PixelSource
from hume_ssl.train_config import TrainConfig

MU, SIDE, CLASSES, ITEMS = 7, 32, 10, 1024
Turn = Callable[[], None]
Spent = NDArray[np.float64]


def spent(device: str) -> NDArray[np.float64]:
    """Seconds by the clock, and of this process's threads on the cores, once the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


class Turns:
    """Progress display of our training that lets the other step run between turns of ours, and times both."""

    def __init__(self, block: int, device: str, step: Turn | None) -> None:
        self.block, self.device, self.step = block, device, step
        self.ours: list[Spent] = []
        self.theirs: list[Spent] = []
        self.steps = 0
        self.began = spent(device)

    def advance(self, n: int = 1, **info: object) -> None:
        """After a step of ours; every `block` of them is a turn."""
        self.steps += n
        if self.steps % self.block:
            return
        ended = spent(self.device)
        self.ours.append((ended - self.began) / self.block)
        if self.step is not None:
            for _ in range(self.block):
                self.step()
            self.theirs.append((spent(self.device) - ended) / self.block)
        self.began = spent(self.device)


def random_images(n: int) -> np.ndarray:
    """uint8 (n, 32, 32, 3); what is in them makes no difference to the time."""
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


def run_turns(args: argparse.Namespace, precision: str, theirs: Turn | None) -> Turns:
    """Our training, interrupted by the other one; the first turn warms up and is left out of the figures."""
    block = 20 if args.device == "cuda" else 1
    steps = (args.turns + 2) * block  # the last step evaluates
    settings: dict[str, Any] = {"network": "wrn-28-2", "steps": steps, "batch": args.batch, "mu": MU, "flip": True}
    settings |= {"precision": precision, "eval_every": steps, "eval_items": 1, "checkpoint_every": steps}
    turns = Turns(block, args.device, theirs)
    hume_ssl.train_fixmatch(
        random_images(ITEMS),
        np.arange(40),
        np.arange(40) % CLASSES,
        classes=CLASSES,
        config=TrainConfig(**settings, lr=0.03, lambda_u=1.0),
        device=args.device,
        progress=turns,
    )
    turns.ours, turns.theirs = turns.ours[1:-1], turns.theirs[1:-1]
    return turns


def import_theirs(folder: Path) -> types.ModuleType:
    """Its train.py as a module; what it only needs for displays may be absent here."""
    sys.path.insert(0, str(folder))
    for name, attribute in (("torch.utils.tensorboard", "SummaryWriter"), ("tqdm", "tqdm")):
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = types.ModuleType(name)
            setattr(sys.modules[name], attribute, None)
    import train  # type: ignore[import-not-found]

    return train


def their_step(folder: Path, batch: int, device: str) -> Turn:
    """One step as in its train(): float32, SGD, LambdaLR, ModelEMA, figures read off at every step."""
    theirs = import_theirs(folder)
    from models.ema import ModelEMA  # type: ignore[import-not-found]
    from models.wideresnet import build_wideresnet  # type: ignore[import-not-found]

    model = build_wideresnet(depth=28, widen_factor=2, dropout=0, num_classes=CLASSES).to(device)
    plain = [p for name, p in model.named_parameters() if "bias" in name or "bn" in name]
    kernels = [p for name, p in model.named_parameters() if not ("bias" in name or "bn" in name)]
    groups = [{"params": kernels, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.03, momentum=0.9, nesterov=True)
    schedule = theirs.get_cosine_schedule_with_warmup(optimiser, 0, 2**20)
    average = ModelEMA(argparse.Namespace(device=device), model, 0.999)
    x, weak, strong = (torch.randn(count * batch, 3, SIDE, SIDE) for count in (1, MU, MU))
    labels = torch.arange(batch) % CLASSES
    model.train()

    def step() -> None:
        inputs = theirs.interleave(torch.cat((x, weak, strong)), 2 * MU + 1).to(device)
        logits = theirs.de_interleave(model(inputs), 2 * MU + 1)
        of_weak, of_strong = logits[batch:].chunk(2)
        labelled = nnf.cross_entropy(logits[:batch], labels.to(device))
        confidence, guessed = of_weak.detach().softmax(-1).max(-1)
        mask = confidence.ge(0.95).float()
        unlabelled = (nnf.cross_entropy(of_strong, guessed, reduction="none") * mask).mean()
        loss = labelled + unlabelled
        loss.backward()
        _ = loss.item(), labelled.item(), unlabelled.item()
        optimiser.step()
        schedule.step()
        average.update(model)
        model.zero_grad()
        _ = mask.mean().item()

    return step


class Transformed(torch.utils.data.Dataset[Any]):
    """Its two views of an unlabelled image."""

    def __init__(self, images: np.ndarray, transform: Callable[[Image.Image], Any]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: int) -> Any:
        return self.transform(Image.fromarray(self.images[item]))


def their_views(batch: int, workers: int, batches: int) -> float:
    """Views a second of its transforms for unlabelled images, from DataLoader workers that do nothing else."""
    from dataset.cifar import TransformFixMatch, cifar10_mean, cifar10_std  # type: ignore[import-not-found]

    data = Transformed(random_images(MU * batch * (batches + 2)), TransformFixMatch(cifar10_mean, cifar10_std))
    loader = iter(DataLoader(data, batch_size=MU * batch, num_workers=workers, drop_last=True))
    next(loader)
    began = time.perf_counter()
    for _ in range(batches):
        next(loader)
    return 2 * MU * batch * batches / (time.perf_counter() - began)


def our_views(batch: int, device: str, batches: int) -> float:
    """Views a second of ours, made where the network runs, labelled ones included."""
    source = PixelSource(random_images(ITEMS), torch.device(device), flip=True, preset="fixmatch-paper")
    steps = Steps(source, torch.arange(40), torch.arange(ITEMS), b=batch, u=MU * batch, seed=0, share=(0, 1))
    steps[0]
    began = spent(device)[0]
    for number in range(batches):
        steps[1 + number]
    return (2 * MU + 1) * batch * batches / (spent(device)[0] - began)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theirs", type=Path, help="checkout of FixMatch-pytorch; without it ours alone is measured")
    parser.add_argument("--batch", type=int, default=64, help="labelled images a step")
    parser.add_argument("--turns", type=int, default=12, help="turns that are counted")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=2, help="of its DataLoader")
    parser.add_argument("--out", type=Path, default=RESULTS / "train_step.json")
    args = parser.parse_args()
    step = their_step(args.theirs, args.batch, args.device) if args.theirs else None
    if step is None:
        print("no --theirs: ours alone is measured")
    images = (2 * MU + 1) * args.batch
    load = [os.getloadavg()[0]]
    columns: dict[str, dict[str, Any]] = {}
    for name, precision in (("by default", "auto"), ("float32", "float32")):
        turns = run_turns(args, precision, step)
        figures: dict[str, Any] = {}
        for kind, what in ((0, "a second"), (1, "a second of a core")):
            if args.device == "cuda" and kind == 1:
                continue
            ours = [turn[kind] for turn in turns.ours]
            figures[f"ours, images {what}"] = images / statistics.median(ours)
            if step is not None:
                theirs = [turn[kind] for turn in turns.theirs]
                ratios = sorted(their / our for their, our in zip(theirs, ours, strict=True))
                figures[f"theirs, images {what}"] = images / statistics.median(theirs)
                figures[f"ratio {what}: median"] = statistics.median(ratios)
                figures[f"ratio {what}: least to most"] = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        columns[name] = figures
    load.append(os.getloadavg()[0])
    views = {"ours": our_views(args.batch, args.device, 5)}
    if args.theirs:
        views["theirs"] = their_views(args.batch, args.workers, 5)
    print(table(f"a step of {images} images", columns))
    print(table("views alone", {"a second": views}))
    threads = torch.get_num_threads()
    settings = {"batch": args.batch, "images": images, "device": args.device, "threads": threads, "turns": args.turns}
    write(args.out, {**settings, "load": load, "step": columns, "views": views})


if __name__ == "__main__":
    main()
