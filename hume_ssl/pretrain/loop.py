"""SimCLR (arXiv:2002.05709): one loop, read from top to bottom."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hume_ssl import files
from hume_ssl.devices import pick_device
from hume_ssl.errors import InputError
from hume_ssl.pretrain.network import Contrasted
from hume_ssl.pretrain.state import Pretraining, Row
from hume_ssl.pretrain.views import apply_views, draw_views, rows
from hume_ssl.pretrain.watch import COLLAPSED, figures
from hume_ssl.pretrain_config import SMALL_CNN, UNIMPORTANT, PretrainConfig
from hume_ssl.progress import Progress, Silent
from hume_ssl.train import checkpoint
from hume_ssl.train.batches import Shuffled, generator, spread
from hume_ssl.train.devices import threads, tuned, use_bf16
from hume_ssl.train.feed import part
from hume_ssl.train.loop import digest
from hume_ssl.train.optimise import set_rate
from hume_ssl.train.sources import PixelSource
from hume_ssl.train.together import ALONE, Together

SHOW_EVERY = 10  # steps between figures in the progress line: reading them off a GPU waits for it
LOOKED_AT = 256  # images that go through the network at once when figures are taken


@dataclass(frozen=True)
class Pretrained:
    """A trained encoder.

    Attributes:
        encoder: its state dict, on the CPU.
        facts: what it is rebuilt from: network, channels, size (h, w), mean and std of the pixels in [0, 1].
        history: rows of figures, the last of the finished encoder.
        collapsed: whether all items look alike to it.
        steps: done in all.
    """

    encoder: dict[str, Tensor]
    facts: dict[str, Any]
    history: list[Row]
    collapsed: bool
    steps: int


def pretrain(
    images: np.ndarray,
    *,
    config: PretrainConfig,
    train: np.ndarray | None = None,
    device: str = "auto",
    checkpoint_dir: Path | None = None,
    metrics: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    together: Together = ALONE,
) -> Pretrained:
    """Train an encoder to know an image again under random changes among the others of its batch.

    Each step takes `batch` train items, shuffled epoch by epoch, in two random views each; the loss is NT-Xent over
    all of them. Killed at any moment and resumed from its checkpoint, a run gives the same weights and history: byte
    for byte on one machine's CPU (with the larger networks: with as many threads).

    Args:
        images: uint8 (n, h, w) or (n, h, w, c), all items, may be memory-mapped, trained on at the size they have.
        config: resolved settings.
        train: bool (n,), the items that may be learned from; None: all.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        checkpoint_dir: where checkpoints go; without it none are written.
        metrics: a file for the history, one line of JSON each row, as it grows.
        resume: go on from the checkpoint in `checkpoint_dir`, if there is one; else any checkpoint there is removed.
        progress: told of every step; on a resume, first of the steps already done.
        together: one of several processes that all call this with the same arguments; the results are those of one
            process within rounding. The first alone writes; all read its checkpoint.

    Raises:
        InputError: too few items for a batch, a checkpoint made from other settings, a loss that is no number.
    """
    progress, where = progress or Silent(), pick_device(device, mps=False)
    items = np.flatnonzero(np.ones(len(images), bool) if train is None else train)
    assert config.batch and config.steps and config.lr and config.eval_every and config.checkpoint_every  # resolved
    b, steps, lr = config.batch, config.steps, config.lr
    check_batch(b, len(items), together)
    loss_of = ntxent(config.temperature)
    source = PixelSource(images, where, flip=False, preset="fixmatch-paper")  # its own views are not taken
    mean, std = (value / 255 for value in source.statistics(items))
    run = Pretraining(config, shape=source.shape, statistics=(mean, std), device=where)
    settings = config.model_dump_json(exclude=UNIMPORTANT)
    identity = {
        "settings": digest(settings.encode()),
        "items": digest(f"{source.n} {source.shape}".encode(), items.tobytes()),
    }
    if checkpoint_dir and not resume:
        if together.first:
            checkpoint.clear(checkpoint_dir)
    elif checkpoint_dir and (found := checkpoint.load(checkpoint_dir)):
        checkpoint.go_on(checkpoint_dir, found, identity, steps, run.restore)
        progress.advance(run.step)

    model = together.wrap(run.model)  # in several processes, what averages gradients over them
    mixed = use_bf16(config.precision, where, config.network)
    order_seed, views_seed, look_seed = (int(s) for s in np.random.SeedSequence([config.seed, 1]).generate_state(3))
    order, mine = Shuffled(torch.from_numpy(items), order_seed), part(b, together.rank, together.world)
    looked_at = torch.from_numpy(spread(items, config.eval_items))

    def views(some: Tensor, drawn: torch.Generator, share: slice = slice(None)) -> list[Tensor]:
        pixels, (height, width) = source.plain(some[share]), source.shape[1:]
        draws = (
            draw_views(
                len(some), height, width, drawn, preset=config.views, flip=bool(config.flip), strength=config.strength
            )
            for _ in range(2)
        )
        return [apply_views(pixels, rows(draw, share)) for draw in draws]

    count = 1 if where.type == "cpu" and config.network == SMALL_CNN else torch.get_num_threads()
    with threads(count), tuned(where):
        while run.step < steps:
            first, second = views(batch_at(order, run.step, b, len(items)), generator(views_seed, run.step), mine)

            # one forward pass for both views of this process's images; then the projections of the whole batch
            with torch.autocast(where.type, torch.bfloat16, enabled=mixed):
                z = model(torch.cat([first, second]))
            one, other = together.everywhere(z.float(), [b, b])  # (b, projection) each
            loss = loss_of(one, other)

            rate = lr * warm_cosine(run.step, steps, config.warmup)
            set_rate(run.optimiser, rate)
            run.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            run.optimiser.step()
            run.step += 1
            run.count(loss)

            # what there is to tell, and to keep
            if run.step % config.eval_every == 0 or run.step == steps:
                run.check(lr)
                seen = look(run.model, views, looked_at, look_seed) if together.first else {}
                run.end_row(rate, seen)
                if metrics and together.first:
                    files.write_text(metrics, "".join(json.dumps(row) + "\n" for row in run.history))
            if checkpoint_dir and together.first and (run.step % config.checkpoint_every == 0 or run.step == steps):
                tensors, facts = run.save()
                checkpoint.save(checkpoint_dir, tensors, facts | {"identity": identity})
            if run.step % SHOW_EVERY == 0 or run.step == steps:
                progress.advance(1, loss=f"{loss.item():.3f}", **run.told())
            else:
                progress.advance(1)

    return Pretrained(
        encoder={name: t.detach().cpu().clone().contiguous() for name, t in run.model.encoder.state_dict().items()},
        facts={
            "network": config.network,
            "channels": source.shape[0],
            "size": list(source.shape[1:]),
            "mean": mean.tolist(),
            "std": std.clamp_min(1 / 255).tolist(),
            "views": config.views,
            "flip": config.flip,
            "steps": steps,
            "batch": b,
        },
        history=run.history,
        collapsed=bool(run.history) and run.history[-1].get("spread", 1.0) < COLLAPSED,
        steps=run.step,
    )


def check_batch(b: int, n: int, together: Together = ALONE) -> None:
    """Raise InputError unless n items fill a batch of b that the processes can share."""
    if b > n or b < 2:
        raise InputError(
            f"pretrain.batch {b} with {n} train items: give from 2 to {n} with --batch"
            if n > 1
            else f"{n} train item: contrast needs 2 or more"
        )
    if b % together.world:
        fitting = max(together.world, round(b / together.world) * together.world)
        raise InputError(
            f"pretrain.batch {b} cannot be shared by {together.world} processes: give --batch {fitting}, or another "
            "number of processes"
        )


def batch_at(order: Shuffled, step: int, b: int, n: int) -> Tensor:
    """The items (b,) of a step: whole batches of an epoch, the rest of it left out, so that none meets itself."""
    epoch, place = divmod(step, n // b)
    return order.at(epoch * n + place * b, b)


def warm_cosine(step: int, steps: int, warmup: float) -> float:
    """The factor on the learning rate before step `step` of `steps`: up in a line for a share of them, then half a
    cosine down over all of them."""
    rise = min(1.0, (step + 1) / (warmup * steps)) if warmup * steps > 1 else 1.0
    return rise * (1 + math.cos(math.pi * step / steps)) / 2


def ntxent(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """NT-Xent of two views' projections (b, p) each, by lightly: the negatives are all other rows of the batch.

    In several processes it is given the rows of all of them (`Together.everywhere`), so it gathers nothing itself.
    """
    need_lightly()
    made: Callable[[Tensor, Tensor], Tensor] = import_module("lightly.loss").NTXentLoss(temperature)
    return made


def need_lightly() -> None:
    """Raise InputError where lightly is not installed, with the command that installs it."""
    try:
        import_module("lightly.loss")
    except ImportError as error:
        raise InputError(f"pretrain needs the package lightly ({error}): pip install 'hume_ssl[pretrain]'") from error


@torch.no_grad()
def look(
    model: Contrasted, views: Callable[[Tensor, torch.Generator], list[Tensor]], items: Tensor, seed: int
) -> Mapping[str, float]:
    """Figures of the encoder's features of the same two views of some items (m,), each time it is asked."""
    model.eval()
    parts: list[list[Tensor]] = []
    for number, some in enumerate(items.split(LOOKED_AT)):  # type: ignore[no-untyped-call]
        parts.append([model.features(view).float().cpu() for view in views(some, generator(seed, number))])
    model.train()
    first, second = (torch.cat(kind) for kind in zip(*parts, strict=True))
    return figures(first, second)
