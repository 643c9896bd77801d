"""Who is at work on a stage of a run: a lock file that a second process is refused by, and that dies with its process.

The lock is the operating system's on an open file, not the file's being there: what a killed process left is taken over
without a question, and worker processes do not inherit it. Where a file system has no locks there is none.
"""

from __future__ import annotations

import atexit
import errno
import os
import platform
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from hume_ssl.disk import TEMPORARY
from hume_ssl.errors import InputError

TRIES = 3  # a lock may be held for a moment by a process that only looks whether its holder lives

_held: dict[Path, tuple[int, int]] = {}  # lock file -> its descriptor, and the process that took it


def claim(folder: Path, stage: str) -> None:
    """Hold `stage` of the run in `folder` until `release`, or the end of this process; held already, nothing happens.

    Raises InputError where another process holds it, naming that, or where the folder cannot be written to.
    """
    path = _path(folder, stage)
    if path in _held and _held[path][1] == os.getpid():
        return
    try:
        import fcntl
    except ImportError:  # Windows
        return
    tries = 0
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}: name another folder with --run") from error
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            os.close(descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                tries += 1
                if tries < TRIES:
                    time.sleep(0.05)
                    continue
                raise InputError(
                    f"{stage} in {folder} is being made by {holder or 'another process'}: wait for it, or stop it"
                ) from None
            return
        if _is(path, descriptor):  # else it was removed between opening and locking
            break
        os.close(descriptor)
    if not _held:
        atexit.register(release_all)
    _held[path] = descriptor, os.getpid()
    with suppress(OSError):  # on a full disk it is held all the same, without a name
        os.ftruncate(descriptor, 0)
        os.write(
            descriptor, f"process {os.getpid()} on {platform.node()} since {datetime.now():%Y-%m-%d %H:%M:%S}".encode()
        )


def remove_dead(folder: Path) -> None:
    """Remove the lock files in `folder` of processes that were killed."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    for path in folder.absolute().glob(f"{TEMPORARY}lock-*"):
        if path in _held:  # to close a file of our own would let go of it
            continue
        with suppress(OSError):  # held by a living process, or gone meanwhile
            descriptor = os.open(path, os.O_RDWR)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is(path, descriptor):
                    path.unlink()
            finally:
                os.close(descriptor)


def release(folder: Path, stage: str) -> None:
    """Let go of a stage, if this process holds it."""
    _release(_path(folder, stage))


def release_all() -> None:
    """Let go of all that this process holds."""
    for path in list(_held):
        _release(path)


def _release(path: Path) -> None:
    descriptor, process = _held.pop(path, (-1, -1))
    if process != os.getpid():  # a forked worker knows of it, and does not hold it
        return
    with suppress(OSError):
        path.unlink()
    os.close(descriptor)


def _path(folder: Path, stage: str) -> Path:
    return folder.absolute() / f"{TEMPORARY}lock-{stage.replace('/', '+')}"


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
