"""`--classes`: one number, or a range of them to try; and the command that comes after the trial."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import typer

from hume_ssl.errors import InputError

# What the next command leaves out: what was meant for the trial alone, and the "--" that torchrun likes to have. True:
# the option takes a value.
NOT_REPEATED = {
    "--classes": True,
    "--searches": True,
    "--json": False,
    "--dry-run": False,
    "--resume": False,
    "--overwrite": False,
    "--": False,
}
KEYS = ("search.searches", "data.classes")  # the same, said with --set


def parse_classes(text: str | None) -> int | range | None:
    """`"12"` as 12, `"5:15"` as all numbers from 5 to 15. Raises typer's usage error for what is no number, InputError
    for a range that cannot be tried."""
    if text is None:
        return None
    if ":" in text:
        return _range(text)
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a valid integer.", param_hint="'--classes'") from None


def next_command(arguments: Sequence[str], k: int) -> str:
    """The user's own `discover` again, with k classes and the default number of searches."""
    kept: list[str] = []
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.partition("=")
        words = [word]
        if (NOT_REPEATED.get(name) or name == "--set") and not equals:
            value = next(rest, "")
            words.append(value)
        if name not in NOT_REPEATED and not (name == "--set" and value.partition("=")[0].strip() in KEYS):
            kept += words
    command, *others = kept or ["discover"]
    return shlex.join(["hume-ssl", command, "--classes", str(k), *others])


def resume_command(arguments: Sequence[str]) -> str:
    """The user's own command again, to go on with it."""
    return shlex.join(
        ["hume-ssl", *(word for word in arguments if word not in ("--", "--resume", "--overwrite")), "--resume"]
    )


def _range(text: str) -> range:
    match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", text)
    if match is None:
        raise InputError(f"--classes {text} is no range: give LOW:HIGH, as 5:15, or one number")
    low, high = int(match[1]), int(match[2])
    if min(low, high) < 2:
        raise InputError(f"--classes {text} goes below 2 classes: give LOW:HIGH, as 2:15")
    if high == low:
        raise InputError(f"--classes {text} is one number, nothing to choose from: give --classes {low}, or a range")
    if high < low:
        raise InputError(f"--classes {text} is empty: give --classes {high}:{low}")
    return range(low, high + 1)
