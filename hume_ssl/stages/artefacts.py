"""What `discover` leaves in the run folder: written, read back, and matched to what was there before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hume_ssl.consensus import match_to_old
from hume_ssl.discovery import Discovery
from hume_ssl.errors import InputError
from hume_ssl.files import sha256_file, table_of
from hume_ssl.run import RunFolder
from hume_ssl.search import Searches
from hume_ssl.search.midway import Midway
from hume_ssl.stages.inputs import Inputs
from hume_ssl.stages.table import DISCOVER, stored_roles


def stored_searches(run: RunFolder) -> Searches:
    """The searches of a finished discover."""
    for path in (run.labellings_npy, run.searches_csv, run.encoders):
        run.unaltered(path)
    table = run.read_csv(run.searches_csv)
    tensors, facts = run.read_safetensors(run.encoders)
    centre, bias = tensors.get("centre"), tensors.get("bias")
    return Searches(
        seeds=table["seed"].tolist(),
        labellings=np.array(run.read_npy(run.labellings_npy)),
        objective=np.array(table["objective"], dtype=np.float64),
        generalization_score=np.array(table["generalization_score"], dtype=np.float64),
        classes_found=table["classes_found"].tolist(),
        iterations=table["iterations"].tolist(),
        stop_reasons=table["stop_reason"].tolist(),
        weights=tensors["weights"].numpy(),
        centre=None if centre is None else centre.numpy(),
        bias=None if bias is None else bias.numpy(),
        widths=facts.get("widths"),
        strength=facts.get("strength"),
    )


def remove_changed(run: RunFolder) -> list[str]:
    """Remove what of a finished discover is no longer as it left it: it is made again. Returns what that was."""
    changed = run.changed(DISCOVER)
    for name in changed:
        (run.path / name).unlink(missing_ok=True)
    return changed


def searches_so_far(run: RunFolder, inputs: Inputs) -> Searches | None:
    """Searches to go on from: those of the finished stage, else those of its checkpoint."""
    parts = (run.labellings_npy, run.searches_csv, run.encoders)
    if run.stage(DISCOVER).get("status") == "finished" and all(path.is_file() for path in parts):
        return stored_searches(run)
    if not run.search_checkpoint.is_file():
        return None
    try:
        found = unpacked(*run.read_safetensors(run.search_checkpoint))
        check_searches(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{run.search_checkpoint} is damaged: {error}: remove it, and its searches are made again, or start again "
            "with --overwrite"
        ) from error
    return found if found.labellings.shape[1] == len(inputs.items) else None


def keep_searches(run: RunFolder, found: Searches) -> None:
    """Write the finished searches, so that a killed run goes on after its last whole batch, and in the next one."""
    run.write_safetensors(run.search_checkpoint, *packed(found))
    for start in range(len(found)):
        run.batch_checkpoint(start).unlink(missing_ok=True)


def batch_in_hand(run: RunFolder, start: int) -> Midway:
    """Where the run folder keeps the state of the batch that begins with search `start`."""
    path = run.batch_checkpoint(start)
    kept = run.read_safetensors(path) if path.is_file() else None
    return Midway(kept, lambda tensors, facts: run.write_safetensors(path, tensors, facts))


def forget_checkpoints(run: RunFolder) -> None:
    """Remove what only an unfinished run needs."""
    for path in run.searches.glob("checkpoint*.safetensors"):
        path.unlink(missing_ok=True)


def packed(found: Searches) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Searches as tensors and JSON facts: what a checkpoint holds and one process sends another."""
    arrays = {k: torch.from_numpy(v) for k, v in found.__dict__.items() if isinstance(v, np.ndarray)}
    return arrays, {"searches": {k: v for k, v in found.__dict__.items() if k not in arrays and v is not None}}


def unpacked(tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> Searches:
    """The inverse of `packed`."""
    return Searches(**{"centre": None, **{k: v.numpy() for k, v in tensors.items()}, **facts["searches"]})


def check_searches(found: Searches) -> None:
    """Raise ValueError or TypeError where fields of searches do not fit together."""
    r = len(found.seeds)
    texts, numbers = [found.stop_reasons], [found.seeds, found.classes_found, found.iterations]
    if not all(isinstance(values, list) and len(values) == r for values in [*texts, *numbers]) or not r:
        raise ValueError("its lists differ in length")
    if not all(type(value) is int for values in numbers for value in values):
        raise ValueError("its seeds, classes or iterations are no whole numbers")
    shapes = {"labellings": 2, "objective": 1, "generalization_score": 1, "weights": 3, "bias": 3}
    arrays = {name: array for name in shapes if (array := getattr(found, name)) is not None}
    if any(array.ndim != shapes[name] or len(array) != r for name, array in arrays.items()):
        raise ValueError(f"its arrays are not of {r} searches")
    kinds = {name: array.dtype.kind for name, array in arrays.items()}
    if kinds.pop("labellings") != "i" or set(kinds.values()) != {"f"}:
        raise ValueError("its arrays are of other types")
    d1, k = found.weights.shape[2], found.weights.shape[1]
    if found.labellings.min(initial=0) < 0 or found.labellings.max(initial=0) >= k:
        raise ValueError(f"its labels are not of {k} classes")
    if found.centre is not None and found.centre.shape != (d1,):
        raise ValueError(f"its centre is not of {d1} columns")


def write_discovery(run: RunFolder, inputs: Inputs, found: Discovery) -> list[Path]:
    """All artefacts of a finished discover; the consensus takes the class ids of an old one, if there is one."""
    searches, k = found.searches, inputs.classes
    ids = _old_ids(run, found.labels, k)
    labels = ids[found.labels]
    if found.naming is not None:
        ids = ids[found.naming]  # of the classes that `matching` speaks of
    tensors = {"weights": torch.from_numpy(searches.weights)}
    if searches.centre is not None:
        tensors["centre"] = torch.from_numpy(searches.centre)
    facts: dict[str, object] = {"classes": k}
    if searches.bias is not None:  # TURTLE: the weights of several spaces side by side
        tensors["bias"] = torch.from_numpy(searches.bias)
        facts |= {"objective": "turtle", "widths": searches.widths, "spaces": [s.name for s in inputs.sources]}
    if searches.strength is not None:
        facts["strength"] = searches.strength
    run.write_npy(run.labellings_npy, searches.labellings)
    run.write_safetensors(run.encoders, tensors, facts)
    assert found.matching is not None  # `conclude` gives it
    matched = {"matching": torch.from_numpy(found.matching), "ids": torch.from_numpy(ids)}
    run.write_safetensors(run.matching, matched, {"reference": found.reference})
    run.write_csv(
        run.searches_csv,
        table_of(
            {
                "seed": searches.seeds,
                "objective": searches.objective,
                "generalization_score": searches.generalization_score,
                "classes_found": searches.classes_found,
                "iterations": searches.iterations,
                "stop_reason": searches.stop_reasons,
                "stability": found.stability,
                "weight": found.weights,
                "left_out": found.left_out,
            }
        ),
    )
    run.write_csv(
        run.consensus_csv,
        table_of(
            {
                "index": np.arange(len(labels)),
                "filepath": inputs.items.filepaths,
                "split": inputs.split,
                "label": labels,
                "agreement": found.agreement,
                "neighbour_agreement": found.neighbour_agreement,
                "reliable": found.reliable,
            }
        ),
    )
    run.searches_consensus_csv.unlink(missing_ok=True)  # of the consensus before; answers are applied again
    if not run.classes_csv.is_file() or len(run.read_csv(run.classes_csv)) != k:
        names = [f"class-{label:02d}" for label in range(k)]
        run.write_csv(run.classes_csv, table_of({"class": range(k), "name": names}))
    spaces = [run.spaces / record["file"] for record in stored_roles(run).values()]
    searched = [run.labellings_npy, run.searches_csv, run.encoders, run.matching]
    # classes.csv is the user's to edit, so it is not among what must stay as it is.
    broken = [run.broken_csv] if inputs.recipe.data.skip_broken else []
    return [run.recipe_toml, run.items_csv, *broken, *spaces, run.spaces_json, *searched, run.consensus_csv]


def _old_ids(run: RunFolder, labels: Any, k: int) -> Any:
    """(k,) class id that each new class gets: the one of the old class it matches, where there are old ones."""
    try:
        old = run.read_csv(run.consensus_csv)["label"].to_numpy(dtype=np.int64)
    except (InputError, KeyError, ValueError):  # none yet, or not ours any more
        return np.arange(k)
    if len(old) != len(labels) or old.max(initial=0) >= k or old.min(initial=0) < 0:
        return np.arange(k)
    return match_to_old(labels, old, k)


def mark_stale(run: RunFolder) -> list[str]:
    """Mark what was made from another consensus than the present one; returns their names."""
    digest = sha256_file(run.consensus_csv)
    made = {name: record for name, record in run.stages().items() if record["identity"].get("consensus")}
    stale = [name for name, record in made.items() if record["identity"]["consensus"] != digest]
    for name in made:
        run.mark_stale(name, "the consensus has changed since" if name in stale else None)
    return stale
