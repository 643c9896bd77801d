"""The commands that take a run's results elsewhere: to new images, to other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from hume_ssl.cli.options import DEFAULT_RUN, Device, Json, Name, Overwrite, Run, answer, sayer
from hume_ssl.run import RunFolder


def assign(
    images: Annotated[
        str | None, typer.Option(help="New images: a folder, a CSV with filepath, or a uint8 .npy.")
    ] = None,
    source: Annotated[
        str, typer.Option("--from", help="What labels them: searches, or train, the trained network.")
    ] = "searches",
    labeller: Annotated[str | None, typer.Option(help="New rows .npy, where the run's labeller was given.")] = None,
    judge: Annotated[list[str] | None, typer.Option(help="New rows .npy, where the run's judge was given.")] = None,
    name: Name = None,
    device: Device = None,
    run: Run = DEFAULT_RUN,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Label new items."""
    from hume_ssl.stages.assign import assign as stage

    facts = stage(
        RunFolder(run),
        images,
        sayer(as_json),
        source=source,
        labeller=labeller,
        judges=tuple(judge or ()),
        name=name,
        device=device or "auto",
        overwrite=overwrite,
    )
    answer(facts, as_json)


def export(
    to: Annotated[str, typer.Option(help="torch (a state dict) or onnx.", metavar="FORMAT")],
    name: Name = None,
    run: Run = DEFAULT_RUN,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write the trained network for other programs."""
    from hume_ssl.stages.export import export as stage

    answer(stage(RunFolder(run), to, sayer(as_json), name=name, overwrite=overwrite), as_json)
