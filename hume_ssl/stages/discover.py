"""`discover`: items -> spaces -> searches -> consensus, in the run folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hume_ssl.broken import sentence
from hume_ssl.config import DiscoverRecipe, to_toml
from hume_ssl.discovery import conclude
from hume_ssl.disk import atomic_path, new_array
from hume_ssl.distributed import check_devices, local_device
from hume_ssl.errors import InputError
from hume_ssl.files import table_of
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide
from hume_ssl.search import Searches, prepare_spaces, run_searches, steps_to_do
from hume_ssl.spaces.embed import precision_on
from hume_ssl.spaces.loading import check_space
from hume_ssl.stages.answers import answers_kept
from hume_ssl.stages.artefacts import (
    batch_in_hand,
    forget_checkpoints,
    keep_searches,
    mark_stale,
    remove_changed,
    searches_so_far,
    write_discovery,
)
from hume_ssl.stages.embed_ranks import spread_embedding
from hume_ssl.stages.inputs import Inputs, SpaceSource, prepare
from hume_ssl.stages.outcome import shown, summary, tell
from hume_ssl.stages.ranks import Ranks
from hume_ssl.stages.spaces import SPACES, forget_other_spaces, index_spaces, make_space
from hume_ssl.stages.table import DISCOVER, pretrained_encoders, stored_roles, stored_spaces, write_broken

KEPT = ("consensus.csv", "classes.csv")  # until there is a new consensus, to match it to
MANY = 100_000  # items, from which on their neighbours are minutes of work
ROWS = 65_536  # of a given space, copied at a time


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
    before = () if overwrite else run.stage(DISCOVER).get("identity", {}).get("spaces.encoders", ())
    inputs = prepare(recipe, before, pretrained_encoders(run), show=show)
    if inputs.broken:
        say(f"warning: {sentence(inputs.broken, len(inputs.items))}; broken.csv has the list")
    check_devices(inputs.device)
    step = decide(run, DISCOVER, inputs.identity, resume=resume, overwrite=overwrite, searches=searches)
    if inputs.choice and step != "finished":
        say(inputs.choice)
    if dry_run:
        say(f"would {step} in {run.path}: {_plan(inputs)}")
        return {"run": str(run.path), "dry_run": step, "recipe": inputs.recipe.model_dump(mode="json")}
    if step == "finished":
        say(f"{run.path} is finished: nothing to do. Next: hume-ssl select --per-class 4{run.flag}")
        return {"run": str(run.path), **shown(run.stage(DISCOVER))}
    for warning in _warnings(inputs):
        say(f"warning: {warning}")
    began = time.monotonic()
    if step == "continue":
        for name in remove_changed(run):
            say(f"{name} is not as discover left it: made again")
    done = searches_so_far(run, inputs) if step == "continue" else None
    wanted = inputs.recipe.search.searches
    if step == "continue" and searches is None:  # as many as the run that goes on was to have
        wanted = int(run.stage(DISCOVER).get("searches", wanted))
    keep = kept_files(run, inputs)
    if done is not None:  # a finished run that gets more searches keeps those it has, if it is killed now
        keep_searches(run, done)
    if step == "start":
        keep += forget_other_spaces(run, inputs.items)  # those of the same items are not embedded again
        run.remove_stage(DISCOVER, keep)
    run.begin_stage(DISCOVER, inputs.identity, searches=wanted, seed=inputs.recipe.search.seed, device=inputs.device)
    run.log(f"{step} discover: {_plan(inputs)}")
    recipe = inputs.recipe.model_copy(update={"search": inputs.recipe.search.model_copy(update={"searches": wanted})})
    write_inputs(run, inputs, recipe)
    try:
        labeller, judges = spaces_of(run, inputs, show)
    except InputError:  # what shows only now: an image whose header alone is sound, an encoder that gives NaN
        if step == "start":
            run.discard(DISCOVER, keep + forget_other_spaces(run, inputs.items))
        raise
    found = _search(run, inputs, recipe, labeller, judges, done, show)
    return conclude_run(run, inputs, found, labeller, judges, began, say, show=show)


def write_inputs(run: RunFolder, inputs: Inputs, recipe: DiscoverRecipe) -> None:
    """The recipe as it is run, the items, and the images left out of them."""
    run.write_text(run.recipe_toml, to_toml(recipe))
    run.write_csv(
        run.items_csv,
        table_of({"index": np.arange(len(inputs.items)), "filepath": inputs.items.filepaths, "split": inputs.split}),
    )
    if recipe.data.skip_broken:
        write_broken(run, inputs.broken)


def conclude_run(
    run: RunFolder,
    inputs: Inputs,
    found: Searches,
    labeller: Any,
    judges: list[Any],
    began: float,
    say: Callable[[str], None],
    *,
    show: bool = True,
) -> dict[str, Any]:
    """The consensus of searches, with which the run is finished; says what it came to, and returns facts for `--json`.

    Args:
        labeller, judges: of `spaces_of`.
        began: when, by `time.monotonic()`.
        show: progress on stderr, where there are many items.
    """
    own = labeller if inputs.sources[0].name == "labeller" else None  # without one a judge stands for it
    n = len(inputs.items)
    with track(n, "neighbours", show=show and n >= MANY) as progress:
        discovery = conclude(found, judges, inputs.train, inputs.classes, inputs.recipe.consensus, own, progress)
    artefacts = write_discovery(run, inputs, discovery)
    stale = mark_stale(run)
    facts = summary(n, discovery)
    run.finish_stage(DISCOVER, artefacts, time.monotonic() - began, searches=len(found), **facts)
    forget_checkpoints(run)
    run.log(f"finished discover: {facts}")
    tell(run, say, facts, len(found), stale)
    kept = answers_kept(run)
    if kept:
        say(kept)
    return {"run": str(run.path), **shown(run.stage(DISCOVER))}


def kept_files(run: RunFolder, inputs: Inputs) -> tuple[str, ...]:
    """What a new start spares: consensus and names, where they are of the same items. Raises InputError if the names
    cannot be read: they are the user's to edit, and hours later would be too late to say so."""
    before = run.stage(DISCOVER).get("identity", {})
    if before and before.get("data.images") != inputs.identity.get("data.images"):
        return ()
    if run.classes_csv.is_file():
        run.read_csv(run.classes_csv)
    return KEPT


def spaces_of(run: RunFolder, inputs: Inputs, show: bool) -> tuple[Any, list[Any]]:
    """The labeller and the judges, memory-mapped from the run folder, made first where they are not there yet.

    Without a labeller (TURTLE) the first judge stands for it, being one of the judges as well.
    """
    roles = stored_roles(run)
    if list(roles) != [s.name for s in inputs.sources] or not all(
        (run.spaces / r["file"]).is_file() for r in roles.values()
    ):
        # spaces.json is written last, and a stage with other inputs removed first
        index_spaces(run, {source.name: _space(run, inputs, source, show) for source in inputs.sources})
    return stored_spaces(run)


def _space(run: RunFolder, inputs: Inputs, source: SpaceSource, show: bool) -> dict[str, object]:
    """The record of a space in spaces.json, after it is there: made by an encoder, or copied from the user's array."""
    path = run.space(source.name)
    if source.spec is not None:
        data, precision = inputs.recipe.data, precision_on(inputs.device, inputs.recipe.spaces.precision)
        made = make_space(
            run,
            inputs.items,
            source.spec,
            inputs.train,
            device=local_device(inputs.device),
            precision=precision,
            what=source.name,
            spread=spread_embedding(data, inputs.broken, inputs.items, source.spec, inputs.device, precision),
            show=show,
        )
        file = Path(made["path"])
        check_space(run.read_npy(file), source.text, labeller=source.name == "labeller")
        run.write_link(path, file.name)  # for people; the record tells the file
        return {"file": file.name, **run.stage(f"{SPACES}{file.stem}")["identity"]}
    assert source.array is not None
    dtype = source.array.dtype if source.array.dtype.itemsize <= 4 else np.float32
    with (
        track(len(source.array), f"{source.name} ({source.text})", show=show) as progress,
        atomic_path(path) as temporary,
    ):
        out = new_array(temporary, source.array.shape, dtype)
        for start in range(0, len(out), ROWS):
            out[start : start + ROWS] = source.array[start : start + ROWS]
            progress.advance(min(ROWS, len(out) - start))
        out.flush()
    return {"file": path.name, "items": inputs.items.hash, "from": source.text}


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
