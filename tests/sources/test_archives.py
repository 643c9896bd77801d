"""Images in zip and tar archives: as the folder they would unpack to, read in place, and nothing else of them."""

import io
import multiprocessing
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hume_ssl.errors import InputError
from hume_ssl.items import Items, check_images, load_items, load_truth
from hume_ssl.sources.decoded import DecodedImages
from tests.conftest import files_of

NAMES = ["b/2.png", "b/10.PNG", "a.jpg", "c/d/1.webp", "ä b.png"]
JUNK = ["notes.txt", ".hidden.png", "b/.git/x.png", "__MACOSX/b/._2.png", "b/labels.csv"]


def encoded(seed: int, suffix: str, size: int = 12) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size + 2, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, {".jpg": "JPEG", ".webp": "WEBP"}.get(suffix, "PNG"))
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, name in enumerate([*NAMES, *JUNK]):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(i, path.suffix.lower()))
    return tmp_path / "images"


def zipped(folder: Path, path: Path, method: int = zipfile.ZIP_DEFLATED, before: str = "") -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, before + str(file.relative_to(folder)))
    return path


def tarred(folder: Path, path: Path, before: str = "", form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w:", format=form) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.add(file, before + str(file.relative_to(folder)), recursive=False)
    return path


PACK: dict[str, Callable[[Path, Path], Path]] = {
    "deflated.zip": lambda folder, path: zipped(folder, path),
    "stored.zip": lambda folder, path: zipped(folder, path, zipfile.ZIP_STORED),
    "pax.tar": lambda folder, path: tarred(folder, path, "./"),
    "gnu.tar": lambda folder, path: tarred(folder, path, form=tarfile.GNU_FORMAT),
}


@pytest.mark.parametrize("name", PACK)
def test_an_archive_is_the_folder_it_would_unpack_to(folder: Path, tmp_path: Path, name: str) -> None:
    path = PACK[name](folder, tmp_path / name)
    before = files_of(tmp_path)
    plain, packed = load_items(folder), load_items(path)
    assert packed.filepaths == plain.filepaths == sorted(NAMES)
    check_images(packed)
    np.testing.assert_array_equal(packed.headers, plain.headers)
    np.testing.assert_array_equal(packed.pixels(), plain.pixels())
    assert packed.root is None and packed.array is None
    assert files_of(tmp_path) == before  # read in place


@pytest.mark.parametrize("name", PACK)
def test_the_hash_knows_the_contents_not_the_place_or_the_junk(folder: Path, tmp_path: Path, name: str) -> None:
    first = load_items(PACK[name](folder, tmp_path / name)).hash
    (folder / "notes.txt").write_text("other notes")
    assert load_items(PACK[name](folder, tmp_path / f"again-{name}")).hash == first
    (folder / "a.jpg").write_bytes(encoded(99, ".jpg", 20))
    assert load_items(PACK[name](folder, tmp_path / f"other-{name}")).hash != first


def test_names_that_windows_and_macintosh_wrote(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("__MACOSX/b/2.png", b"what the Finder keeps")
        archive.writestr("b\\2.png", (folder / "b/2.png").read_bytes())
    assert load_items(tmp_path / "a.zip").filepaths == ["b/2.png"]


def test_truth_goes_by_the_members_names(folder: Path, tmp_path: Path) -> None:
    items = load_items(tarred(folder, tmp_path / "a.tar", "./"))
    (tmp_path / "t.csv").write_text("filepath,label\n./b/2.png,5\na.jpg,3\n", encoding="utf-8")
    assert load_truth(tmp_path / "t.csv", items.filepaths, items.root)[0].tolist() == [0, -1, 1, -1, -1]


def pixel_sums(images: DecodedImages) -> list[int]:
    return [images[i] for i in range(len(images))]


def pixel_sum(image: Image.Image) -> int:
    return int(np.asarray(image).astype(np.int64).sum())


@pytest.mark.parametrize("name", PACK)
def test_another_process_reads_what_this_one_does(folder: Path, tmp_path: Path, name: str) -> None:
    """Forked, while this one has the archive open too, and spawned, from a pickle without pixels or open files."""
    items = load_items(PACK[name](folder, tmp_path / name))
    images = DecodedImages(items.images, pixel_sum)
    expected = pixel_sums(images)
    items.pixels(512)
    assert len(pickle.dumps(images)) < 5000
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(pixel_sums, [images] * 4) == [expected] * 4


def test_items_taken_keep_their_own_bytes(folder: Path, tmp_path: Path) -> None:
    for name, pack in PACK.items():
        items = load_items(pack(folder, tmp_path / name))
        taken = items.take(np.array([3, 1]))
        assert taken.filepaths == [items.filepaths[3], items.filepaths[1]]
        np.testing.assert_array_equal(taken.pixels(), items.pixels()[[3, 1]])
        assert taken.hash not in (items.hash, items.take(np.array([1, 3])).hash)


def refuses(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_items(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("bad", ["/etc/a.png", "../a.png", "b/../../a.png", "..\\a.png", "\\a.png", "C:\\a.png"])
def test_names_that_lead_out_are_refused(tmp_path: Path, bad: str) -> None:
    data = encoded(0, ".png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.png", data)
        archive.writestr(bad, data)
    refuses(tmp_path / "a.zip", repr(bad), "again")
    with tarfile.open(tmp_path / "a.tar", "w:") as tar:
        member = tarfile.TarInfo(bad)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    refuses(tmp_path / "a.tar", repr(bad), "again")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:") as archive:
        member = tarfile.TarInfo("a.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    refuses(tmp_path / "a.tar", "'a.png'", "link" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "no file")


def test_links_and_passwords_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("a.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    refuses(tmp_path / "a.zip", "'a.png'", "a link")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("a.png", encoded(0, ".png"))
    data = bytearray((tmp_path / "b.zip").read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # general purpose flag, bit 0
    (tmp_path / "b.zip").write_bytes(data)
    refuses(tmp_path / "b.zip", "'a.png'", "encrypted")


def test_other_ways_to_compress_are_refused(folder: Path, tmp_path: Path) -> None:
    refuses(zipped(folder, tmp_path / "a.zip", zipfile.ZIP_LZMA), "method 14", "deflate")
    for suffix, mode in ((".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar.xz", "w:xz")):
        with tarfile.open(tmp_path / f"a{suffix}", mode) as archive:
            archive.add(folder / "a.jpg", "a.jpg")
        refuses(tmp_path / f"a{suffix}", "compressed tar", "unpack it", ".zip")
    (tmp_path / "a.tgz").rename(tmp_path / "gz.tar")
    refuses(tmp_path / "gz.tar", "uncompressed tar archive")


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    data = encoded(0, ".png")
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", data)
        archive.writestr("a.png", data)
    refuses(tmp_path / "a.zip", "'a.png' twice")
    with tarfile.open(tmp_path / "a.tar", "w:") as tar:
        for name in ("a.png", "./a.png"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    refuses(tmp_path / "a.tar", "'a.png' twice")


def test_an_image_that_says_it_is_huge_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(5000))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, (1 << 30) + 1)  # its size, in the central directory
    (tmp_path / "a.zip").write_bytes(data)
    refuses(tmp_path / "a.zip", "'a.png'", "1,024 MiB")
    member = tarfile.TarInfo("a.png")
    member.size = 3 << 30
    with open(tmp_path / "a.tar", "wb") as file:  # with a hole where the image would be
        file.write(member.tobuf())
        file.truncate(512 + member.size + 1024)
    refuses(tmp_path / "a.tar", "'a.png'", "3,072 MiB")


def test_no_more_is_unpacked_than_was_declared(tmp_path: Path) -> None:
    """A member that says 100 bytes and unpacks to 50 MB: 101 are unpacked, and it is broken."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(50_000_000))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 100)
    (tmp_path / "a.zip").write_bytes(data)
    import tracemalloc

    items = load_items(tmp_path / "a.zip")
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a\.zip/a\.png: its bytes are not those"):
        check_images(items)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_broken_members_are_named(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder, tmp_path / "a.zip", zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index((folder / "a.jpg").read_bytes()) + 300] ^= 0xFF  # a pixel: only the checksum can tell
    path.write_bytes(data)
    items = load_items(path)
    for read in (check_images, Items.pixels):
        with pytest.raises(InputError, match=r"a\.zip/a\.jpg.*checksum"):
            read(items)
    (folder / "a.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.tar/a\.jpg: it is in none of the formats"):
        check_images(load_items(tarred(folder, tmp_path / "a.tar")))


def test_an_archive_replaced_while_it_is_used(folder: Path, tmp_path: Path) -> None:
    for name, pack in PACK.items():
        items = load_items(pack(folder, tmp_path / name))
        (tmp_path / name).write_bytes(b"short")
        with pytest.raises(InputError, match=name):
            items.pixels()
        (tmp_path / name).unlink()
        with pytest.raises(InputError, match="no such file"):
            items.pixels()


def test_archives_that_are_broken_or_empty(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder, tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[:-40])
    refuses(path, "as a zip archive", "again")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no image")
    refuses(path, "no image")
    path = tarred(folder, tmp_path / "a.tar", form=tarfile.GNU_FORMAT)
    whole = path.read_bytes()
    path.write_bytes(b"this is no tar archive" * 100)
    refuses(path, "again")
    path.write_bytes(bytes(10240))
    refuses(path, "no image")
    for size in (700, 1024 * 3, len(whole.rstrip(b"\0")) // 512 * 512):
        path.write_bytes(whole[:size])
        refuses(path)
    header = whole.index(b"a.jpg")  # an empty one ends the archive for tarfile, which says nothing of what follows
    path.write_bytes(whole[:header] + bytes(512) + whole[header + 512 :])
    refuses(path, "broken or cut short after its member")


def test_real_photographs(shared: Path) -> None:
    """6,000 JPEG files in a zip, against zipfile and Pillow."""
    items = load_items(shared / "cifar10-dev-images.zip")
    assert len(items) == 6000 and items.filepaths[0] == "images/00000.jpg" and items.common_size == (32, 32)
    pixels = items.pixels()
    with zipfile.ZipFile(shared / "cifar10-dev-images.zip") as archive:
        for i in (0, 17, 4242, 5999):
            with archive.open(items.filepaths[i]) as file:
                np.testing.assert_array_equal(pixels[i], np.asarray(Image.open(file).convert("RGB")))
