"""Options that several commands share, and how a command answers: lines for a person, or one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hume_ssl.errors import InputError
from hume_ssl.harmless import as_line

if TYPE_CHECKING:
    from hume_ssl.run import RunFolder

Run = Annotated[Path, typer.Option("--run", help="The run folder.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; everything else goes to stderr.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what is unfinished.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start again.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and what would be done.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any recipe key, as search.seed=3; repeat.", metavar="KEY=VALUE"),
]
PerClass = Annotated[int | None, typer.Option("--per-class", help="Which selection; the latest if not given.")]
Names = Annotated[
    Path | None,
    typer.Option("--names", help="A CSV class,name, as the report gives it; classes of one name are one."),
]
Name = Annotated[str | None, typer.Option("--name", help="Name of a training.")]

Images = Annotated[
    str | None,
    typer.Option(
        "--images",
        help="A folder, a CSV with filepath, a uint8 .npy, a .zip or .tar, torchvision:NAME, a saved data set.",
    ),
]
Root = Annotated[str | None, typer.Option("--root", help="Folder of torchvision's data sets: ./data.", metavar="DIR")]
Download = Annotated[bool, typer.Option("--download", help="Fetch a torchvision data set that is not there.")]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out images that cannot be read, and list them in broken.csv.")
]

DEFAULT_RUN = Path("hume-run")


def parse_sets(sets: list[str] | None, room: str) -> dict[str, object]:
    """`["search.seed=3"]` as a mapping. Raises InputError for one without an equals sign; `room` is for its example."""
    pairs: dict[str, object] = {}
    for text in sets or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--set {text!r} is not KEY=VALUE: write, for example, --set {room}.seed=3")
        pairs[key.strip()] = value.strip()
    return pairs


def sayer(as_json: bool, dry_run: bool = False) -> Callable[[str], None]:
    """Where a command's lines go: stdout, or stderr beside a JSON object; comments above the TOML of a dry run."""
    stream, start = sys.stderr if as_json else sys.stdout, "# " if dry_run and not as_json else ""

    def say(line: str) -> None:
        print(start + as_line(line), file=stream, flush=True)

    return say


def named(run: Path, names: Path | None, say: Callable[[str], None]) -> tuple[RunFolder, Callable[[str], None]]:
    """The run, its classes named by the file where one is given."""
    from hume_ssl.run import RunFolder

    folder = RunFolder(run)
    if names is not None:
        from hume_ssl.stages.naming import name_by_file

        name_by_file(folder, names, say)
    return folder, say


def answer(facts: dict[str, Any], as_json: bool, dry_toml: str | None = None) -> None:
    """Print the JSON object, if asked for; else, after --dry-run, the resolved recipe."""
    if as_json:
        print(json.dumps(facts, ensure_ascii=False, allow_nan=False))
    elif dry_toml is not None:
        print(dry_toml, end="")
