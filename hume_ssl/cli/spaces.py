"""The commands that make spaces from images."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from hume_ssl.cli.options import (
    DEFAULT_RUN,
    Device,
    Download,
    DryRun,
    Images,
    Json,
    Overwrite,
    Resume,
    Root,
    Run,
    Sets,
    SkipBroken,
    answer,
    parse_sets,
    sayer,
)
from hume_ssl.errors import InputError
from hume_ssl.run import RunFolder


def embed(
    images: Images = None,
    root: Root = None,
    download: Download = False,
    skip_broken: SkipBroken = False,
    encoder: Annotated[list[str] | None, typer.Option(help="KIND:NAME[@FILE][?size=PIXELS]; repeat for more.")] = None,
    list_them: Annotated[
        bool, typer.Option("--list", help="Which encoders there are, and which pair to take.")
    ] = False,
    split: Annotated[str | None, typer.Option(help="Share of test items in (0, 1), or a file.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Of networks; auto: bfloat16 on a GPU that has it.")
    ] = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Images encoded at once; found by itself.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode; found by itself.")] = None,
    device: Device = None,
    run: Run = DEFAULT_RUN,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make spaces: one vector for each image, by each encoder."""
    say = sayer(as_json)
    if list_them:
        from hume_ssl.stages.encoder_list import list_encoders

        answer(list_encoders(say), as_json)
        return
    if images is None:
        raise InputError("which images? give --images, or --list to see which encoders there are")
    from hume_ssl.spaces.trust import trust

    trust(encoder or ())
    from hume_ssl.config import DiscoverRecipe, override
    from hume_ssl.stages.embed import embed as stage

    flags: dict[str, object] = {"data.images": images, "data.root": root, "data.split": split}
    flags |= {"data.download": download or None, "data.skip_broken": skip_broken or None}

    facts = stage(
        RunFolder(run),
        override(DiscoverRecipe(name="embed"), flags).data,
        encoder or [],
        say,
        precision=precision,
        device=device or "auto",
        batch=batch,
        workers=workers,
        resume=resume,
        overwrite=overwrite,
    )
    answer(facts, as_json)


def pretrain(
    images: Images = None,
    root: Root = None,
    download: Download = False,
    skip_broken: SkipBroken = False,
    network: Annotated[str | None, typer.Option(help="auto, small-cnn, resnet18, resnet34, resnet50.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the training; its network if not given.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times each image is seen.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps, instead of epochs.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step, each in two views.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of the longer side.")] = None,
    no_flip: Annotated[bool, typer.Option("--no-flip", help="A mirror image is another thing.")] = False,
    split: Annotated[
        str | None, typer.Option(help="Share of test items in (0, 1), or a file: not learned from.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training.")] = None,
    device: Device = None,
    sets: Sets = None,
    run: Run = DEFAULT_RUN,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train an encoder on your images without labels: a labeller space of their own."""
    from hume_ssl.config import PretrainRecipe, override, to_toml

    flags: dict[str, object] = {"data.images": images, "data.split": split, "pretrain.network": network}
    flags |= {"data.root": root, "data.download": download or None, "data.skip_broken": skip_broken or None}
    flags |= {"pretrain.epochs": epochs, "pretrain.steps": steps, "pretrain.batch": batch, "pretrain.size": size}
    flags |= {"pretrain.seed": seed, "pretrain.flip": False if no_flip else None}
    chosen = override(PretrainRecipe(name="pretrain"), {**flags, **parse_sets(sets, "pretrain")})
    from hume_ssl.stages.pretrain import pretrain as stage

    facts = stage(
        chosen,
        RunFolder(run),
        sayer(as_json, dry_run),
        name=name,
        device=device or "auto",
        resume=resume,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    answer(facts, as_json, to_toml(PretrainRecipe.model_validate(facts["recipe"])) if dry_run else None)
