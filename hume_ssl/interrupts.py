"""Ctrl-C and SIGTERM: a command ends within two seconds, whatever it is computing.

Python acts on a signal between two of its own instructions: a long product in one of the libraries makes it wait, and
an interrupt that arrives in a callback is lost. So a second thread, woken by the operating system, ends the process
where the first does not come to its end in time. What is on the disk is whole at every moment, as for kill -9.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
GRACE = 1.2  # seconds a process has to end by itself
SIGNS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Whether the user has interrupted this process, and has been told what that means.

    Args:
        tell: says how to go on; called once.
    """

    def __init__(self, tell: Callable[[], object]) -> None:
        self.came = False
        self._tell, self._told = tell, threading.Lock()

    def tell(self) -> None:
        """Tell the user, unless it has been done."""
        if self._told.acquire(blocking=False):
            self._tell()

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """The first signal becomes a KeyboardInterrupt; the second ends the process at once."""
        if self.came:
            self.end()
        self.came = True
        raise KeyboardInterrupt

    def end(self) -> None:
        """End the process here and now."""
        try:
            self.tell()
        finally:
            os._exit(INTERRUPTED)


@contextmanager
def obeyed(tell: Callable[[], object]) -> Iterator[Interrupts]:
    """Within the block an interrupt ends this process, forked workers aside; after it, when all is done, none does.

    Args:
        tell: says how to go on; called at most once, perhaps from another thread.
    """
    interrupts = Interrupts(tell)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for sign in SIGNS:
        signal.signal(sign, interrupts.handle)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: _leave_alone(interrupts))
    threading.Thread(target=_watch, args=(reader, interrupts), daemon=True).start()
    try:
        yield interrupts
    finally:
        for sign in SIGNS:  # too late: the exit code is that of what was done
            signal.signal(sign, signal.SIG_IGN)
        if not interrupts.came:  # else the watch goes on until the interpreter has shut down
            signal.set_wakeup_fd(-1)
            os.close(writer)


def _watch(reader: int, interrupts: Interrupts) -> None:
    """Wait for a signal's number in the pipe, or for the pipe's end."""
    while byte := os.read(reader, 1):
        if byte[0] in SIGNS:
            time.sleep(GRACE)
            interrupts.end()
    os.close(reader)


def _leave_alone(interrupts: Interrupts) -> None:
    """In a forked worker: its signals are its own, and not written to the parent's pipe."""
    if signal.getsignal(signal.SIGTERM) == interrupts.handle:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
