"""What a worker process of a DataLoader does first."""

from __future__ import annotations

import os
import signal
import threading
import time

LOOK = 2.0  # seconds between two looks at the parent


def begin_worker(worker: int) -> None:
    """For `worker_init_fn`: interrupts are left to the parent, and the worker ends with it.

    Ctrl-C reaches the workers too; without this each would write a traceback. And where the parent is killed outright,
    a worker that waits for it to read from a full pipe would stay for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)
