"""The commands of `hume-ssl`: each parses, calls its stage and prints."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hume_ssl.cli.class_range import next_command, parse_classes, resume_command
from hume_ssl.cli.options import (
    DEFAULT_RUN,
    Device,
    Download,
    DryRun,
    Images,
    Json,
    Name,
    Names,
    Overwrite,
    PerClass,
    Resume,
    Root,
    Run,
    Sets,
    SkipBroken,
    answer,
    named,
    parse_sets,
    sayer,
)
from hume_ssl.run import RunFolder

# What a command needs is imported in it: `hume-ssl --help` would otherwise wait for pydantic and the recipes' models.


def discover(
    recipe: Annotated[str | None, typer.Option(help="A name from `recipes ls`, or a TOML file.")] = None,
    images: Images = None,
    root: Root = None,
    download: Download = False,
    skip_broken: SkipBroken = False,
    labeller: Annotated[str | None, typer.Option(help="Labeller space: .npy, (n, d1); turtle needs none.")] = None,
    judge: Annotated[list[str] | None, typer.Option(help="Judge space: .npy, (n, d2) floats; repeat for more.")] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="KIND:NAME[@FILE][?size=PIXELS]: first the labeller, then the judge.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="K|LOW:HIGH", help="How many classes there are, or a range to try, as 5:15.")
    ] = None,
    searches: Annotated[int | None, typer.Option(help="How many searches to run.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the searches.")] = None,
    split: Annotated[str | None, typer.Option(help="Share of test items in (0, 1), or a file.")] = None,
    prior: Annotated[str | None, typer.Option(help="Class sizes: uniform, free, or a file of shares.")] = None,
    neighbours: Annotated[int | None, typer.Option(help="Nearest items asked whether they agree.")] = None,
    preset: Annotated[Literal["fast", "paper"] | None, typer.Option(help="Settings of the search.")] = None,
    device: Device = None,
    sets: Sets = None,
    run: Run = DEFAULT_RUN,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Find classes in images without labels: searches, and the consensus they vote."""
    from hume_ssl.class_shares import read_prior
    from hume_ssl.config import DiscoverRecipe, load_recipe, override, to_toml
    from hume_ssl.spaces.trust import trust

    trust(encoder or ())
    count = parse_classes(classes)
    k = count[-1] if isinstance(count, range) else count
    say = sayer(as_json, dry_run)
    pairs = parse_sets(sets, "search")
    given = bool(images or labeller or judge or pairs.keys() & {"data.images", "data.labeller", "data.judges"})
    if recipe is None and not given:
        say("no recipe, images or spaces given: running the recipe digits (scikit-learn's 1,797 handwritten digits)")
    chosen: DiscoverRecipe = load_recipe(recipe or ("images" if given else "digits"), "discover")
    flags: dict[str, object] = {"data.images": images, "data.root": root, "data.labeller": labeller}
    flags |= {"data.download": download or None, "data.skip_broken": skip_broken or None}
    flags["data.judges"] = tuple(judge) if judge else None
    flags |= {"spaces.encoders": tuple(encoder) if encoder else None, "data.classes": k, "data.split": split}
    flags |= {"search.searches": searches, "search.seed": seed, "search.preset": preset, "search.device": device}
    flags["search.prior"] = read_prior(prior) if prior is not None else None
    chosen = override(chosen, {**flags, "consensus.neighbours": neighbours})
    chosen = override(chosen, pairs)
    wanted = chosen.search.searches if searches is not None or "search.searches" in pairs else None
    how: dict[str, Any] = {"searches": wanted, "resume": resume, "overwrite": overwrite, "dry_run": dry_run}
    if isinstance(count, range):
        from hume_ssl.stages.class_count import count_classes

        again, after = resume_command(sys.argv[1:]), partial(next_command, sys.argv[1:])
        facts = count_classes(chosen, RunFolder(run), say, count, again=again, after=after, **how)
    else:
        from hume_ssl.stages.discover import discover as stage

        facts = stage(chosen, RunFolder(run), say, **how)
    answer(facts, as_json, to_toml(DiscoverRecipe.model_validate(facts["recipe"])) if dry_run else None)


def select(
    per_class: Annotated[int | None, typer.Option(help="At most so many items of each class.")] = None,
    ask: Annotated[int | None, typer.Option(help="List so many items that a person should label.")] = None,
    answers: Annotated[Path | None, typer.Option(help="The list of --ask, filled in: name and correct.")] = None,
    names: Names = None,
    strategy: Annotated[
        Literal["certain", "cover", "random"],
        typer.Option(help="The most certain items, certain ones that stand for their class, or any reliable ones."),
    ] = "certain",
    allow_short: Annotated[bool, typer.Option(help="Take what there is where a class has fewer.")] = False,
    run: Run = DEFAULT_RUN,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Pick the most reliable items of each class into a label file; ask a person about others."""
    from hume_ssl.stages.ask import select as stage

    facts = stage(
        RunFolder(run),
        sayer(as_json),
        per_class=per_class,
        ask=ask,
        answers=answers,
        names=names,
        strategy=strategy,
        allow_short=allow_short,
        overwrite=overwrite,
    )
    answer(facts, as_json)


def train_fixmatch(
    recipe: Annotated[str, typer.Option(help="A name from `recipes ls`, or a TOML file.")] = "fixmatch",
    per_class: PerClass = None,
    name: Name = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training.")] = None,
    exclude_labelled: Annotated[
        bool, typer.Option("--exclude-labelled", help="Take the labelled items out of the unlabelled pool.")
    ] = False,
    device: Device = None,
    names: Names = None,
    logger: Annotated[str | None, typer.Option(help="tensorboard: curves of the training as event files.")] = None,
    sets: Sets = None,
    run: Run = DEFAULT_RUN,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train a classifier on the selected labels and all train items."""
    from hume_ssl.config import TrainRecipe, load_recipe, override, to_toml

    chosen: TrainRecipe = load_recipe(recipe, "train")
    flags = {"train.steps": steps, "train.seed": seed, "train.exclude_labelled": exclude_labelled or None}
    chosen = override(chosen, flags)
    chosen = override(chosen, parse_sets(sets, "train"))
    from hume_ssl.stages.train import train_fixmatch as stage

    folder, say = named(run, None if dry_run else names, sayer(as_json, dry_run))
    facts = stage(
        chosen,
        folder,
        say,
        per_class=per_class,
        name=name,
        device=device or "auto",
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
        logger=logger,
    )
    answer(facts, as_json, to_toml(TrainRecipe.model_validate(facts["recipe"])) if dry_run else None)


def evaluate(
    truth: Annotated[Path, typer.Option(help="npy in the order of items.csv, or a CSV filepath,label.")],
    per_class: PerClass = None,
    name: Name = None,
    per_class_curve: Annotated[bool, typer.Option(help="Accuracy of reliable items at 1 to 400 a class.")] = False,
    run: Run = DEFAULT_RUN,
    as_json: Json = False,
) -> None:
    """Compare what was found with human labels."""
    from hume_ssl.stages.evaluate import evaluate as stage

    facts = stage(
        RunFolder(run), str(truth), sayer(as_json), per_class=per_class, name=name, per_class_curve=per_class_curve
    )
    answer(facts, as_json)


def score(
    labels: Annotated[Path, typer.Option(help="npy in the order of items.csv, or a CSV filepath,label; -1: left out.")],
    device: Device = None,
    run: Run = DEFAULT_RUN,
    as_json: Json = False,
) -> None:
    """Score a labelling of your own as the run's searches are scored; writes nothing."""
    from hume_ssl.stages.score import score as stage

    answer(stage(RunFolder(run), str(labels), sayer(as_json), device=device), as_json)


def status(run: Run = DEFAULT_RUN, as_json: Json = False) -> None:
    """Say what is done, what is stale, and what comes next."""
    from hume_ssl.stages.status import status as stage

    answer(stage(RunFolder(run), sayer(as_json)), as_json)
