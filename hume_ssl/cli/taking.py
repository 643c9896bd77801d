"""The commands that take a run's results elsewhere: to new images, to other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from hume_ssl.cli.options import DEFAULT_RUN, Device, Download, Json, Name, Overwrite, Root, Run, answer, sayer
from hume_ssl.run import RunFolder


def assign(
    images: Annotated[str, typer.Option(help="New images: what discover takes.")],
    source: Annotated[str, typer.Option("--from", help="What labels them: train, the trained network.")] = "train",
    name: Name = None,
    root: Root = None,
    download: Download = False,
    device: Device = None,
    run: Run = DEFAULT_RUN,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Label new images."""
    from hume_ssl.stages.assign import assign as stage

    facts = stage(
        RunFolder(run),
        images,
        sayer(as_json),
        source=source,
        name=name,
        root=root,
        download=download,
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
