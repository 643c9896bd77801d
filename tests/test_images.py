"""Every kind of image file becomes the pixels a person sees, 8 bits grey or RGB; expected values worked out by hand."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hume_ssl.images import BrokenImage, open_image, read_header, verify_image

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (4, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (4, 7), dtype=np.uint8)


def encoded(image: Image.Image, form: str, **options: object) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, form, **options)
    out.seek(0)
    return out


def png(rows: np.ndarray, bits: int, colour_type: int) -> io.BytesIO:
    """A PNG made by hand from rows (h, bytes a row): Pillow writes no colour with 16 bits."""
    height, row_bytes = rows.shape
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", row_bytes * 8 // bits // samples, height, bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def tiff(samples: np.ndarray, order: str = "<") -> io.BytesIO:
    """An uncompressed TIFF made by hand: (h, w) or (h, w, 3), 16 bits, "<" or ">" as in numpy's types."""
    height, width, *more = samples.shape
    count = more[0] if more else 1
    data = samples.astype(f"{order}u2").tobytes()
    tags = [(256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, 1), (262, 3, 1, 2 if count == 3 else 1)]
    tags += [(277, 3, 1, count), (278, 4, 1, height), (279, 4, 1, len(data))]
    fields = len(tags) + 2
    after = 8 + 2 + 12 * fields + 4
    bits = struct.pack(f"{order}{count}H", *[16] * count)
    tags += [(258, 3, count, after if count > 2 else 16), (273, 4, 1, after + len(bits))]
    out = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, fields)
    for tag, kind, n, value in sorted(tags):
        out += struct.pack(f"{order}HHI", tag, kind, n)
        out += struct.pack(f"{order}HH", value, 0) if kind == 3 and n == 1 else struct.pack(f"{order}I", value)
    return io.BytesIO(out + struct.pack(f"{order}I", 0) + bits + data)


# What turns the stored pixels upright, by EXIF orientation (0th row, 0th column of the scene: EXIF 2.3, 4.6.4).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_all_eight_ways_to_hold_a_camera(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    file = encoded(Image.fromarray(COLOUR), form, exif=exif, **options)
    expected = UPRIGHT[orientation](COLOUR)
    np.testing.assert_array_equal(np.asarray(open_image(file, "x")), expected)
    file.seek(0)
    assert read_header(file, "x") == expected.shape


def test_a_jpeg_lying_on_its_side() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    blocks = np.zeros((8, 16), np.uint8)
    blocks[:, 8:] = 255  # the right half is white: it is below once turned clockwise
    found = np.asarray(open_image(encoded(Image.fromarray(blocks), "JPEG", exif=exif, quality=95), "x"))
    assert found.shape == (16, 8) and found[:8].max() < 10 and found[8:].min() > 245


@pytest.mark.parametrize("orientation", range(2, 9))
def test_odd_values_in_other_tags_are_no_reason_to_refuse_an_image(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = exif.tobytes()
    # One more entry: ResolutionUnit (0x0128), which is a short, as text of two characters.
    count = b"MM\0*\0\0\0\x08\0\x01" if block[6:8] == b"MM" else b"II*\0\x08\0\0\0\x01\0"
    assert block[6:16] == count
    little = block[6:8] == b"II"
    entry = struct.pack("<HHI4s" if little else ">HHI4s", 0x0128, 2, 2, b"x\0\0\0")
    more = block[:14] + struct.pack("<H" if little else ">H", 2) + block[16:28] + entry + bytes(4)
    found = np.asarray(open_image(encoded(Image.fromarray(COLOUR), "PNG", exif=more), "x"))
    np.testing.assert_array_equal(found, UPRIGHT[orientation](COLOUR))


def test_a_broken_exif_block_leaves_the_pixels_as_they_are() -> None:
    file = encoded(Image.fromarray(COLOUR), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(np.asarray(open_image(file, "x")), COLOUR)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_grey_stays_grey(form: str) -> None:
    file = encoded(Image.fromarray(GREY), form)
    found = open_image(file, "x")
    np.testing.assert_array_equal(np.asarray(found.convert("L")), GREY)
    file.seek(0)
    assert read_header(file, "x") == (4, 7, 1)
    assert found.mode == "L"


def test_one_bit_becomes_black_and_white() -> None:
    bits = Image.fromarray(GREY > 127)
    assert bits.mode == "1"
    np.testing.assert_array_equal(np.asarray(open_image(encoded(bits, "PNG"), "x")), np.where(GREY > 127, 255, 0))


def test_transparency_is_dropped_not_blended() -> None:
    clear = np.dstack([COLOUR, np.zeros((4, 7), np.uint8)])
    np.testing.assert_array_equal(np.asarray(open_image(encoded(Image.fromarray(clear), "PNG"), "x")), COLOUR)
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (7, 4), 0)])
    found = open_image(encoded(grey, "PNG"), "x")
    assert found.mode == "L"
    np.testing.assert_array_equal(np.asarray(found), GREY)


def test_a_palette_gives_its_colours_transparent_or_not() -> None:
    palette = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    colours = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 8, 7]]]
    for options in ({}, {"transparency": 1}, {"transparency": b"\x80\x00\xff\x10"}):
        found = open_image(encoded(palette, "PNG", **options), "x")
        assert found.mode == "RGB" and np.asarray(found).tolist() == colours


def test_sixteen_bits_lose_the_lower_byte_not_the_bright_parts() -> None:
    """value >> 8: 0x0000 -> 0, 0x00ff -> 0, 0x0100 -> 1, 0x8000 -> 128, 0xffff -> 255."""
    values, expected = np.array([[0, 0xFF, 0x100, 0x8000, 0xFFFF]]), [[0, 0, 1, 128, 255]]
    for file in (png(values.astype(">u2").view(np.uint8), 16, 0), tiff(values, "<"), tiff(values, ">")):
        found = open_image(file, "x")
        assert found.mode == "L" and np.asarray(found).tolist() == expected
    colour = np.stack([values, values[:, ::-1], np.full_like(values, 0x1234)], axis=2)
    expected_colour = np.stack([expected, np.array(expected)[:, ::-1], np.full((1, 5), 0x12)], axis=2)
    rows = colour.reshape(1, -1).astype(">u2").view(np.uint8)
    for file in (png(rows, 16, 2), tiff(colour, "<"), tiff(colour, ">")):
        found = open_image(file, "x")
        assert found.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(found), expected_colour)


def test_sixteen_bits_with_transparency() -> None:
    grey = np.array([[0x0000, 0, 0x8000, 0, 0xFFFF, 0]])  # each with an alpha of 0
    found = open_image(png(grey.astype(">u2").view(np.uint8), 16, 4), "x")
    assert np.asarray(found.convert("L")).tolist() == [[0, 128, 255]]
    colour = np.array([[0x1200, 0x3400, 0x5600, 0]])
    found = open_image(png(colour.astype(">u2").view(np.uint8), 16, 6), "x")
    assert np.asarray(found).tolist() == [[[0x12, 0x34, 0x56]]]


def test_a_jpeg_in_printing_inks() -> None:
    """Cyan, magenta and yellow at 0 and 255, black at 0: white, the colours opposite to each ink, black."""
    inks = np.zeros((8, 32, 4), np.uint8)
    for block, ink in enumerate([(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 0, 255)]):
        inks[:, 8 * block : 8 * block + 8] = ink
    file = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=98)
    assert Image.open(file).mode == "CMYK"
    file.seek(0)
    found = np.asarray(open_image(file, "x")).astype(int)[4, 4::8]
    np.testing.assert_allclose(found, [[255] * 3, [0, 255, 255], [255, 0, 255], [0] * 3], atol=6)


def test_of_several_pages_or_frames_the_first() -> None:
    pages = [Image.fromarray(np.full((4, 7), value, np.uint8)) for value in (10, 200)]
    for form in ("TIFF", "GIF", "WEBP"):
        options = {"lossless": True} if form == "WEBP" else {}
        found = open_image(encoded(pages[0], form, save_all=True, append_images=pages[1:], **options), "x")
        assert set(np.asarray(found.convert("L")).ravel().tolist()) == {10}


def test_fractions_are_refused_and_not_made_black() -> None:
    file = encoded(Image.fromarray(np.full((4, 7), 0.5, np.float32)), "TIFF")
    for look in (lambda: open_image(file, "x.tif"), lambda: verify_image(file, "x.tif", decode=True)):
        file.seek(0)
        with pytest.raises(BrokenImage, match=r"x\.tif: its pixels are fractions.*8 or 16 bits"):
            look()


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_a_tiff_cut_short_is_broken(compression: str | None, tmp_path: Path) -> None:
    big = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path = tmp_path / "a.tif"
    big.save(path, compression=compression)
    verify_image(path, decode=True)
    path.write_bytes(path.read_bytes()[:-900] if compression else path.read_bytes()[:6000])
    with pytest.raises(BrokenImage, match=r"a\.tif"):
        verify_image(path, decode=True)
    with pytest.raises(BrokenImage, match=r"a\.tif"):
        open_image(path)


def test_the_reason_stands_apart_from_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(BrokenImage) as caught:
        open_image(tmp_path / "a.png")
    assert str(caught.value).startswith(f"cannot read the image {tmp_path / 'a.png'}: {caught.value.reason}; ")
    with pytest.raises(BrokenImage, match="there is no such file"):
        open_image(tmp_path / "absent.png")
