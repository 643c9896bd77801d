"""`train-fixmatch`: a classifier from the selection and all train items."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hume_ssl.config import TrainConfig, TrainRecipe, override, to_toml
from hume_ssl.distributed import check_devices
from hume_ssl.errors import InputError
from hume_ssl.items import Items
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide, sha256_file
from hume_ssl.spaces.embed import pick_device
from hume_ssl.stages.fit import fit, known_shares, train_size
from hume_ssl.stages.head import encoder_hash, make_views, whole_network, with_head
from hume_ssl.stages.ranks import all_train, processes
from hume_ssl.stages.select import stage_name
from hume_ssl.stages.table import load_found, read_labels, run_flag, stored_items, stored_recipe
from hume_ssl.train_config import UNIMPORTANT

if TYPE_CHECKING:
    from hume_ssl.train import TrainResult


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
    logger: str | None = None,
    show: bool = True,
) -> dict[str, Any]:
    """Train on a selection; facts for `--json`.

    Args:
        per_class: which selection; None: the latest.
        name: of the training; None: RECIPE-per-class-N.
        say: takes one line at a time for the user.
        logger: "tensorboard": curves of the training as event files in its folder tensorboard/; None: none.
        show: progress on stderr.

    Raises InputError: no selection, a stale one, no images in the run, another training under that name; a batch that
    the processes of torchrun cannot share.
    """
    from hume_ssl.train import trained
    from hume_ssl.train.augment_presets import describe
    from hume_ssl.train.logger import open_logger

    found = load_found(run)
    per_class = _selection(run, per_class, found.digest)
    path, name = run.labels_csv(per_class), name or f"{recipe.name}-per-class-{per_class}"
    index, _ = read_labels(path, found)
    items, where = stored_items(run), pick_device(device)
    recipe = with_head(recipe, run, items, where.type)
    if not items.has_images and recipe.train.network != "head":
        raise InputError(
            f"{run.path} has no images to train on: run discover again with --images (in the order of the labeller's "
            "rows) and --overwrite"
        )
    recipe = _resolved(recipe, items, stored_recipe(run).data.flip, where.type)
    check_devices(where.type)
    processes().check(int(recipe.train.batch))
    _check_network(recipe.train, items, len(found.names))
    stage, digest = f"train/{name}", sha256_file(path)
    curves = open_logger(logger, run.tensorboard(name))  # refuses a name that is no folder
    identity = {"label file": digest, "images": items.hash, "consensus": found.digest}
    identity |= encoder_hash(recipe.train)
    identity |= {
        f"train.{key}": value for key, value in recipe.train.model_dump(mode="json", exclude=UNIMPORTANT).items()
    }
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
    pool = int(found.train.sum()) - (len(index) if recipe.train.exclude_labelled else 0)
    which = "without" if recipe.train.exclude_labelled else "which include"
    told = f"{len(index)} labelled items; unlabelled pool: {pool} train items, {which} the labelled ones"
    if recipe.train.align is True and known_shares(stored_recipe(run), found):
        told += "; pseudo-labels are brought to the known class sizes (train.align)"
    if items.has_images:
        told += f"; {describe(recipe.train.augment, bool(recipe.train.flip))}"
    say(told)
    run.log(f"{step} {stage}: {told}; {recipe.train!r}")
    if recipe.train.network == "head":
        make_views(recipe.train, run, items, where.type, say, show=show)
    what = f"{recipe.train.algorithm} ({recipe.train.network})"
    task: dict[str, Any] = {
        "train": name,
        "run": str(run.path.absolute()),
        "labels": str(path.absolute()),
        "label hash": digest,
    }
    task |= {"device": where.type, "resume": step == "continue"}
    with all_train(task), closing(curves), track(int(recipe.train.steps), what, show=show) as progress:
        result = fit(run, task, found, items, recipe.train, progress, curves)
    network = result.state_dict, result.network
    if recipe.train.network == "head":
        network = whole_network(recipe.train, run, items, network)
    trained.save(run.trained(name), *network, found.names)
    run.write_csv(run.evaluations_csv(name), evaluations_table(result))
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
    made = [run.metrics_jsonl(name), run.evaluations_csv(name), run.predictions_csv(name), run.trained(name)]
    artefacts = [run.train_recipe(name), *kept, *made]
    run.finish_stage(stage, artefacts, time.monotonic() - began, steps=result.steps, n_labelled=len(index))
    run.log(f"finished {stage}")
    agreeing = float((result.predictions == found.labels)[found.train].mean())
    say(
        f"trained {result.steps} steps; {agreeing:.1%} of the train items get their consensus class; written to "
        f"{run.train(name)}: predictions.csv, metrics.jsonl, model.safetensors, "
        f"checkpoints/. Next: hume-ssl assign --images DIR{run_flag(run)} labels new images, hume-ssl export --to onnx"
        f"{run_flag(run)} takes the network elsewhere; with labels of your own, hume-ssl evaluate --truth FILE"
        f"{run_flag(run)}"
    )
    return {**facts, "steps": result.steps, "consensus_agreement": agreeing, "path": str(run.predictions_csv(name))}


def evaluations_table(result: TrainResult) -> pd.DataFrame:
    """What the averaged model said of the evaluated items at each of the last evaluations: a column `step-N` each."""
    steps = [int(row["step"] or 0) for row in result.history[-len(result.evaluations) :]]
    columns = {f"step-{step}": labels for step, labels in zip(steps, result.evaluations, strict=True)}
    return pd.DataFrame({"index": result.evaluated, **columns})


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
    if not items.has_images:  # a head on a space
        return recipe.model_copy(update={"train": recipe.train.resolve(1, 1, device)})
    height, width = items.common_size
    size = train_size(recipe.train, items) or (height, width)
    if recipe.train.flip == "auto" and not flip:  # the data's own word: a mirrored digit is another sign
        recipe = override(recipe, {"train.flip": False})
    return recipe.model_copy(update={"train": recipe.train.resolve(max(size), items.channels, device)})


def _check_network(config: TrainConfig, items: Items, classes: int) -> None:
    """Raise InputError where the network cannot be built for these images, before anything is written."""
    if not config.network.startswith("torchvision:"):
        return
    from hume_ssl.train.models import build_network

    side = max(train_size(config, items) or items.common_size)
    build_network(config.network, channels=items.channels, classes=classes, side=side, steps=int(config.steps), seed=0)
