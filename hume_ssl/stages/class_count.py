"""`discover --classes 5:15`: a few searches for each number of classes, a table, a plot, and the number it would take.

It writes no consensus, and shares no file with `discover` itself: either may come first in a run folder. Where a killed
trial goes on, the numbers already tried are read back from a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from hume_ssl.broken import sentence
from hume_ssl.class_count import SEARCHES, Tried, choose, keeps, quick, settings_for, try_counts
from hume_ssl.config import DiscoverRecipe, override
from hume_ssl.distributed import check_devices, refuse
from hume_ssl.errors import InputError
from hume_ssl.files import read_csv
from hume_ssl.progress import track
from hume_ssl.report.panels import panels
from hume_ssl.run import RunFolder, decide
from hume_ssl.search import prepare_spaces, steps_to_do
from hume_ssl.spaces.embed import precision_on
from hume_ssl.spaces.loading import check_space
from hume_ssl.stages.inputs import Inputs, SpaceSource, prepare
from hume_ssl.stages.spaces import make_space
from hume_ssl.stages.table import CLASS_COUNT, pretrained_encoders

# Columns of the table as the user sees it: heading, width, format.
TABLE = {
    "k": ("k", 4, "d"),
    "support": ("support", 9, ".3f"),
    "stability": ("stability", 11, ".3f"),
    "stability_better_half": ("of the better half", 20, ".3f"),
    "generalization_score": ("generalization score", 22, ".3f"),
    "objective": ("objective", 11, ".4f"),
    "collapsed": ("collapsed", 11, "d"),
}


def count_classes(
    recipe: DiscoverRecipe,
    run: RunFolder,
    say: Callable[[str], None],
    counts: range,
    *,
    again: str,
    after: Callable[[int], str],
    searches: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Try numbers of classes in the run folder.

    Args:
        say: takes one line at a time for the user.
        counts: the numbers of classes, ascending.
        again: the command that goes on with this one.
        after: the command that discovers so many classes.
        searches: for each number; None: 10.
        show: progress on stderr.

    Returns:
        Facts for `--json`: a row for each number of classes, and the one it would take, `k`.

    Raises InputError before anything is written.
    """
    refuse(f"discover --classes {counts[0]}:{counts[-1]}")
    trial = _trial(recipe, counts, SEARCHES if searches is None else searches)
    inputs = prepare(trial, (), pretrained_encoders(run), show=show)
    if inputs.broken:
        say(f"warning: {sentence(inputs.broken, len(inputs.items))}")
    check_devices(inputs.device)
    config, tried_as = inputs.recipe.search, f"{counts[0]}:{counts[-1]}"
    identity = {key: value for key, value in inputs.identity.items() if not key.startswith("consensus.")}
    identity |= {"data.classes": tried_as, "search.searches": config.searches}
    step = decide(run, CLASS_COUNT, identity, resume=resume, overwrite=overwrite)
    plan = f"{config.searches} searches for each number of classes from {counts[0]} to {counts[-1]}"
    if dry_run:
        say(f"would {step} in {run.path}: {plan}, {config.iterations} steps each; device {inputs.device}")
        shown = inputs.recipe.model_dump(mode="json")
        shown["data"]["classes"] = None  # it is what is looked for
        return {"run": str(run.path), "dry_run": step, "recipe": shown}
    if step == "finished":
        tried = read_tried(run.class_count_csv)
        say(f"{run.class_count_csv} is finished: nothing to do")
        return _told(run, say, tried, after)
    if inputs.choice:
        say(inputs.choice)
    began = time.monotonic()
    tried = read_tried(run.class_count_rows) if step == "continue" and run.class_count_rows.is_file() else []
    if step == "start":
        run.remove_stage(CLASS_COUNT)
    run.begin_stage(CLASS_COUNT, identity, seed=config.seed, device=inputs.device, next=again)
    run.log(f"{step} {CLASS_COUNT}: {plan}; {config!r}")
    try:
        arrays = [_space(run, inputs, source, show) for source in inputs.sources]
    except InputError:  # what shows only now: an image whose header alone is sound, an encoder that gives NaN
        if step == "start":
            run.discard(CLASS_COUNT)
        raise
    judges = arrays[1 if inputs.sources[0].name == "labeller" else 0 :] or arrays
    spaces = prepare_spaces(arrays[0], judges, inputs.train, config, inputs.device)
    steps = {
        k: steps_to_do(config.searches, 0, k, settings_for(k, config, spaces.device), spaces.device) for k in counts
    }
    with track(sum(steps.values()), plan, show=show) as progress:
        progress.advance(sum(steps[one.k] for one in tried))
        for one in try_counts(spaces, counts[len(tried) :], config, len(inputs.items), progress):
            tried.append(one)
            run.write_csv(run.class_count_rows, _table(tried))
    k = choose(tried)
    run.write_csv(run.class_count_csv, _table(tried))
    run.write_text(run.class_count_svg, _plot(tried, k))
    artefacts = [run.class_count_csv, run.class_count_svg]
    run.finish_stage(CLASS_COUNT, artefacts, time.monotonic() - began, k=k, next=after(k))
    run.log(f"finished {CLASS_COUNT}: it would take k = {k}")
    _forget(run)
    return _told(run, say, tried, after)


def _trial(recipe: DiscoverRecipe, counts: range, searches: int) -> DiscoverRecipe:
    """The recipe of the trial: its largest k, so that one which cannot be is refused now; its few searches."""
    if searches < 2:
        raise InputError(f"--searches {searches} is too few to tell whether searches agree: give 2 or more")
    recipe = override(recipe, {"data.classes": counts[-1], "search.searches": searches})
    return recipe.model_copy(update={"search": quick(recipe.search)})


def _space(run: RunFolder, inputs: Inputs, source: SpaceSource, show: bool) -> Any:
    """A space as it was given, or made by an encoder, where `discover` will find it."""
    if source.spec is None:
        return source.array
    precision = precision_on(inputs.device, inputs.recipe.spaces.precision)
    how: dict[str, Any] = {"device": inputs.device, "precision": precision, "what": source.name, "show": show}
    made = run.read_npy(Path(make_space(run, inputs.items, source.spec, inputs.train, **how)["path"]))
    check_space(made, source.text, labeller=source.name == "labeller")
    return made


def _forget(run: RunFolder) -> None:
    """Remove what only an unfinished trial needs."""
    run.class_count_rows.unlink(missing_ok=True)
    folder = run.class_count_rows.parent
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _table(tried: Sequence[Tried]) -> pd.DataFrame:
    return pd.DataFrame([_row(one) for one in tried])


def _row(one: Tried) -> dict[str, Any]:
    return {"k": one.k, "support": round(one.support, 6), **asdict(one)}


def read_tried(path: Path) -> list[Tried]:
    """The numbers of classes tried so far. Raises InputError for a table that is none of ours."""
    table = read_csv(path)
    try:
        rows = table.drop(columns="support").to_dict("records")
        tried = [Tried(**{str(key): value for key, value in row.items()}) for row in rows]
        for one in tried:
            numbers = all(isinstance(value, int | float) for value in asdict(one).values())
            if not numbers or one.k != int(one.k) or one.k < 2:
                raise ValueError(f"in the row of k = {one.k}")
        if not tried:
            raise ValueError("it has no rows")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is damaged: {error}: try again with --overwrite") from error
    return tried


def _plot(tried: Sequence[Tried], k: int) -> str:
    names = {
        "support": "support: mean of both stabilities, times the root of log k (the choice: where it is highest)",
        "stability": "stability: mean ARI of any two searches",
        "stability_better_half": "stability of the better half by objective",
        "generalization_score": "generalization score (falls with k)",
        "objective": "objective (nats, rises with k)",
    }
    shown = {words: [float(getattr(one, key)) for one in tried] for key, words in names.items()}
    title = f"{tried[0].searches} searches for each number of classes; it would take {k}"
    return panels(title, "number of classes k", [one.k for one in tried], shown, k)


def _told(
    run: RunFolder, say: Callable[[str], None], tried: Sequence[Tried], after: Callable[[int], str]
) -> dict[str, Any]:
    """Say the table, the choice and what it is worth; facts for `--json`."""
    k = choose(tried)
    say("".join(f"{heading:>{width}}" for heading, width, _ in TABLE.values()))
    for one in tried:
        row = "".join(f"{getattr(one, key):>{width}{form}}" for key, (_, width, form) in TABLE.items())
        say(row + ("  <" if one.k == k else ""))
    others = [one for one in tried if one.k != k]
    say(
        f"it would take {k} classes, on which searches agree best for its size; second {choose(others)}. This is "
        "a heuristic: searches may agree on groups of classes as well as on classes, so look at both"
    )
    if not any(keeps(one) for one in tried):
        say(
            "warning: at every number most searches lost classes: these spaces hold fewer apart; try smaller numbers, "
            "or other spaces"
        )
    elif k in (tried[0].k, tried[-1].k):
        say(f"{k} is an end of the range: try a wider one")
    say(f"written to {run.path}: {run.class_count_csv.name}, {run.class_count_svg.name}. Next: {after(k)}")
    return {"run": str(run.path), "classes": [_row(one) for one in tried], "k": k, "next": after(k)}
