"""The commands that take in results of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hume_ssl.cli.options import DEFAULT_RUN, Images, Json, Overwrite, Run, answer, sayer


def import_hume(
    folder: Annotated[Path, typer.Argument(help="With linear_task_SEED.pt and results_SEED.pickle.", metavar="DIR")],
    labeller: Annotated[str, typer.Option(help="The searches' --phi1_path: .npy, (n, d1).")],
    judge: Annotated[str, typer.Option(help="The searches' --phi2_path: .npy, (n, d2).")],
    images: Images = None,
    split: Annotated[str | None, typer.Option(help="Share of test items in (0, 1), or a file.")] = None,
    run: Run = DEFAULT_RUN,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Take in searches that HUME's published code has run; nothing in their files is run."""
    from hume_ssl.run import RunFolder
    from hume_ssl.stages.import_hume import import_hume as stage

    say = sayer(as_json)
    facts = stage(RunFolder(run), folder, labeller, judge, say, images=images, split=split, overwrite=overwrite)
    answer(facts, as_json)
