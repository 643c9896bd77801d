"""Exports of a trained network: one module a format, each with `check()` and `write(trained, class_names, path)`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hume_ssl.errors import InputError

if TYPE_CHECKING:
    from hume_ssl.train.trained import Trained


class Format(NamedTuple):
    """Where a format is written and what its main file is called."""

    module: str
    file: str


FORMATS = {"torch": Format("torch_state", "model.pth"), "onnx": Format("onnx_model", "model.onnx")}


def check_format(name: str) -> None:
    """Raise InputError unless there is such a format, and what it needs is installed."""
    if name not in FORMATS:
        near = difflib.get_close_matches(name, FORMATS, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"no export format is called {name!r}: {meant}give --to {' or '.join(FORMATS)}")
    _module(name).check()


def write(name: str, trained: Trained, class_names: list[str], folder: Path) -> list[Path]:
    """Write a network in the format `name` into `folder`; the files written, the main one first.

    Args:
        trained: the network, on the CPU.
        class_names: (k,) names in the order of the class ids.
    """
    writer: Callable[[Trained, list[str], Path], list[Path]] = _module(name).write
    return writer(trained, class_names, folder / FORMATS[name].file)


def _module(name: str) -> Any:
    return import_module(f"hume_ssl.export.{FORMATS[name].module}")
