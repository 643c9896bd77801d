"""Figures of a running training for a viewer: TensorBoard, where the user has it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from hume_ssl.errors import InputError

LOGGERS = ("tensorboard",)


class Logger(Protocol):
    """What the loop needs of a logger."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Take one row of history: `step`, and figures by name; None = no figure, a list = one figure a class."""

    def close(self) -> None:
        """Write out what there is."""


class TensorBoard:
    """Writes each figure as a curve to event files in `folder`.

    The first row it is given makes a viewer forget all that stands there of that step and later ones: a training that
    was killed after its last checkpoint does those steps again, and no point is drawn twice.
    """

    def __init__(self, folder: Path) -> None:
        self.module = _tensorboard()
        self.folder = folder
        self.writer: Any = None

    def row(self, row: Mapping[str, Any]) -> None:
        """Draw one point on each curve; those of a list are called `figure/0`, `figure/1`, ..."""
        step = int(row["step"])
        if self.writer is None:
            again = any(self.folder.glob("events.out.tfevents.*"))
            self.writer = self.module.SummaryWriter(str(self.folder), purge_step=step if again else None)
        for name, value in row.items():
            values = (
                {f"{name}/{i}": v for i, v in enumerate(value)} if isinstance(value, list | tuple) else {name: value}
            )
            for curve, figure in values.items():
                if curve != "step" and figure is not None:
                    self.writer.add_scalar(curve, figure, step)
        self.writer.flush()

    def close(self) -> None:
        """Close the event file, if one was begun."""
        if self.writer is not None:
            self.writer.close()


class Silent:
    """Draws nothing."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def open_logger(name: str | None, folder: Path) -> Logger:
    """The logger called `name`, which will write to `folder`; nothing is written yet.

    Raises InputError: no such logger, or it is not installed.
    """
    if name is None:
        return Silent()
    if name not in LOGGERS:
        raise InputError(f"no logger is called {name!r}: give --logger {' or '.join(LOGGERS)}")
    return TensorBoard(folder)


def _tensorboard() -> Any:
    """torch's writer of event files. Raises InputError where TensorBoard is not installed."""
    try:
        return import_module("torch.utils.tensorboard")
    except ImportError as error:
        raise InputError(
            "--logger tensorboard needs the package tensorboard: pip install 'hume_ssl[tensorboard]'"
        ) from error
