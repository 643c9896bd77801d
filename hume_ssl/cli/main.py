"""`hume-ssl`: the app, and how its errors end."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from types import FrameType
from typing import Annotated, NoReturn

import typer

from hume_ssl import __version__, claims, distributed
from hume_ssl.cli import recipes
from hume_ssl.cli.commands import discover, evaluate, score, select, status, train_fixmatch
from hume_ssl.cli.importing import import_hume
from hume_ssl.cli.spaces import embed, pretrain
from hume_ssl.cli.taking import assign, export, report
from hume_ssl.errors import InputError

WRONG_INPUT, OUR_FAILURE, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes around the help would take half of its time
    help="Images without labels in; a labelled set you can trust, and a classifier trained from it, out.",
)
app.command("discover")(discover)
app.command("embed")(embed)
app.command("pretrain")(pretrain)
app.command("select")(select)
app.command("train-fixmatch")(train_fixmatch)
app.command("evaluate")(evaluate)
app.command("score")(score)
app.command("assign")(assign)
app.command("report")(report)
app.command("export")(export)
app.command("import-hume")(import_hume)
app.command("status")(status)
app.add_typer(recipes.app, name="recipes")


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=lambda v: _version(v))
    ] = False,
) -> None:
    """Images without labels in; a labelled set you can trust, and a classifier trained from it, out."""


def main() -> NoReturn:
    """Run the command line: exit 0 done, 2 wrong input (one line), 1 our own failure, 130 interrupted, resumable."""
    if distributed.rank() > 0:
        from hume_ssl.stages.ranks import follow

        follow()
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of a broken image a user sees one line, and it is ours
    try:
        distributed.join()
        result = app(standalone_mode=False)
        code = result if isinstance(result, int) else 0
        if code == INTERRUPTED:  # typer swallows an interrupt, and says nothing
            _interrupted()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.table:
            print(error.table, file=sys.stderr)
        code = WRONG_INPUT
    except KeyboardInterrupt:
        code = _interrupted()
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OUR_FAILURE
    except Exception as error:
        try:
            code = _from_typer(error)
        except BaseException:
            distributed.leave(OUR_FAILURE)
            raise
    claims.release_all()
    sys.stdout.flush()
    distributed.leave(code)
    sys.exit(code)


def _from_typer(error: Exception) -> int:
    """Exit code of typer's own errors, which print a usage box; anything else is ours and raised again."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if callable(show) and isinstance(code, int):
        show()
        return code
    if type(error).__name__ == "Abort":  # what typer makes of an interrupt
        return _interrupted()
    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    raise error


def _interrupted() -> int:
    resumable = sys.argv[1:2] in (["discover"], ["train-fixmatch"], ["pretrain"])
    how = "give the same command with --resume to go on" if resumable else "give the same command again"
    print(f"interrupted: {how}", file=sys.stderr)
    return INTERRUPTED


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hume-ssl {__version__}")
        raise typer.Exit()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
