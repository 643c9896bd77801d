"""Names from strangers: what a spreadsheet would run is in no table, and what a terminal would obey in no message.

A spreadsheet takes some cells for formulas, when a table is opened in one (OWASP, "CSV Injection"). A number with a
sign is none, nor is a name such as `-dash.png`, in which nothing is called.
"""

from __future__ import annotations

_ALWAYS = ("=", "@", "\t", "\r", "\n", "\uff1d", "\uff20")  # the last two are = and @ of full width
_WITH_A_CALL = ("+", "-", "\uff0b", "\uff0d")
_CALLS = ("(", "|", "!")


def is_formula(text: str) -> bool:
    """Whether a spreadsheet might run a cell with this text."""
    return text.startswith(_ALWAYS) or (text.startswith(_WITH_A_CALL) and any(sign in text for sign in _CALLS))


def as_line(text: str) -> str:
    """The text on one line, its control signs and what is no text as escapes: `\\x1b[31m`."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def as_path(path: str) -> str:
    """The same path, relative or absolute, as a cell that is no formula: `./=1+1.png`."""
    return f"./{path}" if is_formula(path) else path
