"""Images in an uncompressed tar archive, read in place."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.images import naming
from hume_ssl.sources.members import Member, image_members
from hume_ssl.sources.source import EncodedSource

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


@dataclass(frozen=True, eq=False)
class TarSource(EncodedSource):
    """Images of a tar archive. The file is opened for each image anew, so that threads and processes share nothing.

    Attributes:
        path: the archive.
        names: (n,)
        offsets: (n,) where the member's bytes begin.
        sizes: (n,) in bytes.
        times: (n,) when the member was changed, in seconds since 1970: tar has no checksum of contents.
    """

    path: Path
    names: list[str]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    times: NDArray[np.float64]

    kind = "tar"

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        """Archive and member."""
        return f"{self.path}/{self.names[i]}"

    def entry(self, i: int) -> str:
        """Name, size and time."""
        return f"{self.names[i]}\t{self.sizes[i]}\t{self.times[i]}"

    def encoded(self, i: int) -> io.BytesIO:
        """The member's bytes."""
        with naming(self.name(i)), open(self.path, "rb") as file:
            file.seek(int(self.offsets[i]))
            data = file.read(int(self.sizes[i]))
            if len(data) != self.sizes[i]:
                raise ValueError("the archive has become shorter")
            return io.BytesIO(data)

    def take(self, rows: NDArray[np.intp]) -> TarSource:
        """See `Source.take`."""
        names = [self.names[i] for i in rows]
        return TarSource(self.path, names, self.offsets[rows], self.sizes[rows], self.times[rows])

    def filepaths(self) -> list[str]:
        """The members' names."""
        return list(self.names)


def from_tar(path: Path) -> TarSource:
    """The images of a tar archive, sorted by name.

    Raises InputError where it is compressed (images in the middle could be reached only by unpacking all before them),
    no tar archive or one cut short, and for images refused by `image_members`.
    """
    if path.name.lower().endswith(COMPRESSED):
        raise InputError(
            f"{path} is a compressed tar, in which images cannot be reached one by one: unpack it and give the folder, "
            "or make it a .zip or an uncompressed .tar (images hardly shrink)"
        )
    try:
        with tarfile.open(path, "r:") as archive:
            infos = archive.getmembers()
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(f"cannot read {path} as an uncompressed tar archive: {error}; make it again") from error
    _check_end(path, infos)
    names, places = image_members(path, [Member(info.name, info.size, _what(info), i) for i, info in enumerate(infos)])
    chosen = [infos[i] for i in places]
    return TarSource(
        path,
        names,
        offsets=np.array([info.offset_data for info in chosen], dtype=np.int64),
        sizes=np.array([info.size for info in chosen], dtype=np.int64),
        times=np.array([info.mtime for info in chosen], dtype=np.float64),
    )


def _check_end(path: Path, infos: list[tarfile.TarInfo]) -> None:
    """Raise InputError unless the archive ends after its last member with zeros.

    tarfile takes the first zeros for the end, and a cut between two members as well: images after it would be missed
    without a word.
    """
    last = infos[-1] if infos else None
    if last is not None and last.issparse():
        return  # how much of it is stored, tarfile does not tell
    end = 0 if last is None else last.offset_data + (-(-last.size // 512) * 512 if last.isreg() else 0)
    with open(path, "rb") as file:
        file.seek(end)
        rest = file.read(1 << 20)
        if not rest or any(rest):
            after = f"after its member {last.name!r}" if last is not None else "from its beginning"
            raise InputError(f"{path} is broken or cut short {after}: make it again")


def _what(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "a link (tar --dereference --hard-dereference stores the files)"
    if not info.isreg():
        return "something that is no file"
    return "a file with holes" if info.issparse() else ""
