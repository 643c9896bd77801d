"""Weak and strong views: drawn, applied, and cut."""

import pytest
import torch

from hume_ssl.errors import InputError
from hume_ssl.train.augment_presets import PRESETS
from hume_ssl.train.views import apply_strong, apply_weak, cut, draw_hole, draw_strong, draw_weak, rows

SHAPES = [(23, 1, 8, 8), (23, 3, 32, 32), (23, 3, 20, 30), (23, 2, 9, 9), (23, 4, 16, 17), (23, 1, 2, 5)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(seed))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_parts_of_a_batch_give_what_the_whole_gives(preset, shape):
    """Bit-equal for any slice, single images and none; the images themselves stay as they are."""
    images = pictures(shape)
    before = images.clone()
    for draw_views, apply in ((draw_weak, apply_weak), (draw_strong, apply_strong)):
        draw = draw_views(shape[0], *shape[2:], generator(5), flip=True, preset=preset)
        views = apply(images, draw)
        assert views.shape == images.shape and views.dtype == torch.uint8 and (views != images).any()
        for part in (slice(0, 11), slice(11, 23), slice(7, 8), slice(22, None), slice(3, 3)):
            assert torch.equal(apply(images[part], rows(draw, part)), views[part])
    assert torch.equal(images, before)


@pytest.mark.parametrize("preset", PRESETS)
def test_applying_never_reads_pixels_back(preset):
    """On torch's meta device, which has shapes but no values, anything that waits for values raises."""
    images = pictures((60, 3, 20, 30)).to("meta")
    weak = apply_weak(images, draw_weak(60, 20, 30, generator(), flip=True, preset=preset))
    strong = apply_strong(images, draw_strong(60, 20, 30, generator(), flip=True, preset=preset))
    assert weak.shape == strong.shape == images.shape and weak.is_meta and strong.is_meta


def test_a_seed_is_a_draw():
    for draw_views in (draw_weak, draw_strong):
        first, same, other = (draw_views(50, 32, 32, generator(s), flip=True, preset="usb") for s in (7, 7, 8))
        assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
        assert not torch.equal(first.down, other.down)
        assert all(field.device.type == "cpu" and len(field) == 50 for field in first)


def test_strong_views_differ_from_image_to_image():
    """64 copies of one image: nearly all views differ."""
    images = pictures((1, 3, 32, 32)).expand(64, -1, -1, -1)
    views = apply_strong(images, draw_strong(64, 32, 32, generator(), flip=False, preset="fixmatch-paper"))
    assert len({view.numpy().tobytes() for view in views}) >= 62


def test_unknown_presets_are_refused():
    with pytest.raises(InputError, match="'usb2'; give one of fixmatch-paper"):
        draw_strong(2, 8, 8, generator(), flip=False, preset="usb2")


def test_only_flips_mirror():
    assert not draw_weak(1000, 8, 8, generator(), flip=False, preset="usb").mirrored.any()
    assert 440 < draw_strong(1000, 8, 8, generator(), flip=True, preset="usb").mirrored.sum() < 560


def test_cutout_of_the_paper_is_half_the_side_about_any_pixel():
    """8 x 8: the hole is 4 x 4 around its centre (two pixels before, one after), cut at the border; with the centre
    uniform, each side has mean (2 + 3 + 4 * 5 + 3) / 8 = 3.5, so the hole 12.25 pixels."""
    hole = draw_hole(4000, 8, 8, generator(), PRESETS["fixmatch-paper"].cutout)
    heights, widths = hole[:, 1] - hole[:, 0], hole[:, 3] - hole[:, 2]
    assert set(heights.tolist()) == set(widths.tolist()) == {2, 3, 4}
    assert (heights * widths).double().mean().item() == pytest.approx(12.25, abs=0.2)
    assert hole.min() == 0 and hole.max() == 8


def by_pillow(width, height, share, x, y):
    """The rows and columns that the Pillow code of USB fills, for given draws in [0, 1) (share: of the width)."""
    side = share * width
    left, top = int(max(0, x * width - side / 2)), int(max(0, y * height - side / 2))
    right, bottom = min(width, left + side), min(height, top + side)
    inside = [[left <= c <= right and top <= r <= bottom for c in range(width)] for r in range(height)]
    return torch.tensor(inside)


@pytest.mark.parametrize(("preset", "least", "most"), [("usb", 0.0, 0.5), ("fixmatch-kekmodel", 0.5, 0.5)])
def test_cutout_of_usb_and_kekmodel_is_that_of_their_pillow_code(preset, least, most):
    """300 holes in 12 x 20 images against the code's rule pixel by pixel, given the same draws."""
    cutout = PRESETS[preset].cutout
    hole = draw_hole(300, 12, 20, generator(4), cutout)
    share, y, x = torch.rand(3, 300, generator=generator(4), dtype=torch.float64)
    images = torch.full((300, 1, 12, 20), 255, dtype=torch.uint8)
    filled = cut(images, hole, torch.zeros(300, 3, dtype=torch.uint8))[:, 0] == 0
    for i in range(300):
        one = by_pillow(20, 12, least + (most - least) * share[i].item(), x[i].item(), y[i].item())
        assert torch.equal(filled[i], one)


def test_colour_of_the_hole():
    """USB's grey is a little red; images of one or four channels take its green."""
    for channels, colour in ((3, [125, 123, 114]), (1, [123]), (4, [123] * 4)):
        images = torch.full((40, channels, 16, 16), 255, dtype=torch.uint8)
        draw = draw_strong(40, 16, 16, generator(), flip=False, preset="usb")
        views = cut(images, draw.hole, draw.colour)
        assert {tuple(pixel) for pixel in views.movedim(1, 3).flatten(0, 2).tolist()} == {
            (255,) * channels,
            tuple(colour),
        }
    assert torch.equal(cut(images, torch.zeros(40, 4, dtype=torch.int64), draw.colour), images)
