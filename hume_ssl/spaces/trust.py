"""Whose code torch.hub may run: what the user has named, now or before, and never what a file alone asks for.

A recipe or a run folder may come from a stranger, and `hub:OWNER/REPO/ENTRY` in it would run that repository's code. So
an encoder of that kind has to be named with --encoder (or in a call from Python) once; torch.hub's own list of trusted
repositories remembers it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hume_ssl.errors import InputError

OWNERS = ("facebookresearch", "pytorch")  # of the repositories that `embed --list` offers, and torchvision's own

_named: set[str] = set()


def trust(encoders: Iterable[str]) -> None:
    """Remember that the user has named these encoders."""
    _named.update(repository_of(text.split(":", 1)[1]) for text in encoders if text.startswith("hub:"))


def check_trusted(name: str) -> None:
    """Raise InputError where nobody but a file has named the repository of REPO/ENTRY."""
    repository = repository_of(name)
    if repository in _named or repository.partition("/")[0] in OWNERS or _as_listed(repository) in _listed():
        return
    raise InputError(
        f"hub:{name} runs the code of {repository}, which only a file asks for: if you trust it, name it once with "
        f"hume-ssl embed --images DIR --encoder hub:{name}"
    )


def remember(name: str) -> None:
    """Put a folder that was named into torch.hub's list, as torch.hub does with repositories."""
    with suppress(OSError):  # it is asked for again then
        path = _list()
        path.parent.mkdir(parents=True, exist_ok=True)
        listed = _as_listed(repository_of(name))
        if listed not in _listed():
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{listed}\n")


def repository_of(name: str) -> str:
    """OWNER/NAME, without branch, entry, weights and options, or the absolute folder."""
    repository = name.partition("@")[0].partition("?")[0].rpartition("/")[0]
    if repository.startswith(("/", ".", "~")):
        return str(Path(repository).expanduser().absolute())
    return repository.partition(":")[0]


def _as_listed(repository: str) -> str:
    return repository if repository.startswith("/") else repository.replace("/", "_")


def _list() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "trusted_list"


def _listed() -> set[str]:
    try:
        return set(_list().read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return set()
