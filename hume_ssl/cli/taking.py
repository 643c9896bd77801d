"""The commands that take a run's results elsewhere: to new images, to other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from hume_ssl.cli.options import (
    DEFAULT_RUN,
    Device,
    Download,
    Json,
    Name,
    Names,
    Overwrite,
    Root,
    Run,
    answer,
    named,
    sayer,
)
from hume_ssl.run import RunFolder


def assign(
    images: Annotated[str | None, typer.Option(help="New images: what discover takes.")] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="What labels them: searches, or train, the trained network.")
    ] = None,
    labeller: Annotated[str | None, typer.Option(help="New rows .npy, where the run's labeller was given.")] = None,
    judge: Annotated[list[str] | None, typer.Option(help="New rows .npy, where the run's judge was given.")] = None,
    name: Name = None,
    root: Root = None,
    download: Download = False,
    device: Device = None,
    names: Names = None,
    run: Run = DEFAULT_RUN,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Label new items."""
    from hume_ssl.stages.assign import assign as stage

    folder, say = named(run, names, sayer(as_json))
    facts = stage(
        folder,
        images,
        say,
        source=source or ("searches" if name is None else "train"),
        labeller=labeller,
        judges=tuple(judge or ()),
        name=name,
        root=root,
        download=download,
        device=device or "auto",
        overwrite=overwrite,
    )
    answer(facts, as_json)


def report(
    truth: Annotated[str | None, typer.Option(help="Evaluate against this first, as evaluate --truth does.")] = None,
    layout: Annotated[str, typer.Option("--map", help="How the map is laid out: pca, or umap.")] = "pca",
    run: Run = DEFAULT_RUN,
    as_json: Json = False,
) -> None:
    """Make report.html: see the classes, name them, mark what is wrong."""
    from hume_ssl.stages.report import report as stage

    answer(stage(RunFolder(run), sayer(as_json), truth=truth, layout=layout), as_json)


def export(
    to: Annotated[
        str | None, typer.Option(help="torch, onnx, csv, imagefolder ...: see --list.", metavar="FORMAT")
    ] = None,
    of: Annotated[
        str | None, typer.Option(help="Labels of which items: consensus (all), reliable or selection.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy images instead of linking to them.")] = False,
    prefix: Annotated[
        str, typer.Option(help="What goes before a file's path in label-studio.")
    ] = "/data/local-files/?d=",
    list_formats: Annotated[bool, typer.Option("--list", help="Say which formats there are.")] = False,
    name: Name = None,
    names: Names = None,
    run: Run = DEFAULT_RUN,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write labels, or the trained network, for other programs."""
    from hume_ssl.errors import InputError
    from hume_ssl.labels.labelled import How
    from hume_ssl.stages.export import export as stage
    from hume_ssl.stages.export import listed

    say = sayer(as_json)
    if list_formats:
        for line in listed():
            say(line)
        return answer({"formats": [line.split()[0] for line in listed()]}, as_json)
    if to is None:
        raise InputError("which format? give --to FORMAT; hume-ssl export --list names them")
    how = How(copy=copy, prefix=prefix)
    folder, say = named(run, names, say)
    answer(stage(folder, to, say, name=name, of=of, how=how, overwrite=overwrite), as_json)
