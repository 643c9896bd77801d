"""FixMatch training: one loop, read from top to bottom."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hume_ssl.errors import InputError
from hume_ssl.progress import Progress, Silent
from hume_ssl.train import checkpoint
from hume_ssl.train.algorithms import RULES, labelled_loss, pseudo_targets, unlabelled_loss
from hume_ssl.train.augment import strong, weak
from hume_ssl.train.batches import channel_statistics, chunks, pixel_source
from hume_ssl.train.devices import pick_device, threads, use_bf16
from hume_ssl.train.optimise import cosine
from hume_ssl.train.state import Row, Training
from hume_ssl.train_config import TrainConfig

SHOW_EVERY = 10  # steps between figures in the progress line: reading them off a GPU waits for it


@dataclass(frozen=True)
class TrainResult:
    """What a training gives, for `n` items and `k` classes; all of it from the averaged (EMA) model at the last step.

    Attributes:
        state_dict: of a :class:`~hume_ssl.train.models.Classifier`: contiguous CPU tensors, normalisation included.
        probabilities: float32 (n, k) for all items, train or not, without augmentation.
        predictions: int64 (n,), the most probable class.
        history: one row every `eval_every` steps, with means over those steps: step, loss, labelled_loss,
            unlabelled_loss, mask_rate (share of unlabelled images learned from), pseudo_agreement (share of those whose
            pseudo-label is the consensus class; None without a consensus or where nothing was learned from), lr.
        steps: optimiser steps in all, those before a resume included.
        seconds: of this call.
        config: the resolved settings.
    """

    state_dict: dict[str, Tensor]
    probabilities: np.ndarray
    predictions: np.ndarray
    history: list[Row]
    steps: int
    seconds: float
    config: TrainConfig


def train_fixmatch(
    images: np.ndarray,
    labelled: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    train: np.ndarray | None = None,
    config: TrainConfig | None = None,
    device: str = "auto",
    checkpoint_dir: Path | None = None,
    resume: bool = False,
    label_hash: str = "",
    progress: Progress | None = None,
    consensus: np.ndarray | None = None,
) -> TrainResult:
    """Train a classifier from a few labelled items and all others without labels (FixMatch, arXiv:2001.07685).

    Each step takes `batch` labelled items and `mu * batch` of all train items, labelled ones included unless
    `exclude_labelled`; both streams are shuffled epoch by epoch. One forward pass serves the labelled, weak and strong
    views together, so batch norm sees all three. Killed at any moment and resumed from its checkpoint, a run gives the
    same weights and history: byte for byte on one machine's CPU (with the larger networks: with as many threads).

    Args:
        images: uint8 (n, h, w) or (n, h, w, c), all items; may be memory-mapped.
        labelled: int (m,), indices of the labelled items, all of them train items.
        labels: int (m,), their classes, 0 to classes - 1.
        classes: k.
        train: bool (n,), the items that may be learned from; all by default.
        config: settings; `"auto"` in them is resolved here from the size of the images.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        checkpoint_dir: where checkpoints go; without it none are written.
        resume: go on from the checkpoint in `checkpoint_dir`, if there is one; else any checkpoint there is removed.
        label_hash: names the label file; by default a hash of `labelled` and `labels`.
        progress: told of every step; on a resume, first of the steps already done.
        consensus: int (n,), -1 = unknown; only for a figure in the history.

    Raises:
        InputError: arrays that do not fit together, or a checkpoint made from other labels or settings.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    n = len(images)
    train = np.ones(n, bool) if train is None else np.asarray(train, bool)
    labelled, labels = np.array(labelled, np.int64), np.array(labels, np.int64)
    known = np.full(n, -1) if consensus is None else np.array(consensus, np.int64)
    check_inputs(images, labelled, labels, classes, train, known)
    channels, height, width = (1 if images.ndim == 3 else images.shape[3], *images.shape[1:3])
    config = (config or TrainConfig()).resolve(max(height, width), channels, pick_device(device).type)
    pool = np.setdiff1d(np.flatnonzero(train), labelled) if config.exclude_labelled else np.flatnonzero(train)
    if len(pool) == 0:
        raise InputError(f"exclude_labelled leaves no unlabelled item: all {len(labelled)} train items are labelled")

    where = pick_device(device)
    run = Training(
        config,
        shape=(channels, height, width),
        classes=classes,
        statistics=channel_statistics(images, np.flatnonzero(train)),
        labelled=labelled,
        pool=pool,
        n=n,
        device=where,
    )
    identity = {
        "label file": label_hash or digest(labelled.tobytes(), labels.tobytes()),
        "settings": digest(config.model_dump_json().encode()),
        "items": digest(f"{images.shape} {classes}".encode(), train.tobytes()),
    }
    if checkpoint_dir and not resume:
        checkpoint.clear(checkpoint_dir)
    elif checkpoint_dir and (found := checkpoint.load(checkpoint_dir)):
        checkpoint.check_same(found[1]["identity"], identity, checkpoint_dir)
        run.restore(*found)
        progress.advance(run.step)

    pixels = pixel_source(images, where)
    rule = RULES[config.algorithm]
    flip, mixed = bool(config.flip), use_bf16(config.precision, where)
    steps, b, lambda_u = int(config.steps), int(config.batch), float(config.lambda_u)
    u = int(config.mu) * b
    label_of = torch.full((n,), -1)
    label_of[torch.from_numpy(labelled)] = torch.from_numpy(labels)
    consensus_of = torch.tensor(known)  # a copy: the array may be read-only

    with threads(1 if where.type == "cpu" and config.network == "small-cnn" else torch.get_num_threads()):
        while run.step < steps:
            # items (b,), (u,) and their three kinds of views
            with_label, without = run.labelled.next(b), run.unlabelled.next(u)
            x = weak(pixels(with_label), run.views, flip=flip)
            unlabelled = pixels(without)
            u_weak = weak(unlabelled, run.views, flip=flip)
            u_strong = strong(unlabelled, run.views, flip=flip, preset=config.augment)

            # one forward pass for all of them
            with torch.autocast(where.type, torch.bfloat16, enabled=mixed):
                logits = run.model(torch.cat([x, u_weak, u_strong]))  # (b + 2u, k)
            of_labelled, of_weak, of_strong = logits.split([b, u, u])
            targets, run.rule_state = pseudo_targets(rule, of_weak, without, run.rule_state, config)
            labelled_part = labelled_loss(of_labelled, label_of[with_label].to(where))
            unlabelled_part = unlabelled_loss(of_strong, targets)
            loss = labelled_part + lambda_u * unlabelled_part

            # one optimiser step, and the average follows
            lr = float(config.lr) * cosine(run.step, steps)
            for group in run.optimiser.param_groups:
                group["lr"] = lr
            run.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            run.optimiser.step()
            run.ema.update_parameters(run.model)
            run.step += 1

            # what there is to tell, and to keep
            expected = consensus_of[without].to(where)  # (u,), -1 where unknown
            comparable = (targets.weights > 0) & (expected >= 0)
            agreeing = comparable & (targets.labels == expected)
            one, used = torch.ones((), device=where), targets.weights.mean()
            run.count(one, loss, labelled_part, unlabelled_part, used, agreeing.sum(), comparable.sum())
            if run.step % int(config.eval_every) == 0 or run.step == steps:
                run.end_row(lr)
            if checkpoint_dir and (run.step % int(config.checkpoint_every) == 0 or run.step == steps):
                tensors, facts = run.save()
                checkpoint.save(checkpoint_dir, tensors, facts | {"identity": identity})
            if run.step % SHOW_EVERY == 0 or run.step == steps:
                progress.advance(1, loss=f"{loss.item():.3f}", used=f"{used.item():.0%}")
            else:
                progress.advance(1)

        averaged_model = run.ema.module
        probabilities = predict(averaged_model, images, where, mixed=mixed)

    return TrainResult(
        state_dict={name: t.detach().cpu().clone().contiguous() for name, t in averaged_model.state_dict().items()},
        probabilities=probabilities,
        predictions=probabilities.argmax(1),
        history=run.history,
        steps=run.step,
        seconds=time.perf_counter() - began,
        config=config,
    )


def predict(
    model: nn.Module, images: np.ndarray, device: torch.device, *, mixed: bool = False, chunk: int = 1024
) -> np.ndarray:
    """Class probabilities of all images in their order: uint8 (n, h, w[, c]) to float32 (n, k), in chunks."""
    model.eval()
    pixels = pixel_source(images, device)
    parts = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        for items in chunks(np.arange(len(images)), chunk):
            parts.append(model(pixels(torch.from_numpy(items))).softmax(1).cpu())
    probabilities: np.ndarray = torch.cat(parts).numpy()
    return probabilities


def check_inputs(
    images: np.ndarray, labelled: np.ndarray, labels: np.ndarray, classes: int, train: np.ndarray, known: np.ndarray
) -> None:
    """Refuse arrays that do not fit together; shapes as in :func:`train_fixmatch`."""
    n = len(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(
            f"images are {images.dtype} of shape {images.shape}; give uint8 of shape (n, h, w) or (n, h, w, c)"
        )
    if train.shape != (n,) or known.shape != (n,):
        raise InputError(
            f"train has shape {train.shape} and consensus {known.shape}; give one value for each of {n} items"
        )
    if labelled.ndim != 1 or labelled.shape != labels.shape or len(labelled) == 0:
        raise InputError(
            f"{labelled.shape} labelled items and {labels.shape} labels; give one label an item, at least one"
        )
    if labelled.min() < 0 or labelled.max() >= n or len(np.unique(labelled)) < len(labelled):
        raise InputError(f"labelled items must be different indices from 0 to {n - 1}")
    if not train[labelled].all():
        raise InputError(f"labelled item {labelled[~train[labelled]][0]} is a test item; label train items only")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"labels from {labels.min()} to {labels.max()} for {classes} classes; give 0 to {classes - 1}")


def digest(*parts: bytes) -> str:
    """sha256 of the parts, in hexadecimal."""
    together = hashlib.sha256()
    for one in parts:
        together.update(one)
    return together.hexdigest()
