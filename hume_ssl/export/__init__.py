"""Exports of a trained network: one module a format, each with `check()` and `write(trained, class_names, path)`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from hume_ssl.train.trained import Trained


class Format(NamedTuple):
    """A format: its module, what its main file is called, and what it is."""

    module: str
    file: str
    what: str


FORMATS = {
    "torch": Format("torch_state", "model.pth", "the trained network as a state dict"),
    "onnx": Format("onnx_model", "model.onnx", "the trained network as ONNX"),
}


def check(name: str) -> None:
    """Raise InputError where a format needs a package that is not installed."""
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
