"""`assign`: labels for new images."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hume_ssl.devices import pick_device
from hume_ssl.distributed import refuse
from hume_ssl.errors import InputError
from hume_ssl.items import load_items
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide, sha256_file
from hume_ssl.stages.table import read_names, run_flag
from hume_ssl.stages.trainings import finished_training

SOURCES = ("train",)  # what labels: a trained network


def assign(
    run: RunFolder,
    images: str,
    say: Callable[[str], None],
    *,
    source: str = "train",
    name: str | None = None,
    root: str | None = None,
    download: bool = False,
    device: str = "auto",
    overwrite: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Label new images by a trained network and write assign/NAME.csv; facts for `--json`.

    Everything is labelled before anything is written, so that nothing is left of a run that fails or is stopped.

    Args:
        images: what `load_items` takes, and `root` and `download` for it; those of the run will do as well.
        source: "train".
        name: of the training; None: the latest that is not stale.
        show: progress on stderr.

    Raises InputError: no finished training, images that cannot be read, labels of other images under that name.
    """
    from hume_ssl.train import trained

    refuse("assign")
    if source not in SOURCES:
        raise InputError(f"--from {source!r} is nothing that labels new images: give --from {' or '.join(SOURCES)}")
    began = time.monotonic()
    name = finished_training(run, name, run.trained)
    items, where = load_items(images, root=root, download=download), pick_device(device, mps=False)
    network = trained.load(run.trained(name))
    names = read_names(run, int(network.facts["classes"]))
    path = run.assign_csv(assignment_name(images))
    stage = f"assign/{path.stem}"
    identity = {"images": items.hash, "network": sha256_file(run.trained(name)), "names": names}
    facts: dict[str, Any] = {"run": str(run.path), "path": str(path), "from": source, "name": name, "items": len(items)}
    if decide(run, stage, identity, overwrite=overwrite, resumable=False) == "finished":
        say(f"{path} is there already: nothing to do")
        return facts
    with track(len(items), f"assign ({network.facts['network']})", show=show) as progress:
        labels, confidence = trained.label(network, items, where, progress)
    run.remove_stage(stage)
    run.begin_stage(stage, identity, training=name, device=where.type)
    table = {
        "index": np.arange(len(items)),
        "filepath": items.filepaths,
        "label": labels,
        "class_name": [names[label] for label in labels],
        "confidence": confidence,
    }
    run.write_csv(path, pd.DataFrame(table))
    facts["class_counts"] = np.bincount(labels, minlength=len(names)).tolist()
    facts["mean_confidence"] = float(confidence.mean(dtype=np.float64))
    run.finish_stage(stage, [path], time.monotonic() - began, items=len(items))
    run.log(f"finished {stage}: {len(items)} items by train/{name}")
    say(
        f"{len(items)} items labelled by train/{name}, mean confidence {facts['mean_confidence']:.3f}; written to "
        f"{path}. Next: hume-ssl export --to torch{run_flag(run)} takes the network elsewhere"
    )
    return facts


def assignment_name(images: str) -> str:
    """What the table of `images` is called: the folder's or file's name, signs that trouble a file system as "-"."""
    path = Path(images).expanduser().absolute()
    name = path.stem if path.is_file() else path.name
    return re.sub(r"[^A-Za-z0-9._+=-]+", "-", name).strip(".-")[:100] or "images"
