"""FixMatch training: one loop, read from top to bottom."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hume_ssl import files
from hume_ssl.devices import pick_device
from hume_ssl.errors import InputError
from hume_ssl.progress import Progress, Silent
from hume_ssl.train import checkpoint
from hume_ssl.train.algorithms import RULES, pseudo_targets, uses_unlabelled
from hume_ssl.train.alignment import align, first_alignment
from hume_ssl.train.batches import spread
from hume_ssl.train.checks import check_inputs, checked_shares, resolved, whole_numbers
from hume_ssl.train.devices import SMALL_NETWORKS, seed_layers, send, threads, tuned, use_bf16
from hume_ssl.train.feed import Steps, feed
from hume_ssl.train.label_noise import first_weights
from hume_ssl.train.logger import Logger
from hume_ssl.train.losses import extra_loss, labelled_loss, unlabelled_loss
from hume_ssl.train.optimise import cosine, set_rate
from hume_ssl.train.prediction import classify, predict
from hume_ssl.train.result import TrainResult
from hume_ssl.train.sources import Source
from hume_ssl.train.state import Training
from hume_ssl.train.together import ALONE, Together
from hume_ssl.train.trained import describe
from hume_ssl.train_config import UNIMPORTANT, TrainConfig

SHOW_EVERY = 10  # steps between figures in the progress line: reading them off a GPU waits for it


def train_fixmatch(
    images: np.ndarray | Source,
    labelled: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    train: np.ndarray | None = None,
    config: TrainConfig | None = None,
    device: str = "auto",
    checkpoint_dir: Path | None = None,
    metrics: Path | None = None,
    resume: bool = False,
    label_hash: str = "",
    progress: Progress | None = None,
    consensus: np.ndarray | None = None,
    label_agreement: tuple[np.ndarray, np.ndarray] | None = None,
    class_shares: Sequence[float] | None = None,
    logger: Logger | None = None,
    together: Together = ALONE,
) -> TrainResult:
    """Train a classifier from a few labelled items and all others without labels (FixMatch, arXiv:2001.07685).

    Each step takes `batch` labelled items and `mu * batch` of all train items, labelled ones included unless
    `exclude_labelled`; both streams are shuffled epoch by epoch. One forward pass serves the labelled, weak and strong
    views together, so batch norm sees all three. Killed at any moment and resumed from its checkpoint, a run gives the
    same weights and history: byte for byte on one machine's CPU (with the larger networks: with as many threads).

    Args:
        images: uint8 (n, h, w) or (n, h, w, c), all items, may be memory-mapped, trained on at the size they have; or
            vectors, floats (n, d), for a head; or what gives views of its own.
        labelled: int (m,), indices of the labelled items, all of them train items.
        labels: int (m,), their classes, 0 to classes - 1.
        classes: k.
        train: bool (n,), the items that may be learned from; all by default.
        config: settings; `"auto"` in them is resolved here from the size of the images.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        checkpoint_dir: where checkpoints go; without it none are written.
        metrics: a file for the history, one line of JSON each row, as it grows.
        resume: go on from the checkpoint in `checkpoint_dir`, if there is one; else any checkpoint there is removed.
        label_hash: names the label file; by default a hash of `labelled` and `labels`.
        progress: told of every step; on a resume, first of the steps already done.
        consensus: int (n,), -1 = unknown; only for a figure in the history.
        label_agreement: agreement and neighbour agreement (m,) of the labelled items, for `label_noise = "agreement"`.
        class_shares: (k,) sizes of the classes among the train items, in any unit, if they are known: pseudo-labels are
            brought to them (:mod:`hume_ssl.train.alignment`) where the settings say `align`.
        logger: told of every new row of history.
        together: one of several processes that all call this with the same arguments; the results are those of one
            process within rounding. The first alone writes; all read its checkpoint.

    Raises:
        InputError: arrays that do not fit together, or a checkpoint made from other labels or settings.
    """
    began = time.perf_counter()
    progress, where = progress or Silent(), pick_device(device, mps=False)
    n = len(images) if isinstance(images, np.ndarray) else images.n
    train = np.ones(n, bool) if train is None else np.asarray(train, bool)
    labelled, labels = whole_numbers(labelled, "the labelled items"), whole_numbers(labels, "labels")
    known = np.full(n, -1) if consensus is None else np.array(consensus, np.int64)
    check_inputs(n, labelled, labels, classes, train, known)
    class_shares = checked_shares(class_shares, classes)
    source, config = resolved(images, config or TrainConfig(), where, train, sizes_known=class_shares is not None)
    together.check(int(config.batch))
    if config.batch == 1 and config.network != "head" and not uses_unlabelled(config.algorithm):
        raise InputError("train.batch = 1 gives batch norm nothing to compare: give 2 or more")
    pool = np.setdiff1d(np.flatnonzero(train), labelled) if config.exclude_labelled else np.flatnonzero(train)
    if len(pool) == 0:
        raise InputError(f"exclude_labelled leaves no unlabelled item: all {len(labelled)} train items are labelled")

    evaluated = spread(np.flatnonzero(train if train.all() else ~train), int(config.eval_items))
    run = Training(
        config,
        shape=source.shape,
        classes=classes,
        statistics=source.statistics(np.flatnonzero(train)),
        n=n,
        pool=len(pool),
        evaluated=len(evaluated),
        alignment=first_alignment(class_shares) if class_shares is not None and config.align else {},
        label_weights=first_weights(config.label_noise, labels, label_agreement),
        device=where,
    )
    identity = {
        "label file": label_hash or digest(labelled.tobytes(), labels.tobytes(), run.label_weights.numpy().tobytes()),
        "settings": digest(config.model_dump_json(exclude=UNIMPORTANT).encode()),
        "items": digest(f"{n} {source.shape} {classes} {class_shares}".encode(), train.tobytes()),
    }
    if checkpoint_dir and not resume:
        if together.first:
            checkpoint.clear(checkpoint_dir)
    elif checkpoint_dir and (found := checkpoint.load(checkpoint_dir)):
        checkpoint.go_on(checkpoint_dir, found, identity, int(config.steps), run.restore)
        progress.advance(run.step)

    model = together.wrap(run.model)  # in several processes, what averages gradients over them
    rule = RULES[config.algorithm]
    mixed = use_bf16(config.precision, where, config.network)
    steps, b, lambda_u = int(config.steps), int(config.batch), float(config.lambda_u)
    u = int(config.mu) * b if uses_unlabelled(config.algorithm) else 0
    place_of = torch.full((n,), -1)  # of an item among the labelled ones
    place_of[torch.from_numpy(labelled)] = torch.arange(len(labelled))
    label_at = torch.from_numpy(labels)
    consensus_of = torch.tensor(known)  # a copy: the array may be read-only
    batches = Steps(
        source,
        torch.from_numpy(labelled),
        torch.from_numpy(pool),
        b=b,
        u=u,
        seed=config.seed,
        share=(together.rank, together.world),
    )

    count = 1 if where.type == "cpu" and config.network in SMALL_NETWORKS else torch.get_num_threads()
    with threads(count), tuned(where):
        for with_label, without, *views in feed(batches, run.step, steps, config.workers):
            x, u_weak, u_strong = (send(view, where) for view in views)

            # one forward pass for all of this process's views; then the logits of the whole batch
            seed_layers(config.seed, run.step, where, together.rank)
            with torch.autocast(where.type, torch.bfloat16, enabled=mixed):
                logits = model(torch.cat([x, u_weak, u_strong]))  # (b + 2u, k) where there is one process
            of_labelled, of_weak, of_strong = together.everywhere(logits, [b, u, u])
            of_weak, run.alignment = align(of_weak, run.alignment)
            targets, run.rule_state = pseudo_targets(rule, of_weak, without, run.rule_state, config)
            place = place_of[with_label]
            labelled_part = labelled_loss(
                of_labelled, send(label_at[place], where), send(run.label_weights[place], where)
            )
            unlabelled_part = unlabelled_loss(of_strong, targets)
            added = extra_loss(config.algorithm, of_strong, targets, run.rule_state, config)
            loss = labelled_part + lambda_u * unlabelled_part + added

            # one optimiser step, and the average follows
            lr = float(config.lr) * cosine(run.step, steps)
            set_rate(run.optimiser, lr)
            run.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            run.optimiser.step()
            run.ema.update_parameters(run.model)
            run.step += 1

            # what there is to tell, and to keep
            expected = send(consensus_of[without], where)  # (u,), -1 where unknown
            comparable = (targets.weights > 0) & (expected >= 0)
            agreeing = comparable & (targets.labels == expected)
            one, used = torch.ones((), device=where), targets.weights.sum() / max(u, 1)
            run.count([one, loss, labelled_part, unlabelled_part, used, agreeing.sum(), comparable.sum()], targets)
            if run.step % int(config.eval_every) == 0 or run.step == steps:
                predicted, _ = classify(run.ema.module, source, evaluated, together=together)
                row = run.end_row(lr, torch.from_numpy(predicted), consensus_of[torch.from_numpy(evaluated)])
                if config.label_noise == "contradicted":
                    said = predict(run.ema.module, source, labelled, together=together)
                    run.doubt(torch.from_numpy(said), label_at, run.step / steps)
                if metrics and together.first:
                    files.write_text(metrics, "".join(json.dumps(row) + "\n" for row in run.history))
                if logger:
                    logger.row(row)
            if (
                checkpoint_dir
                and together.first
                and (run.step % int(config.checkpoint_every) == 0 or run.step == steps)
            ):
                tensors, facts = run.save()
                checkpoint.save(checkpoint_dir, tensors, facts | {"identity": identity})
            if run.step % SHOW_EVERY == 0 or run.step == steps:
                progress.advance(1, loss=f"{loss.item():.3f}", used=f"{used.item():.0%}", **run.told())
            else:
                progress.advance(1)

        averaged_model = run.ema.module
        predictions, confidence = classify(averaged_model, source, np.arange(n), together=together)

    return TrainResult(
        state_dict={name: t.detach().cpu().clone().contiguous() for name, t in averaged_model.state_dict().items()},
        predictions=predictions,
        confidence=confidence,
        history=run.history,
        evaluated=evaluated,
        evaluations=run.evaluations.numpy().astype(np.int64),
        steps=run.step,
        seconds=time.perf_counter() - began,
        config=config,
        network=describe(config, shape=source.shape, classes=classes),
    )


def digest(*parts: bytes) -> str:
    """sha256 of the parts, in hexadecimal."""
    together = hashlib.sha256()
    for one in parts:
        together.update(one)
    return together.hexdigest()
