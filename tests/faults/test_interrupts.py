"""Ctrl-C and SIGTERM end a command within two seconds even where it is deep in a library."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hume_ssl import interrupts
from hume_ssl.interrupts import Interrupts, obeyed

# The command line with one command, which does not come back to Python's own lines for a minute.
STUCK = """
import hashlib, sys
from hume_ssl.cli import main as module
import hume_ssl.cli.main
module_of = sys.modules["hume_ssl.cli.main"]
def stuck(**_):
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)
module_of.app = stuck
sys.argv = ["hume-ssl", "discover"]
module_of.main()
"""
# One that takes an interrupt for something else.
DEAF = STUCK.replace(
    'hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)',
    """
    import time
    try:
        time.sleep(60)
    except BaseException:
        raise RuntimeError("a worker has died") from None
""",
)
# One that is reached while a dataclass is made, by an exec of text: Python then means to end itself by the signal.
MAKING = STUCK.replace(
    'hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)',
    """
    exec("import time; time.sleep(60)")
""",
)


def ended(program: str, sign: signal.Signals) -> tuple[int, str, float]:
    """Exit code, stderr and seconds after the signal of a program that has said that it is under way.

    It is started as `python -m hume_ssl` is, where Python has its own idea of how an interrupt ends.
    """
    Path("program.py").write_text(program)
    process = subprocess.Popen([sys.executable, "-m", "program"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    began = time.monotonic()
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode(), time.monotonic() - began


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("program", [STUCK, DEAF, MAKING], ids=["stuck", "deaf", "making"])
def test_it_ends_in_time(program: str, sign: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, err, seconds = ended(program, sign)
    assert (code, err.splitlines()) == (130, ["interrupted: give the same command with --resume to go on"])
    assert seconds < 5  # two on a machine that does nothing else: test_kill_anywhere.py


@pytest.fixture(autouse=True)
def handlers_put_back() -> Iterator[None]:
    before = {sign: signal.getsignal(sign) for sign in interrupts.SIGNS}
    yield
    for sign, handler in before.items():
        signal.signal(sign, handler)


def test_once_all_is_done_it_is_too_late() -> None:
    with obeyed(lambda: None) as interrupt:
        assert signal.getsignal(signal.SIGTERM) == interrupt.handle
    os.kill(os.getpid(), signal.SIGINT)
    assert signal.set_wakeup_fd(-1) == -1
    time.sleep(0.1)
    assert not any("_watch" in thread.name for thread in threading.enumerate())


def test_what_a_worker_gets_does_not_reach_the_parent() -> None:
    """A forked worker inherits the pipe: its parent sends it SIGTERM to end it, and must not take that for its own."""
    with obeyed(lambda: None) as interrupt:
        worker = os.fork()
        if worker == 0:
            time.sleep(60)
            os._exit(0)
        time.sleep(0.1)
        os.kill(worker, signal.SIGTERM)
        _, status = os.waitpid(worker, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
        time.sleep(interrupts.GRACE + 0.3)
        assert not interrupt.came


def test_the_user_is_told_once() -> None:
    told: list[str] = []
    interrupt = Interrupts(lambda: told.append("interrupted"))
    interrupt.tell()
    interrupt.tell()
    assert told == ["interrupted"]
