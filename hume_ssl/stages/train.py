"""`train-fixmatch`: a classifier from the selection and all train items."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hume_ssl.config import TrainConfig, TrainRecipe, to_toml
from hume_ssl.devices import pick_device
from hume_ssl.distributed import check_devices
from hume_ssl.errors import InputError
from hume_ssl.files import table_of
from hume_ssl.items import Items
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide, sha256_file
from hume_ssl.stages.fit import fit, known_shares
from hume_ssl.stages.head import JUDGE, make_views, weights_hashes, whole_network, with_head
from hume_ssl.stages.inputs import full_weights
from hume_ssl.stages.naming import load_named
from hume_ssl.stages.pixels import make_pixels, train_size
from hume_ssl.stages.ranks import all_train, processes
from hume_ssl.stages.select import stage_name
from hume_ssl.stages.table import Found, read_labels, stored_items, stored_recipe, tell_if_edited
from hume_ssl.train_config import UNIMPORTANT
from hume_ssl.train_presets import without_effect

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
    from hume_ssl.train.logger import open_logger

    found = load_named(run)
    per_class = _selection(run, per_class, found.digest)
    path, name = run.labels_csv(per_class), name or f"{recipe.name}-per-class-{per_class}"
    index, labels = read_labels(path, found)
    items, where = stored_items(run), pick_device(device, mps=False)
    recipe = with_head(recipe, run, items, where.type)
    if not items.has_images and recipe.train.network != "head":
        raise InputError(
            f"{run.path} has no images to train on: run discover again with --images (in the order of the labeller's "
            "rows) and --overwrite"
        )
    recipe = _resolved(recipe, run, items, found, where.type)
    check_devices(where.type)
    processes().check(int(recipe.train.batch))
    _check_network(recipe.train, items, len(found.names))
    stage, digest = f"train/{name}", sha256_file(path)
    curves = open_logger(logger, run.tensorboard(name))  # refuses a name that is no folder
    identity = {"label file": digest, "images": items.hash, "consensus": found.digest}
    identity |= weights_hashes(recipe.train)
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
    told = announcement(recipe.train, items, found, index, labels)
    for line in [told, *without_effect(recipe.train, where.type)]:
        say(line)
    tell_if_edited(run, per_class, say)
    run.log(f"{step} {stage}: {told}; {recipe.train!r}")
    if recipe.train.network == "head":
        make_views(recipe.train, run, items, where.type, say, show=show)
    else:
        make_pixels(recipe.train, run, items, show=show)
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
        "confidence": result.confidence,
    }
    run.write_csv(run.predictions_csv(name), table_of(table))
    kept = sorted(run.checkpoints(name).glob("*.safetensors"))
    made = [run.metrics_jsonl(name), run.evaluations_csv(name), run.predictions_csv(name), run.trained(name)]
    artefacts = [run.train_recipe(name), *kept, *made]
    run.finish_stage(stage, artefacts, time.monotonic() - began, steps=result.steps, n_labelled=len(index))
    run.log(f"finished {stage}")
    agreeing = float((result.predictions == found.labels)[found.train].mean())
    say(
        f"trained {result.steps} steps; {agreeing:.1%} of the train items get their consensus class; written to "
        f"{run.train(name)}: predictions.csv, metrics.jsonl, model.safetensors, checkpoints/. Next: "
        + "".join(f"hume-ssl {command}{run.flag} {what}; " for command, what in uses(network[1]).items())
        + f"with labels of your own, hume-ssl evaluate --truth FILE{run.flag}"
    )
    return {**facts, "steps": result.steps, "consensus_agreement": agreeing, "path": str(run.predictions_csv(name))}


def announcement(
    config: TrainConfig, items: Items, found: Found, index: NDArray[np.int64], labels: NDArray[np.int64]
) -> str:
    """What is trained on, for the user and the log: labels, unlabelled pool, sizes, views.

    Args:
        config: resolved settings.
        index, labels: (m,) labelled items and their classes.
    """
    from hume_ssl.train.augment_presets import describe

    parts = [f"{len(index)} labelled items"]
    classes = dict.fromkeys(found.names)  # those of one name are one
    taught = {found.names[label] for label in labels}
    without = [name for name in classes if name not in taught]
    if without:
        shown = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
        parts.append(f"{len(without)} of {len(classes)} classes have none ({shown}): nothing teaches them")
    unlabelled, strong = config.algorithm != "supervised", config.network != "head" or config.encoder != JUDGE
    if unlabelled:
        pool = int(found.train.sum()) - (len(index) if config.exclude_labelled else 0)
        which = "without" if config.exclude_labelled else "which include"
        parts.append(f"unlabelled pool: {pool} train items, {which} the labelled ones")
        if config.align is True:
            parts.append("pseudo-labels are brought to the known class sizes (train.align)")
    if items.has_images and config.network != "head":
        height, width = train_size(config, items)
        parts.append(f"images at {height} x {width} pixels")
    if items.has_images and strong:
        parts.append(describe(config.augment, bool(config.flip), strong=unlabelled))
    return "; ".join(parts)


def uses(network: Mapping[str, Any]) -> dict[str, str]:
    """What a trained network, by its facts, can be used for: command and purpose."""
    takes_images = len(network["shape"]) > 1  # a head on a space takes none
    new = {"assign --images DIR": "labels new images"} if takes_images else {}
    return {**new, "export --to onnx": "takes the network elsewhere"}


def evaluations_table(result: TrainResult) -> pd.DataFrame:
    """What the averaged model said of the evaluated items at each of the last evaluations: a column `step-N` each."""
    steps = [int(row["step"] or 0) for row in result.history[-len(result.evaluations) :]]
    columns = {f"step-{step}": labels for step, labels in zip(steps, result.evaluations, strict=True)}
    return table_of({"index": result.evaluated, **columns})


def _selection(run: RunFolder, per_class: int | None, consensus: str) -> int:
    """N of the selection to train on. Raises InputError if there is none, or it was made from an older consensus."""
    latest = run.latest("selection/per-class-") if per_class is None else stage_name(per_class)
    number = per_class if per_class is not None else int(latest.rpartition("-")[2]) if latest else 4
    command = f"hume-ssl select --per-class {number}"
    if latest is None or not run.stage(latest) or not run.labels_csv(number).is_file():
        raise InputError(f"no selection in {run.path} to train on: run {command}{run.flag} first")
    record = run.stage(latest)
    if record.get("stale") or record["identity"]["consensus"] != consensus:
        raise InputError(
            f"{run.labels_csv(number)} was made from an older consensus: run {command} --overwrite{run.flag}"
        )
    return number


def _resolved(recipe: TrainRecipe, run: RunFolder, items: Items, found: Found, device: str) -> TrainRecipe:
    """The recipe with everything decided that depends on the images, the run and the device; absolute paths."""
    data, config = stored_recipe(run), recipe.train
    if config.flip == "auto" and not data.data.flip:  # the data's own word: a mirrored digit is another sign
        config = config.model_copy(update={"flip": False})
    if config.network.startswith("torchvision:"):
        config = config.model_copy(update={"network": full_weights(config.network)})
    side, channels = (max(items.common_size), items.channels) if items.has_images else (1, 1)  # 1: a head on a space
    known = known_shares(data, found) is not None
    return recipe.model_copy(update={"train": config.resolve(side, channels, device, sizes_known=known)})


def _check_network(config: TrainConfig, items: Items, classes: int) -> None:
    """Raise InputError where the network cannot be built for these images, before anything is written."""
    if config.network.startswith("torchvision:"):
        from hume_ssl.train.models import build_network

        build_network(
            config.network,
            channels=items.channels,
            classes=classes,
            size=train_size(config, items),
            steps=int(config.steps),
            seed=0,
        )
