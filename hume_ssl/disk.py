"""What is written is whole or absent, by one process at a time, and a full disk is told of in a line.

Every writer goes through `atomic_path`. What is in the files, `hume_ssl.files` knows.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

TEMPORARY = ".hume-tmp-"  # begins the name of every file that is being written
_ROOM = "make room on that disk"
_RIGHTS = "make it writable, or name another folder with --run"

FULL = (errno.ENOSPC, errno.EDQUOT)

# What a user can do about an error of the operating system, by its number.
TROUBLE = {
    **dict.fromkeys(FULL, _ROOM),
    errno.EFBIG: "allow larger files (ulimit -f), or name a folder on another disk with --run",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _RIGHTS),
    errno.EIO: "look after that disk",
    errno.ENAMETOOLONG: "name a folder with a shorter path with --run",
    errno.EMFILE: "allow more open files (ulimit -n)",
}


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Have an OSError of the block name `path`, where it names no file, or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, to write to; moved to `path` when the block ends well.

    A reader sees the old file or the new one, never half a file, also after kill -9 or a loss of power; after an
    error the old file stays and the temporary one is removed. An OSError of the writing names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.parent / f"{TEMPORARY}{token}-{path.name[-100:]}"
    try:
        with naming(path, temporary):
            yield temporary
            _to_disk(temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # it has its name, or the disk can no longer be written to
            temporary.unlink()
    with suppress(OSError):  # some file systems cannot sync a folder
        _to_disk(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in `folder` of processes of this machine that are no more."""
    for path in folder.glob(f"{TEMPORARY}*"):
        match = re.match(rf"{re.escape(TEMPORARY + _host())}-(\d+)-", path.name)
        if match and not _alive(int(match[1])):
            path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process holds `folder`, and hold it; no lock file is made."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock nothing
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to the file `target` in the same folder."""
    temporary = path.parent / f"{TEMPORARY}{_host()}-{os.getpid()}-{secrets.token_hex(4)}-{path.name[-100:]}"
    try:
        with naming(path, temporary):
            os.symlink(target, temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # it has its name
            temporary.unlink()


def disk_trouble(error: OSError) -> str | None:
    """What a user is told of a file that could not be written or read, and can mend; None for anything else.

    numpy gives no number for a write that was cut short.
    """
    if error.errno not in TROUBLE and not (error.errno is None and error.filename):
        return None
    advice = TROUBLE.get(error.errno or errno.ENOSPC, "")
    reason = error.strerror or "the disk took only a part"
    where = f"{os.fsdecode(error.filename)}: {reason}" if error.filename else f"a file: {reason}"
    return f"no access to {where}: {advice}"


def new_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.memmap[Any, Any]:
    """A memory-mapped .npy file to fill, its room on the disk taken at once.

    Without that a disk that fills up later ends the process by a signal, at whatever line writes to the array.

    Raises OSError, naming `path`, where there is too little room; the file is then removed.
    """
    import numpy as np

    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    if not hasattr(os, "posix_fallocate"):  # macOS
        return array
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, path.stat().st_size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # of a file system that cannot
            path.unlink()
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(descriptor)
    return array


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "", platform.node())[:24] or "host"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it lives, but is not ours
    return True
