"""Valid bytes, damaged: what a broken disk, a cut-off copy, a wrong editor or ill will makes of a file.

Each edit is a function (data, random, seeds) -> data; `damaged` is a hypothesis strategy of one to four of them, each
with a number of its own to draw from, so that a failure shrinks to the fewest edits.
"""

import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

Edit = Callable[[bytes, random.Random, Sequence[bytes]], bytes]

NUMBERS = [0, 1, 2, 3, 127, 128, 255, 256, 2**15, 2**16 - 1, 13_000, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1]
NUMBERS += [2**33, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
WORDS = [
    b"-1",
    b"0",
    b"1",
    b"1.5",
    b"1e999",
    b"-1e400",
    b"nan",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
]
WORDS += [
    b"3",
    b"99999999999999999999",
    b"9" * 5000,
    b"1000000000",
    b"-2147483649",
    b"0x10",
    b"1979-05-27",
    b"[[]]",
    b'"a"',
]
WORDS += [
    b"\xff\xfe",
    b"\x00",
    b"'",
    b'"',
    b'"""',
    b"\n",
    b"\r",
    b",",
    b";",
    b"\t",
    b"=",
    b"#",
    b"",
    b"\xef\xbb\xbf",
    b"()",
]
WORDS += [
    "١٢".encode(),
    "²".encode(),
    b"\\ud800",
    b"\xed\xa0\x80",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"{a=" * 3000,
    b"-" * 3000,
]
WORDS += [
    b"|O",
    b"<U999999999",
    b"<M8[ns]",
    b"|V0",
    b"|S0",
    b">f4",
    b"<c16",
    b"<f2",
    b"(" * 300,
    b"(1,) * 9",
    b"<f16",
    b"(0, 5)",
]
WORDS += [
    b"(-1, -1)",
    b"(99999999999, 99999999999)",
    b"(4294967296, 4294967296)",
    b"F64",
    b"BF16",
    b"BOOL",
    b"U8",
    b"F8_E4M3",
]
WORDS += [
    b"x" * 100_000,
    b"../" * 50,
    b"/etc/passwd",
    b"finished",
    b"unfinished",
    b"train",
    b"test",
    b"small-cnn",
    b"head",
]
WORDS += [b"wrn-28-2", b"torchvision:resnet18", b"kernel:rbf", b"discover"]
TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|-?\d[\d.e+-]*|\([^()]*\)|[A-Za-z_]+|[][{},:=]')


def truncate(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def flip(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if changed:
            changed[_place(changed, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    start, size = _place(data, draw), draw.choice((1, 2, 4, 8, 64))
    return data[:start] + draw.randbytes(size) + data[start + size :]


def number(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A telling number in binary, small or huge, of any width and byte order."""
    form = draw.choice("BHIQ")
    packed = struct.pack(draw.choice("<>") + form, draw.choice(NUMBERS) % 256 ** struct.calcsize(form))
    start = _place(data, draw)
    return data[:start] + packed + data[start + len(packed) :]


def insert(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    start = _place(data, draw)
    return data[:start] + draw.choice((draw.randbytes(draw.randrange(1, 20)), draw.choice(WORDS))) + data[start:]


def delete(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    start = _place(data, draw)
    return data[:start] + data[start + draw.choice((1, 2, 8, 100, 1000)) :]


def duplicate(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    start = _place(data, draw)
    stretch = data[start : start + draw.choice((1, 8, 100, 2000))]
    return data[:start] + stretch * draw.choice((1, 1, 3, 30)) + data[start:]


def splice(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    other = draw.choice(seeds)
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]


def word(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Of a text: one token replaced by something of another type or size, or by another token of it."""
    tokens = list(TOKEN.finditer(data[:200_000]))
    if not tokens:
        return insert(data, draw, seeds)
    token = draw.choice(tokens)
    new = draw.choice(WORDS) if draw.random() < 0.8 else draw.choice(tokens)[0]
    if token[0][:1] in b"'\"" and draw.random() < 0.5:
        new = token[0][:1] + new.strip(b"'\"") + token[0][:1]
    return data[: token.start()] + new + data[token.end() :]


def line(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Of a text: one line dropped, doubled, or moved to the top."""
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    taken = lines.pop(at)
    places = draw.choice(([], [at, at], [0]))
    for place in places:
        lines.insert(place, taken)
    return b"\n".join(lines)


def npy_header(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Another text in the header of a .npy, whose length is right again."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        return flip(data, draw, seeds)
    size = int.from_bytes(data[8:10], "little")
    header = word(data[10 : 10 + size], draw, seeds)[:65_000]
    return data[:8] + struct.pack("<H", len(header)) + header + data[10 + size :]


def tensors_header(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Another JSON in the header of a .safetensors, or in the facts that are text within it; its length is right."""
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size]
    try:
        whole = json.loads(header)
        facts = word(whole["__metadata__"]["hume_ssl"].encode(), draw, seeds).decode("utf-8", "replace")
        if draw.random() < 0.6:
            whole["__metadata__"]["hume_ssl"] = facts
            header = json.dumps(whole).encode()
        else:
            header = word(header, draw, seeds)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        header = word(header, draw, seeds)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def png_chunk(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Another chunk of a PNG, whose checksum is right again."""
    chunks, at = [], 8
    while data[:4] == b"\x89PNG" and at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((at, size))
        at += size + 12
    if not chunks:
        return number(data, draw, seeds)
    at, size = draw.choice(chunks)
    body = draw.choice((flip, number, overwrite))(data[at + 4 : at + 8 + size], draw, seeds)
    return (
        data[:at]
        + struct.pack(">I", len(body) - 4)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + data[at + 12 + size :]
    )


def zip_member(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A member of a zip damaged before it is packed, so that all checksums are right: .npz, .pth, images."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
    except Exception:  # damaged by an edit before this one, in whatever way
        return flip(data, draw, seeds)
    made, chosen = io.BytesIO(), draw.randrange(len(members)) if members else -1
    with zipfile.ZipFile(made, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, (info, body) in enumerate(members):
            if i == chosen:
                edits = [*ANY, npy_header] if body[:6] == b"\x93NUMPY" else [*ANY, opcode]
                body = draw.choice(edits)(body, draw, seeds)
            archive.writestr(info.filename, body, draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return made.getvalue()


def zip_field(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Another number in a local header, a central one, or the end of a zip."""
    starts = [match.start() for match in re.finditer(rb"PK(\x03\x04|\x01\x02|\x05\x06)", data)]
    if not starts:
        return number(data, draw, seeds)
    at = draw.choice(starts) + draw.randrange(4, 46)
    packed = struct.pack(draw.choice(("<I", "<I", "<H"))[0] + "I", draw.choice(NUMBERS) % 2**32)
    return data[:at] + packed[: draw.choice((2, 4))] + data[at + 4 :]


def opcode(data: bytes, draw: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One more opcode in a pickle, with a huge length or place in its memo."""
    size = draw.choice(NUMBERS)
    new = draw.choice((b"r", b"j", b"B", b"X", b"T", b"\x8b", b"G", b"J")) + struct.pack("<I", size % 2**31)
    long = draw.choice((b"\x96", b"\x8e", b"\x8d", b"\x95")) + struct.pack("<Q", size)
    plain = draw.choice(
        (b"(", b"}", b"]", b")", b"0", b"1", b"2", b"R", b"b", b"s", b"u", b"e", b"Q", b"\x81", b"\x92", b"\x94")
    )
    start = _place(data, draw)
    return data[:start] + draw.choice((new, long, plain, b"(" * 5000, b"]" * 5000 + b"a" * 5000)) + data[start:]


def _place(data: bytes | bytearray, draw: random.Random) -> int:
    """Anywhere, and as often among the first bytes, where headers are, or the last."""
    kind = draw.random()
    size = max(1, len(data))
    if kind < 0.3:
        return draw.randrange(min(size, 64))
    return size - 1 - draw.randrange(min(size, 100)) if kind < 0.4 else draw.randrange(size)


ANY: list[Edit] = [truncate, flip, overwrite, number, insert, delete, duplicate, splice]
TEXT: list[Edit] = [word, word, word, line, truncate, flip, insert, delete, duplicate, splice]
EDITS: dict[str, list[Edit]] = {
    "npy": [*ANY, *[npy_header] * 6],
    "text": TEXT,
    "safetensors": [*ANY, *[tensors_header] * 8],
    "image": [*ANY, *[png_chunk] * 3, number, number],
    "zip": [*ANY, *[zip_member] * 6, *[zip_field] * 3],
    "pickle": [*ANY, *[opcode] * 4],
    "binary": [*ANY, number],
}


def damaged(kind: str, seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds after one to four edits of its kind."""

    def apply(seed: bytes, edits: list[tuple[Edit, int]]) -> bytes:
        for edit, drawn in edits:
            seed = edit(seed, random.Random(drawn), seeds)
        return seed

    edit = st.tuples(st.sampled_from(EDITS[kind]), st.integers(0, 2**24 - 1))
    return st.builds(apply, st.sampled_from(list(seeds)), st.lists(edit, min_size=1, max_size=4))
