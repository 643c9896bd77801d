"""Damage that files meet: cut off, bits changed, parts lost, doubled or swapped, and numbers made absurd."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hypothesis import strategies as st

SECONDS = 10  # that a reader may take over one file
BYTES = 1 << 30  # of memory that it may take

# What is put into a file's text: numbers no file has, text that is none, brackets without end.
WORDS = (
    b"",
    b"0",
    b"-1",
    b"1e999",
    b"nan",
    b"99999999999999999999",
    b"4294967295",
    b"9223372036854775807",
    b"null",
    b"{}",
    b"[]",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b'"',
    b"'",
    b",",
    b",,,,",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"a" * 200_000,
)


class Seeds(list[bytes]):
    """Sound files; megabytes of them are not printed."""

    def __repr__(self) -> str:
        return f"{len(self)} sound files"


@st.composite
def damaged(draw: Any, seeds: Seeds) -> bytes:
    """One of the seeds after one to four kinds of damage."""
    data = seeds[draw(st.integers(0, len(seeds) - 1))]
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(("cut", "bits", "bytes", "word", "number", "lose", "double", "splice", "zeros")))
        # Headers are where a reader decides what follows: half of the damage falls on the first 300 bytes.
        last = len(data) if draw(st.booleans()) else min(len(data), 300)
        at = draw(st.integers(0, max(0, last)))
        size = draw(st.integers(1, 64))
        if kind == "cut":
            data = data[:at]
        elif kind == "bits" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
        elif kind == "bytes":
            data = data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at + size :]
        elif kind == "word":
            data = data[:at] + draw(st.sampled_from(WORDS)) + data[at + draw(st.integers(0, 8)) :]
        elif kind == "number":
            data = _number(data, at, draw(st.sampled_from(WORDS[1:12])))
        elif kind == "lose":
            data = data[:at] + data[at + size :]
        elif kind == "double":
            data = data[: at + size] + data[at:]
        elif kind == "splice":
            other = seeds[draw(st.integers(0, len(seeds) - 1))]
            data = data[:at] + other[min(at, len(other)) :]
        else:
            data = data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
    return data


def _number(data: bytes, at: int, word: bytes) -> bytes:
    """The first number in digits after `at` made another."""
    start = next((i for i in range(at, min(len(data), at + 5000)) if 48 <= data[i] < 58), None)
    if start is None:
        return data
    end = start
    while end < len(data) and 48 <= data[end] < 58:
        end += 1
    return data[:start] + word + data[end:]


class TooSlow(BaseException):
    """A reader took longer than `SECONDS`."""


@contextmanager
def within_limits() -> Iterator[None]:
    """Allow the block `BYTES` more memory than there is now: what asks for more gets a MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def in_time() -> Iterator[None]:
    """Stop the block after `SECONDS`."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
