"""`assign`: labels for new items, by the searches of a run or by a trained network."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.devices import pick_device
from hume_ssl.distributed import refuse
from hume_ssl.errors import InputError
from hume_ssl.files import sha256_array, table_of
from hume_ssl.items import Items, bare_items, load_items
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide, sha256_file
from hume_ssl.spaces.loading import load_space
from hume_ssl.stages.answer_file import DEFAULT_NAME
from hume_ssl.stages.table import load_found, read_names
from hume_ssl.stages.trainings import finished_training

SOURCES = ("searches", "train")  # what labels: the task encoders of all searches, or a trained network


def assign(
    run: RunFolder,
    images: str | None,
    say: Callable[[str], None],
    *,
    source: str = "searches",
    name: str | None = None,
    labeller: str | None = None,
    judges: tuple[str, ...] = (),
    root: str | None = None,
    download: bool = False,
    device: str = "auto",
    overwrite: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Label new items and write assign/NAME.csv; facts for `--json`.

    Everything is labelled before anything is written, so that nothing is left of a run that fails or is stopped.

    Args:
        images: what `load_items` takes, and `root` and `download` for it; those of the run will do as well. None: rows
            of the run's spaces are given instead.
        source: "searches": the table is that of consensus.csv, and names where classes have some; or "train": a
            trained network's labels and confidences.
        name: of the training; None: the latest that is not stale.
        labeller, judges: .npy (m, d), new items' rows in the spaces of the run, where those were given as arrays.
        show: progress on stderr.

    Raises InputError: no finished run or training, images that cannot be read, labels of other images under that name.
    """
    refuse("assign")
    if source not in SOURCES:
        raise InputError(f"--from {source!r} is nothing that labels new images: give --from {' or '.join(SOURCES)}")
    if name is not None and source != "train":
        raise InputError(f"--name {name} names a training: give --from train as well")
    if source == "train" and (labeller or judges):
        raise InputError("a trained network labels images: give --images, without --labeller and --judge")
    given = {**({"labeller": labeller} if labeller else {})}
    given |= {"judge" if i == 0 else f"judge-{i + 1}": path for i, path in enumerate(judges)}
    named = images or next(iter(given.values()), None)
    if named is None or (source == "train" and images is None):
        raise InputError("which new items? give --images, or --labeller NEW.npy where the run was given arrays")
    items = load_items(images, root=root, download=download) if images is not None else None
    labels = _by_training if source == "train" else _by_searches
    return labels(run, items, given, named, say, name=name, device=device, overwrite=overwrite, show=show)


def _by_searches(
    run: RunFolder,
    items: Items | None,
    given: dict[str, str],
    named: str,
    say: Callable[[str], None],
    *,
    name: str | None,
    device: str,
    overwrite: bool,
    show: bool,
) -> dict[str, Any]:
    from hume_ssl.stages.assign_classes import assign_classes, sources_of

    began, found = time.monotonic(), load_found(run)
    arrays = {role: load_space(path) for role, path in given.items()}
    if len(lengths := {len(array) for array in arrays.values()}) > 1:
        raise InputError(f"the new spaces have {' and '.join(map(str, sorted(lengths)))} rows: give equal items")
    m = len(items) if items is not None else lengths.pop()
    if lengths - {m}:
        raise InputError(f"{named} has {m} images and the new spaces {lengths.pop()} rows: give equal items")
    where, path, stage = pick_device(device), *_place(run, named)
    identity: dict[str, object] = {"images": items.hash if items is not None else ""}
    identity |= {f"rows of the {role}": sha256_array(array) for role, array in arrays.items()}
    identity |= {"consensus": found.digest, "searches": sha256_file(run.encoders), "names": found.names}
    facts: dict[str, Any] = {"run": str(run.path), "path": str(path), "from": "searches", "items": m}
    if decide(run, stage, identity, overwrite=overwrite, resumable=False) == "finished":
        say(f"{path} is there already: nothing to do")
        return facts
    roles = sources_of(run, items, given)
    new = assign_classes(run, found, roles, items, given, str(where), show=show)
    run.remove_stage(stage)
    run.begin_stage(stage, identity, device=where.type)
    columns = {
        "index": np.arange(m),
        "filepath": (items or bare_items(m)).filepaths,
        "split": ["test"] * m,  # nothing was learned from them
        "label": new.labels,
        "agreement": new.agreement,
        "neighbour_agreement": new.neighbour_agreement,
        "reliable": new.reliable,
    }
    if not all(DEFAULT_NAME.fullmatch(name) for name in found.names):
        columns["class_name"] = [found.names[label] for label in new.labels]
    run.write_csv(path, table_of(columns))
    facts |= _counted(new.labels, found.names)
    facts["mean_agreement"] = round(float(new.agreement.mean()), 6)
    facts["reliable_items"] = int(new.reliable.sum())
    run.finish_stage(stage, [path], time.monotonic() - began, items=m)
    run.log(f"finished {stage}: {m} items by the searches")
    say(
        f"{m} items labelled by the searches, mean agreement {facts['mean_agreement']:.3f}, {facts['reliable_items']} "
        f"reliable; written to {path}. A trained network labels better: hume-ssl assign --from train{run.flag}"
    )
    return facts


def _by_training(
    run: RunFolder,
    items: Items | None,
    given: dict[str, str],
    named: str,
    say: Callable[[str], None],
    *,
    name: str | None,
    device: str,
    overwrite: bool,
    show: bool,
) -> dict[str, Any]:
    from hume_ssl.train import trained

    assert items is not None
    began, where = time.monotonic(), pick_device(device, mps=False)
    name = finished_training(run, name, run.trained)
    network = trained.load(run.trained(name))
    names = read_names(run, int(network.facts["classes"]))
    path, stage = _place(run, named)
    identity = {"images": items.hash, "network": sha256_file(run.trained(name)), "names": names}
    facts: dict[str, Any] = {
        "run": str(run.path),
        "path": str(path),
        "from": "train",
        "name": name,
        "items": len(items),
    }
    if decide(run, stage, identity, overwrite=overwrite, resumable=False) == "finished":
        say(f"{path} is there already: nothing to do")
        return facts
    with track(len(items), f"assign ({network.facts['network']})", show=show) as progress:
        labels, confidence = trained.label(network, items, where, progress)
    run.remove_stage(stage)
    run.begin_stage(stage, identity, training=name, device=where.type)
    columns = {
        "index": np.arange(len(items)),
        "filepath": items.filepaths,
        "label": labels,
        "class_name": [names[label] for label in labels],
        "confidence": confidence,
    }
    run.write_csv(path, table_of(columns))
    facts |= _counted(labels, names)
    facts["mean_confidence"] = float(confidence.mean(dtype=np.float64))
    run.finish_stage(stage, [path], time.monotonic() - began, items=len(items))
    run.log(f"finished {stage}: {len(items)} items by train/{name}")
    say(
        f"{len(items)} items labelled by train/{name}, mean confidence {facts['mean_confidence']:.3f}; written to "
        f"{path}. Next: hume-ssl export --to torch{run.flag} takes the network elsewhere"
    )
    return facts


def assignment_name(images: str) -> str:
    """What the table of `images` is called: the folder's or file's name, signs that trouble a file system as "-"."""
    path = Path(images).expanduser().absolute()
    name = path.stem if path.is_file() else path.name
    return re.sub(r"[^A-Za-z0-9._+=-]+", "-", name).strip(".-")[:100] or "images"


def _place(run: RunFolder, named: str) -> tuple[Path, str]:
    """The table of new items and its stage."""
    path = run.assign_csv(assignment_name(named))
    return path, f"assign/{path.stem}"


def _counted(labels: NDArray[np.int64], names: list[str]) -> dict[str, list[int]]:
    return {"class_counts": np.bincount(labels, minlength=len(names)).tolist()}
