"""`discover`: items -> spaces -> searches -> consensus, in the run folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hume_ssl.api import Discovery, conclude
from hume_ssl.config import DiscoverRecipe, to_toml
from hume_ssl.consensus import match_to_old
from hume_ssl.errors import InputError
from hume_ssl.files import atomic_path, sha256_file
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide
from hume_ssl.search import Searches, prepare_spaces, run_searches, steps_to_do
from hume_ssl.stages.inputs import Inputs, make_space, prepare
from hume_ssl.stages.table import run_flag

STAGE = "discover"
KEPT = ("consensus.csv", "classes.csv")  # until there is a new consensus, to match it to


def discover(
    recipe: DiscoverRecipe,
    run: RunFolder,
    say: Callable[[str], None],
    *,
    searches: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Run the recipe in the run folder.

    Args:
        say: takes one line at a time for the user.
        searches: the number asked for on the command line, None if none was.
        show: progress on stderr.

    Returns:
        Facts for `--json`.

    Raises InputError before anything is written.
    """
    inputs = prepare(recipe)
    step = decide(run, STAGE, inputs.identity, resume=resume, overwrite=overwrite, searches=searches)
    if dry_run:
        say(f"would {step} in {run.path}: {_plan(inputs)}")
        return {"run": str(run.path), "dry_run": step, "recipe": inputs.recipe.model_dump(mode="json")}
    if step == "finished":
        say(f"{run.path} is finished: nothing to do. Next: hume-ssl select --per-class 4{run_flag(run)}")
        return {"run": str(run.path), **_facts(run.stage(STAGE))}
    for warning in _warnings(inputs):
        say(f"warning: {warning}")
    began = time.monotonic()
    done = _stored(run, inputs) if step == "continue" else None
    wanted = inputs.recipe.search.searches
    if step == "continue" and searches is None:  # as many as the run that goes on was to have
        wanted = int(run.stage(STAGE).get("searches", wanted))
    keep = _kept(run, inputs)
    if step == "start":
        run.remove_stage(STAGE, keep)
    run.begin_stage(STAGE, inputs.identity, searches=wanted, seed=inputs.recipe.search.seed, device=inputs.device)
    run.log(f"{step} discover: {_plan(inputs)}")
    recipe = inputs.recipe.model_copy(update={"search": inputs.recipe.search.model_copy(update={"searches": wanted})})
    run.write_text(run.recipe_toml, to_toml(recipe))
    run.write_csv(
        run.items_csv,
        pd.DataFrame(
            {"index": np.arange(len(inputs.items)), "filepath": inputs.items.filepaths, "split": inputs.split}
        ),
    )
    try:
        labeller, judges = _spaces(run, inputs, show)
    except InputError:  # what shows only now: an image whose header alone is sound, an encoder that gives NaN
        if step == "start":
            run.discard(STAGE, keep)
        raise
    found = _search(run, inputs, recipe, labeller, judges, done, show)
    discovery = conclude(found, judges, inputs.train, inputs.classes, inputs.recipe.consensus)
    artefacts = _write(run, inputs, discovery)
    stale = _mark_stale(run)
    facts = _summary(inputs, discovery)
    run.finish_stage(STAGE, artefacts, time.monotonic() - began, searches=len(found), **facts)
    run.search_checkpoint.unlink(missing_ok=True)
    run.log(f"finished discover: {facts}")
    _tell(run, say, facts, len(found), inputs, stale)
    return {"run": str(run.path), **_facts(run.stage(STAGE))}


def _kept(run: RunFolder, inputs: Inputs) -> tuple[str, ...]:
    """What a new start spares: consensus and names, where they are of the same items. Raises InputError if the names
    cannot be read: they are the user's to edit, and hours later would be too late to say so."""
    before = run.stage(STAGE).get("identity", {})
    if before and before.get("data.images") != inputs.identity.get("data.images"):
        return ()
    if run.classes_csv.is_file():
        run.read_csv(run.classes_csv)
    return KEPT


def stored_searches(run: RunFolder) -> Searches:
    """The searches of a finished discover."""
    table = run.read_csv(run.searches_csv)
    tensors, _ = run.read_safetensors(run.encoders)
    centre = tensors.get("centre")
    return Searches(
        seeds=table["seed"].tolist(),
        labellings=np.asarray(run.read_npy(run.labellings_npy)),
        objective=table["objective"].to_numpy(dtype=np.float64),
        generalization_score=table["generalization_score"].to_numpy(dtype=np.float64),
        classes_found=table["classes_found"].tolist(),
        iterations=table["iterations"].tolist(),
        stop_reasons=table["stop_reason"].tolist(),
        weights=tensors["weights"].numpy(),
        centre=None if centre is None else centre.numpy(),
    )


def _stored(run: RunFolder, inputs: Inputs) -> Searches | None:
    """Searches to go on from: those of the finished stage, else those of its checkpoint."""
    if run.stage(STAGE).get("status") == "finished" and not run.changed(STAGE):
        return stored_searches(run)
    if not run.search_checkpoint.is_file():
        return None
    tensors, facts = run.read_safetensors(run.search_checkpoint)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    if facts["n"] != len(inputs.items):
        return None
    return Searches(**{"centre": None, **arrays, **facts["searches"]})


def _keep(run: RunFolder, found: Searches) -> None:
    """Write the finished searches, so that a killed run goes on after its last whole batch."""
    arrays = {k: torch.from_numpy(v) for k, v in found.__dict__.items() if isinstance(v, np.ndarray)}
    rest = {k: v for k, v in found.__dict__.items() if k not in arrays and v is not None}
    run.write_safetensors(run.search_checkpoint, arrays, {"n": found.labellings.shape[1], "searches": rest})


def _spaces(run: RunFolder, inputs: Inputs, show: bool) -> tuple[Any, list[Any]]:
    """The labeller and the judges, memory-mapped from the run folder, made first where they are not there yet."""
    from hume_ssl.spaces.embed import describe

    record = {}
    for source in inputs.sources:
        how = describe(inputs.items, source.spec) if source.spec is not None else {"from": source.text}
        record[source.name] = {"file": run.space(source.name).name, "items": inputs.items.hash, **how}
    there = run.spaces_json.is_file() and all(run.space(source.name).is_file() for source in inputs.sources)
    if not there:  # spaces.json is written last, and a stage with other inputs removed first
        for source in inputs.sources:
            with track(len(inputs.items), f"{source.name} ({source.text})", show=show) as progress:
                _write_space(run.space(source.name), inputs, source, progress)
        run.write_json(run.spaces_json, record)
    labeller, *judges = [run.read_npy(run.space(source.name)) for source in inputs.sources]
    return labeller, judges or [labeller]


def _write_space(path: Path, inputs: Inputs, source: Any, progress: Any) -> None:
    dtype = source.array.dtype if source.array is not None and source.array.dtype.itemsize <= 4 else np.float32
    with atomic_path(path) as temporary:

        def allocate(shape: tuple[int, int]) -> Any:
            return np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)

        make_space(inputs, source, allocate, progress)


def _search(
    run: RunFolder, inputs: Inputs, recipe: DiscoverRecipe, labeller: Any, judges: list[Any], done: Any, show: bool
) -> Searches:
    spaces = prepare_spaces(labeller, judges, inputs.train, recipe.search, inputs.device)
    total = steps_to_do(recipe.search.searches, len(done) if done else 0, inputs.classes, recipe.search)
    with track(total, f"{recipe.search.searches} searches", show=show) as progress:
        return run_searches(
            spaces,
            inputs.classes,
            recipe.search,
            done=done,
            keep=lambda found: _keep(run, found),
            progress=progress,
        )


def _write(run: RunFolder, inputs: Inputs, found: Discovery) -> list[Path]:
    """All artefacts of a finished discover; the consensus takes the class ids of an old one, if there is one."""
    searches, k = found.searches, inputs.classes
    labels = _old_ids(run, found.labels, k)[found.labels]
    tensors = {"weights": torch.from_numpy(searches.weights)}
    if searches.centre is not None:
        tensors["centre"] = torch.from_numpy(searches.centre)
    run.write_npy(run.labellings_npy, searches.labellings)
    run.write_safetensors(run.encoders, tensors, {"classes": k})
    run.write_csv(
        run.searches_csv,
        pd.DataFrame(
            {
                "seed": searches.seeds,
                "objective": searches.objective,
                "generalization_score": searches.generalization_score,
                "classes_found": searches.classes_found,
                "iterations": searches.iterations,
                "stop_reason": searches.stop_reasons,
            }
        ),
    )
    run.write_csv(
        run.consensus_csv,
        pd.DataFrame(
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
    if not run.classes_csv.is_file() or len(run.read_csv(run.classes_csv)) != k:
        names = [f"class-{label:02d}" for label in range(k)]
        run.write_csv(run.classes_csv, pd.DataFrame({"class": range(k), "name": names}))
    spaces = [run.space(source.name) for source in inputs.sources]
    searched = [run.labellings_npy, run.searches_csv, run.encoders]
    # classes.csv is the user's to edit, so it is not among what must stay as it is.
    return [run.recipe_toml, run.items_csv, *spaces, run.spaces_json, *searched, run.consensus_csv]


def _old_ids(run: RunFolder, labels: Any, k: int) -> Any:
    """(k,) class id that each new class gets: the one of the old class it matches, where there are old ones."""
    try:
        old = run.read_csv(run.consensus_csv)["label"].to_numpy(dtype=np.int64)
    except (InputError, KeyError, ValueError):  # none yet, or not ours any more
        return np.arange(k)
    if len(old) != len(labels) or old.max(initial=0) >= k or old.min(initial=0) < 0:
        return np.arange(k)
    return match_to_old(labels, old, k)


def _mark_stale(run: RunFolder) -> list[str]:
    """Mark what was made from another consensus than the present one; returns their names."""
    digest = sha256_file(run.consensus_csv)
    made = {name: record for name, record in run.stages().items() if record["identity"].get("consensus")}
    stale = [name for name, record in made.items() if record["identity"]["consensus"] != digest]
    for name in made:
        run.mark_stale(name, "the consensus has changed since" if name in stale else None)
    return stale


def _summary(inputs: Inputs, found: Discovery) -> dict[str, Any]:
    sizes = np.bincount(found.labels[found.train], minlength=inputs.classes)
    return {
        "items": len(inputs.items),
        "train_items": int(found.train.sum()),
        "classes": inputs.classes,
        "class_sizes": sorted(sizes.tolist(), reverse=True),
        "collapsed_searches": int(np.count_nonzero(np.array(found.searches.classes_found) < inputs.classes)),
        "voters": found.voters.tolist(),
        "mean_agreement": round(float(found.agreement[found.train].mean()), 6),
        "reliable_items": int(np.count_nonzero(found.reliable & found.train)),
    }


def _facts(stage: dict[str, Any]) -> dict[str, Any]:
    keys = ("searches", "items", "train_items", "classes", "class_sizes", "mean_agreement", "reliable_items", "seconds")
    return {key: stage[key] for key in keys if key in stage}


def _plan(inputs: Inputs) -> str:
    search = inputs.recipe.search
    spaces = ", ".join(f"{source.name} {source.text}" for source in inputs.sources)
    return (
        f"{search.searches} searches ({search.preset}) for {inputs.classes} classes in {int(inputs.train.sum())} train "
        f"and {int((~inputs.train).sum())} test items; {spaces}; device {inputs.device}"
    )


def _warnings(inputs: Inputs) -> list[str]:
    if len(inputs.sources) > 1:
        return []
    return [
        f"{inputs.sources[0].text} serves as labeller and as judge: two different spaces find better classes; "
        "give a second --encoder, or --judge"
    ]


def _tell(
    run: RunFolder, say: Callable[[str], None], facts: dict[str, Any], r: int, inputs: Inputs, stale: list[str]
) -> None:
    sizes = facts["class_sizes"]
    say(
        f"{r} searches found {inputs.classes} classes in {facts['train_items']} train items (largest {sizes[0]}, "
        f"smallest {sizes[-1]}); {facts['reliable_items']} items are reliable, mean agreement "
        f"{facts['mean_agreement']:.2f}"
    )
    if facts["collapsed_searches"]:
        say(f"warning: {facts['collapsed_searches']} of {r} searches lost a class")
    if stale:
        say(f"now stale, made from the old consensus: {', '.join(stale)}")
    say(f"written to {run.path}: consensus.csv, searches/, spaces/. Next: hume-ssl select --per-class 4{run_flag(run)}")
