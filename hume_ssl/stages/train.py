"""`train-fixmatch`: a classifier from the selection and all train items."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from hume_ssl.config import TrainConfig, TrainRecipe, override, to_toml
from hume_ssl.distributed import refuse
from hume_ssl.errors import InputError
from hume_ssl.files import plain
from hume_ssl.items import Items
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide, sha256_file
from hume_ssl.spaces.embed import pick_device
from hume_ssl.stages.select import stage_name
from hume_ssl.stages.table import load_found, read_labels, run_flag, stored_items, stored_recipe


def train_fixmatch(
    recipe: TrainRecipe,
    run: RunFolder,
    say: Callable[[str], None],
    *,
    per_class: int | None = None,
    name: str | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Train on a selection; facts for `--json`.

    Args:
        per_class: which selection; None: the latest.
        name: of the training; None: RECIPE-per-class-N.
        say: takes one line at a time for the user.
        show: progress on stderr.

    Raises InputError: no selection, a stale one, no images in the run, another training under that name; torchrun.
    """
    from hume_ssl.train import train_fixmatch as train

    refuse("train-fixmatch")
    found = load_found(run)
    per_class = _selection(run, per_class, found.digest)
    path, name = run.labels_csv(per_class), name or f"{recipe.name}-per-class-{per_class}"
    index, labels = read_labels(path, found)
    items, where = stored_items(run), pick_device(device)
    if not items.has_images:
        raise InputError(
            f"{run.path} has no images to train on: run discover again with --images (in the order of the labeller's "
            "rows) and --overwrite"
        )
    recipe = _resolved(recipe, items, stored_recipe(run).data.flip, where.type)
    stage, digest = f"train/{name}", sha256_file(path)
    run.train(name)  # refuses a name that is no folder
    identity = {"label file": digest, "images": items.hash, "consensus": found.digest}
    identity |= {f"train.{key}": value for key, value in recipe.train.model_dump(mode="json").items()}
    step = decide(run, stage, identity, resume=resume, overwrite=overwrite)
    facts: dict[str, Any] = {"run": str(run.path), "name": name, "labels": str(path), "n_labelled": len(index)}
    if dry_run:
        plan = f"{recipe.train.steps} steps of {recipe.train.algorithm} on {len(index)} labels with"
        say(f"would {step} {stage} in {run.path}: {plan} {recipe.train.network} on {where.type}")
        return {**facts, "dry_run": step, "recipe": recipe.model_dump(mode="json")}
    if step == "finished":
        say(f"{run.train(name)} is finished: nothing to do")
        return facts
    began = time.monotonic()
    if step == "start":
        run.remove_stage(stage)
    run.begin_stage(stage, identity, labels=str(path.relative_to(run.path)), device=where.type)
    run.write_text(run.train_recipe(name), to_toml(recipe))
    pixels = items.pixels(_size(recipe.train, items))
    pool = int(found.train.sum()) - (len(index) if recipe.train.exclude_labelled else 0)
    which = "without" if recipe.train.exclude_labelled else "which include"
    told = f"{len(index)} labelled items; unlabelled pool: {pool} train items, {which} the labelled ones"
    say(told)
    run.log(f"{step} {stage}: {told}; {recipe.train!r}")
    with track(int(recipe.train.steps), f"{recipe.train.algorithm} ({recipe.train.network})", show=show) as progress:
        result = train(
            pixels,
            index,
            labels,
            classes=len(found.names),
            train=found.train,
            config=recipe.train,
            device=where.type,
            checkpoint_dir=run.checkpoints(name),
            resume=step == "continue",
            label_hash=digest,
            progress=progress,
            consensus=found.labels,
        )
    run.write_text(run.metrics_jsonl(name), "".join(json.dumps(plain(row)) + "\n" for row in result.history))
    table = {
        "index": np.arange(len(items)),
        "filepath": found.filepaths,
        "split": np.where(found.train, "train", "test"),
        "label": result.predictions,
        "class_name": [found.names[label] for label in result.predictions],
        "confidence": result.probabilities.max(1),
    }
    run.write_csv(run.predictions_csv(name), pd.DataFrame(table))
    kept = sorted(run.checkpoints(name).glob("*.safetensors"))
    artefacts = [run.train_recipe(name), *kept, run.metrics_jsonl(name), run.predictions_csv(name)]
    run.finish_stage(stage, artefacts, time.monotonic() - began, steps=result.steps, n_labelled=len(index))
    run.log(f"finished {stage}")
    agreeing = float((result.predictions == found.labels)[found.train].mean())
    say(
        f"trained {result.steps} steps; {agreeing:.1%} of the train items get their consensus class; written to "
        f"{run.train(name)}: predictions.csv, metrics.jsonl, checkpoints/. "
        f"Next: with labels of your own, hume-ssl evaluate --truth FILE{run_flag(run)}"
    )
    return {**facts, "steps": result.steps, "consensus_agreement": agreeing, "path": str(run.predictions_csv(name))}


def _selection(run: RunFolder, per_class: int | None, consensus: str) -> int:
    """N of the selection to train on. Raises InputError if there is none, or it was made from an older consensus."""
    latest = run.latest("selection/per-class-") if per_class is None else stage_name(per_class)
    number = per_class if per_class is not None else int(latest.rpartition("-")[2]) if latest else 4
    command = f"hume-ssl select --per-class {number}"
    if latest is None or not run.stage(latest) or not run.labels_csv(number).is_file():
        raise InputError(f"no selection in {run.path} to train on: run {command}{run_flag(run)} first")
    record = run.stage(latest)
    if record.get("stale") or record["identity"]["consensus"] != consensus:
        raise InputError(
            f"{run.labels_csv(number)} was made from an older consensus: run {command} --overwrite{run_flag(run)}"
        )
    return number


def _resolved(recipe: TrainRecipe, items: Items, flip: bool, device: str) -> TrainRecipe:
    """The recipe with everything decided that depends on the images and the device."""
    height, width = items.common_size
    size = _size(recipe.train, items) or (height, width)
    if recipe.train.flip == "auto" and not flip:  # the data's own word: a mirrored digit is another sign
        recipe = override(recipe, {"train.flip": False})
    return recipe.model_copy(update={"train": recipe.train.resolve(max(size), items.channels, device)})


def _size(config: TrainConfig, items: Items) -> tuple[int, int]:
    """(height, width) to train at: the most common size, its longer side brought down to `train.size`."""
    height, width = items.common_size
    share = min(1.0, config.size / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))
