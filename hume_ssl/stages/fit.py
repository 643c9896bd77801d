"""`train-fixmatch`, the training itself: from the run folder to the loop, in the first process and in the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hume_ssl.class_shares import matched_shares
from hume_ssl.config import DiscoverRecipe, TrainConfig, load_recipe
from hume_ssl.distributed import local_device
from hume_ssl.items import Items
from hume_ssl.progress import Progress, Silent
from hume_ssl.run import RunFolder
from hume_ssl.stages.head import head_source
from hume_ssl.stages.naming import load_named
from hume_ssl.stages.pixels import train_pixels
from hume_ssl.stages.ranks import processes
from hume_ssl.stages.table import Found, first_of_name, read_labels, stored_items, stored_recipe

if TYPE_CHECKING:
    from hume_ssl.train import TrainResult
    from hume_ssl.train.logger import Logger


def join(task: Mapping[str, Any]) -> None:
    """Train as the first of several processes does, which asked for it; everything else is in the run folder."""
    run = RunFolder(Path(task["run"]))
    recipe = load_recipe(str(run.train_recipe(task["train"])), "train")
    fit(run, task, load_named(run), stored_items(run), recipe.train, Silent())


def fit(
    run: RunFolder,
    task: Mapping[str, Any],
    found: Found,
    items: Items,
    config: TrainConfig,
    progress: Progress,
    logger: Logger | None = None,
) -> TrainResult:
    """This process's part in the training, which is all of it without torchrun."""
    from hume_ssl.train import train_fixmatch

    name = task["train"]
    index, labels = read_labels(Path(task["labels"]), found)
    images: Any
    if config.network == "head":
        images = head_source(config, run, items, found.train, local_device(task["device"]))
    else:
        images = train_pixels(config, run, items)
    return train_fixmatch(
        images,
        index,
        labels,
        classes=len(found.names),
        train=found.train,
        config=config,
        device=local_device(task["device"]),
        checkpoint_dir=run.checkpoints(name),
        metrics=run.metrics_jsonl(name),
        resume=task["resume"],
        label_hash=task["label hash"],
        progress=progress,
        consensus=found.labels,
        class_shares=known_shares(stored_recipe(run), found),
        label_agreement=(found.agreement[index], found.neighbour_agreement[index]),
        logger=logger,
        together=processes(),
    )


def known_shares(recipe: DiscoverRecipe, found: Found) -> list[float] | None:
    """Sizes of the classes (k,), where the user or the recipe knows them; None where nobody does.

    Those of `discover --prior FILE`, by rank; equal ones where the recipe says `data.balanced`. The uniform prior of
    the searches alone is no knowledge.
    """
    sizes = np.bincount(found.labels[found.train], minlength=len(found.names)).tolist()
    if isinstance(recipe.search.prior, tuple):
        return matched_shares(recipe.search.prior, sizes)
    first = first_of_name(found.names)  # of classes with one name only the first has items
    return [float(first[label] == label) for label in range(len(sizes))] if recipe.data.balanced else None
