"""Images in a zip archive, read in place."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.images import naming
from hume_ssl.sources.members import Member, image_members
from hume_ssl.sources.source import EncodedSource

# Of a local header: 30 bytes, then name and extra field, whose lengths end it (APPNOTE.TXT 4.3.7).
_LOCAL = struct.Struct("<4s22xHH")
_ENCRYPTED = 1


@dataclass(frozen=True, eq=False)
class ZipSource(EncodedSource):
    """Images of a zip archive. The file is opened for each image anew, so that threads and processes share nothing.

    Attributes:
        path: the archive.
        names: (n,)
        headers: (n,) where the member's local header begins, in bytes.
        packed, sizes: (n,) bytes as stored, and unpacked.
        crcs: (n,) CRC-32 of the unpacked bytes.
        deflated: (n,) True where it is compressed, by deflate; False where it is stored as it is.
    """

    path: Path
    names: list[str]
    headers: NDArray[np.int64]
    packed: NDArray[np.int64]
    sizes: NDArray[np.int64]
    crcs: NDArray[np.int64]
    deflated: NDArray[np.bool_]

    kind = "zip"

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        """Archive and member."""
        return f"{self.path}/{self.names[i]}"

    def entry(self, i: int) -> str:
        """Name, size and checksum."""
        return f"{self.names[i]}\t{self.sizes[i]}\t{self.crcs[i]:08x}"

    def encoded(self, i: int) -> io.BytesIO:
        """The member's bytes, after their checksum was found right."""
        with naming(self.name(i)):
            return io.BytesIO(self._bytes(i))

    def take(self, rows: NDArray[np.intp]) -> ZipSource:
        """See `Source.take`."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name not in ("path", "names")}
        return ZipSource(self.path, [self.names[i] for i in rows], **columns)

    def filepaths(self) -> list[str]:
        """The members' names."""
        return list(self.names)

    def _bytes(self, i: int) -> bytes:
        size = int(self.sizes[i])
        with open(self.path, "rb") as file:
            file.seek(int(self.headers[i]))
            signature, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
            if signature != b"PK\3\4":
                raise ValueError("the archive has changed, or is broken")
            file.seek(name + extra, io.SEEK_CUR)
            data = file.read(int(self.packed[i]))
        if self.deflated[i]:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)  # one byte more tells a lie
        if len(data) != size or zlib.crc32(data) != self.crcs[i]:
            raise ValueError("its bytes are not those that the archive's own checksum is of")
        return data


def from_zip(path: Path) -> ZipSource:
    """The images of a zip archive, sorted by name.

    Raises InputError where it is no zip archive or a broken one, and for images that are encrypted, compressed by
    anything but deflate, or refused by `image_members`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
        raise InputError(f"cannot read {path} as a zip archive: {error}; make it again") from error
    names, places = image_members(
        path, [Member(info.filename, info.file_size, _what(info), i) for i, info in enumerate(infos)]
    )
    chosen = [infos[i] for i in places]

    def column(values: list[int]) -> NDArray[Any]:
        return np.array(values, dtype=np.int64)

    return ZipSource(
        path,
        names,
        headers=column([info.header_offset for info in chosen]),
        packed=column([info.compress_size for info in chosen]),
        sizes=column([info.file_size for info in chosen]),
        crcs=column([info.CRC for info in chosen]),
        deflated=np.array([info.compress_type == zipfile.ZIP_DEFLATED for info in chosen]),
    )


def _what(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16  # of archives made on Unix; 0 elsewhere
    if info.flag_bits & _ENCRYPTED:
        return "an encrypted file"
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "something that is no file"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"a file compressed by method {info.compress_type}, where deflate (8) or none (0) is read"
    return ""
