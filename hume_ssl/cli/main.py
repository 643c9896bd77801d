"""`hume-ssl`: the app, and how its errors end."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from hume_ssl import __version__, claims, distributed, interrupts
from hume_ssl.cli import recipes
from hume_ssl.cli.commands import discover, evaluate, score, select, status, train_fixmatch
from hume_ssl.cli.importing import import_hume
from hume_ssl.cli.spaces import embed, pretrain
from hume_ssl.cli.taking import assign, export, report
from hume_ssl.disk import disk_trouble
from hume_ssl.errors import InputError
from hume_ssl.interrupts import INTERRUPTED

WRONG_INPUT, OUR_FAILURE = 2, 1

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
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of a broken image a user sees one line, and it is ours
    with interrupts.obeyed(_tell_interrupted) as interrupt:
        try:
            code = _run()
        except BaseException as error:
            # What a library makes of an interrupt may look like its own failure.
            if not interrupt.came and not isinstance(error, KeyboardInterrupt):
                distributed.leave(OUR_FAILURE)
                raise
            code = INTERRUPTED
    if code == INTERRUPTED:
        interrupt.tell()
    claims.release_all()
    sys.stdout.flush()
    distributed.leave(code)
    if interrupt.came:
        # Where it passed through an exec of text (a dataclass), Python would end itself by the signal: other exit code.
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    """The exit code of the command; what is the user's to mend is said in a line."""
    try:
        distributed.join()
        result = app(standalone_mode=False)
        return result if isinstance(result, int) else 0  # typer swallows an interrupt, and returns its code
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.table:
            print(error.table, file=sys.stderr)
        return WRONG_INPUT
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUR_FAILURE
    except OSError as error:
        trouble = disk_trouble(error)
        if trouble is None:
            raise
        print(f"error: {trouble}; then {_how_to_go_on()}", file=sys.stderr)
        return WRONG_INPUT
    except Exception as error:
        return _from_typer(error)


def _from_typer(error: Exception) -> int:
    """Exit code of typer's own errors, which print a usage box; anything else is ours and raised again."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if callable(show) and isinstance(code, int):
        show()
        return code
    if type(error).__name__ == "Abort":  # what typer makes of an interrupt
        return INTERRUPTED
    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    raise error


def _tell_interrupted() -> None:
    print(f"interrupted: {_how_to_go_on()}", file=sys.stderr)


def _how_to_go_on() -> str:
    resumable = sys.argv[1:2] in (["discover"], ["embed"], ["train-fixmatch"], ["pretrain"])
    return "give the same command with --resume to go on" if resumable else "give the same command again"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hume-ssl {__version__}")
        raise typer.Exit()
