"""Progress with the time left, on stderr; passed into the rooms, which never print."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

PLAIN_SECONDS = 10.0  # between two lines where stderr is a file or a pipe


class Progress(Protocol):
    """What a room needs of a progress display."""

    def advance(self, n: int = 1, **info: str) -> None:
        """Say that `n` more units are done; `info` is shown beside the bar, as in `loss="0.12"`."""


def duration(seconds: float) -> str:
    """Seconds as `42s`, `3m05s` or `2h07m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


@contextmanager
def track(total: int, what: str, *, show: bool = True) -> Iterator[Progress]:
    """Show how far `what` has come out of `total` units, how long it has taken and how long it has to go.

    A bar where stderr is a terminal, else a plain line every ten seconds and one at the end. With `show=False`
    nothing is printed and nothing imported.
    """
    if not show:
        yield Silent()
    elif sys.stderr.isatty():
        with _bar(total, what) as bar:
            yield bar
    else:
        plain = Plain(total, what, sys.stderr)
        yield plain
        plain.finish()  # not reached after an error: "100%" would be a lie


@contextmanager
def _bar(total: int, what: str) -> Iterator[Progress]:
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn("{task.fields[info]}", markup=False),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("left"),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(what, total=total, info="")

        class Bar:
            def advance(self, n: int = 1, **info: str) -> None:
                if info:
                    display.update(task, advance=n, info=_pairs(info))
                else:
                    display.update(task, advance=n)

        yield Bar()


class Silent:
    """Shows nothing: the default of the Python API and of tests."""

    def advance(self, n: int = 1, **info: str) -> None:
        """Do nothing."""


class Plain:
    """Lines instead of a bar, for log files: `searches: 40% (26 of 64), loss 0.12, 8s, 12s left`."""

    def __init__(self, total: int, what: str, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.what, self.stream, self.clock = total, what, stream, clock
        self.done = 0
        self.info = ""
        self.start = self.printed = clock()

    def advance(self, n: int = 1, **info: str) -> None:
        """Count `n` units; print a line if the last one is `PLAIN_SECONDS` old."""
        self.done += n
        self.info = _pairs(info) or self.info
        now = self.clock()
        if now - self.printed >= PLAIN_SECONDS and self.done < self.total:
            self.printed = now
            self._line(now)

    def finish(self) -> None:
        """Print the last line: what came out and how long it took."""
        self._line(self.clock())

    def _line(self, now: float) -> None:
        elapsed = now - self.start
        share = self.done / self.total if self.total else 1.0
        parts = [f"{self.what}: {share:.0%} ({self.done} of {self.total})", self.info, duration(elapsed)]
        if 0 < self.done < self.total:
            parts.append(f"{duration(elapsed * (self.total - self.done) / self.done)} left")
        print(", ".join(part for part in parts if part), file=self.stream, flush=True)


def _pairs(info: dict[str, str]) -> str:
    return " ".join(f"{key} {value}" for key, value in info.items())
