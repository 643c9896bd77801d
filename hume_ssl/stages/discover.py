"""`discover`: items -> spaces -> searches -> consensus, in the run folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hume_ssl.broken import sentence
from hume_ssl.config import DiscoverRecipe, to_toml
from hume_ssl.discovery import conclude
from hume_ssl.distributed import check_devices, local_device
from hume_ssl.errors import InputError
from hume_ssl.files import atomic_path
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide
from hume_ssl.search import Searches, prepare_spaces, run_searches, steps_to_do
from hume_ssl.stages.answers import answers_kept
from hume_ssl.stages.artefacts import (
    batch_in_hand,
    forget_checkpoints,
    keep_searches,
    mark_stale,
    searches_so_far,
    write_discovery,
)
from hume_ssl.stages.inputs import Inputs, make_space, prepare
from hume_ssl.stages.outcome import shown, summary, tell
from hume_ssl.stages.ranks import Ranks
from hume_ssl.stages.table import DISCOVER, run_flag, stored_spaces

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
    inputs = prepare(recipe, show=show)
    if inputs.broken:
        say(f"warning: {sentence(inputs.broken, len(inputs.items))}; broken.csv has the list")
    check_devices(inputs.device)
    step = decide(run, DISCOVER, inputs.identity, resume=resume, overwrite=overwrite, searches=searches)
    if dry_run:
        say(f"would {step} in {run.path}: {_plan(inputs)}")
        return {"run": str(run.path), "dry_run": step, "recipe": inputs.recipe.model_dump(mode="json")}
    if step == "finished":
        say(f"{run.path} is finished: nothing to do. Next: hume-ssl select --per-class 4{run_flag(run)}")
        return {"run": str(run.path), **shown(run.stage(DISCOVER))}
    for warning in _warnings(inputs):
        say(f"warning: {warning}")
    began = time.monotonic()
    done = searches_so_far(run, inputs) if step == "continue" else None
    wanted = inputs.recipe.search.searches
    if step == "continue" and searches is None:  # as many as the run that goes on was to have
        wanted = int(run.stage(DISCOVER).get("searches", wanted))
    keep = _kept(run, inputs)
    if done is not None:  # a finished run that gets more searches keeps those it has, if it is killed now
        keep_searches(run, done)
    if step == "start":
        run.remove_stage(DISCOVER, keep)
    run.begin_stage(DISCOVER, inputs.identity, searches=wanted, seed=inputs.recipe.search.seed, device=inputs.device)
    run.log(f"{step} discover: {_plan(inputs)}")
    recipe = inputs.recipe.model_copy(update={"search": inputs.recipe.search.model_copy(update={"searches": wanted})})
    run.write_text(run.recipe_toml, to_toml(recipe))
    run.write_csv(
        run.items_csv,
        pd.DataFrame(
            {"index": np.arange(len(inputs.items)), "filepath": inputs.items.filepaths, "split": inputs.split}
        ),
    )
    if recipe.data.skip_broken:
        columns = {name: [getattr(one, name) for one in inputs.broken] for name in ("filepath", "reason", "position")}
        run.write_csv(run.broken_csv, pd.DataFrame(columns))
    try:
        labeller, judges = _spaces(run, inputs, show)
    except InputError:  # what shows only now: an image whose header alone is sound, an encoder that gives NaN
        if step == "start":
            run.discard(DISCOVER, keep)
        raise
    found = _search(run, inputs, recipe, labeller, judges, done, show)
    own = labeller if inputs.sources[0].name == "labeller" else None  # without one a judge stands for it
    discovery = conclude(found, judges, inputs.train, inputs.classes, inputs.recipe.consensus, own)
    artefacts = write_discovery(run, inputs, discovery)
    stale = mark_stale(run)
    facts = summary(len(inputs.items), discovery)
    run.finish_stage(DISCOVER, artefacts, time.monotonic() - began, searches=len(found), **facts)
    forget_checkpoints(run)
    run.log(f"finished discover: {facts}")
    tell(run, say, facts, len(found), stale)
    kept = answers_kept(run)
    if kept:
        say(kept)
    return {"run": str(run.path), **shown(run.stage(DISCOVER))}


def _kept(run: RunFolder, inputs: Inputs) -> tuple[str, ...]:
    """What a new start spares: consensus and names, where they are of the same items. Raises InputError if the names
    cannot be read: they are the user's to edit, and hours later would be too late to say so."""
    before = run.stage(DISCOVER).get("identity", {})
    if before and before.get("data.images") != inputs.identity.get("data.images"):
        return ()
    if run.classes_csv.is_file():
        run.read_csv(run.classes_csv)
    return KEPT


def _spaces(run: RunFolder, inputs: Inputs, show: bool) -> tuple[Any, list[Any]]:
    """The labeller and the judges, memory-mapped from the run folder, made first where they are not there yet.

    Without a labeller (TURTLE) the first judge stands for it, being one of the judges as well.
    """
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
    return stored_spaces(run)


def _write_space(path: Path, inputs: Inputs, source: Any, progress: Any) -> None:
    dtype = source.array.dtype if source.array is not None and source.array.dtype.itemsize <= 4 else np.float32
    with atomic_path(path) as temporary:

        def allocate(shape: tuple[int, int]) -> Any:
            return np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)

        make_space(inputs, source, allocate, progress)


def _search(
    run: RunFolder, inputs: Inputs, recipe: DiscoverRecipe, labeller: Any, judges: list[Any], done: Any, show: bool
) -> Searches:
    spaces = prepare_spaces(labeller, judges, inputs.train, recipe.search, local_device(inputs.device))
    total = steps_to_do(recipe.search.searches, len(done) if done else 0, inputs.classes, recipe.search, inputs.device)
    with track(total, f"{recipe.search.searches} searches", show=show) as progress:
        ranks = Ranks(run, inputs.device, progress)
        return run_searches(
            spaces,
            inputs.classes,
            recipe.search,
            done=done,
            keep=lambda found: keep_searches(run, found),
            progress=ranks,
            spread=ranks.spread,
            midway=lambda start: batch_in_hand(run, start),
        )


def _plan(inputs: Inputs) -> str:
    search = inputs.recipe.search
    how = search.preset if search.objective == "hume" else f"{search.objective}, {search.preset}"
    spaces = ", ".join(f"{source.name} {source.text}" for source in inputs.sources)
    return (
        f"{search.searches} searches ({how}) for {inputs.classes} classes in {int(inputs.train.sum())} train "
        f"and {int((~inputs.train).sum())} test items; {spaces}; device {inputs.device}"
    )


def _warnings(inputs: Inputs) -> list[str]:
    if len(inputs.sources) > 1 or inputs.recipe.search.objective == "turtle":
        return []
    return [
        f"{inputs.sources[0].text} serves as labeller and as judge: two different spaces find better classes; "
        "give a second --encoder, or --judge"
    ]
