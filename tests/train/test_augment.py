"""Weak and strong views: against torchvision one by one, and as a distribution."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from hume_ssl.train.augment import (
    GREY,
    OPERATIONS,
    Operations,
    apply_operations,
    cutout,
    draw_operations,
    padding,
    strong,
    torchvision_strong,
    weak,
)

SHEAR, MOVE, TURN, FACTOR = 0.3, 150 / 331, 30.0, 0.9
DEGREES = 180 / np.pi


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(b, c, side, seed=0):
    return torch.randint(0, 256, (b, c, side, side), dtype=torch.uint8, generator=generator(seed))


def by_torchvision(image, name, magnitude, sign):
    """One operation of RandAugment on one image through torchvision's public functions."""
    h, w = image.shape[-2:]
    f = magnitude / 10
    s = sign * f

    def shear(x, y):
        degrees = [float(np.arctan(x) * DEGREES), float(np.arctan(y) * DEGREES)]
        return tvf.affine(image, 0.0, [0, 0], 1.0, degrees, center=[0, 0])

    operations = {
        "Identity": lambda: image,
        "ShearX": lambda: shear(SHEAR * s, 0.0),
        "ShearY": lambda: shear(0.0, SHEAR * s),
        "TranslateX": lambda: tvf.affine(image, 0.0, [int(MOVE * w * s), 0], 1.0, [0.0, 0.0]),
        "TranslateY": lambda: tvf.affine(image, 0.0, [0, int(MOVE * h * s)], 1.0, [0.0, 0.0]),
        "Rotate": lambda: tvf.rotate(image, TURN * s),
        "Brightness": lambda: tvf.adjust_brightness(image, 1 + FACTOR * s),
        "Color": lambda: tvf.adjust_saturation(image, 1 + FACTOR * s),
        "Contrast": lambda: tvf.adjust_contrast(image, 1 + FACTOR * s),
        "Sharpness": lambda: tvf.adjust_sharpness(image, 1 + FACTOR * s),
        "Posterize": lambda: tvf.posterize(image, round(8 - magnitude / 2.5)),
        "Solarize": lambda: tvf.solarize(image, 255 * (1 - f)),
        "AutoContrast": lambda: tvf.autocontrast(image),
        "Equalize": lambda: tvf.equalize(image),
    }
    return operations[name]()


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 17), (3, 32)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_equals_torchvisions(name, channels, side):
    """Every magnitude and sign in one batch; values within one grey level of 255, pixels in the same places."""
    cases = [(m, s) for m in range(1, 10) for s in (-1, 1)]
    images = pictures(len(cases), channels, side) // 2 + 40  # autocontrast has something to stretch
    magnitude, sign = (torch.tensor(column) for column in zip(*cases, strict=True))
    ours = apply_operations(images, Operations(torch.full_like(sign, OPERATIONS.index(name)), magnitude, sign))
    theirs = torch.stack([by_torchvision(i, name, m, s) for i, (m, s) in zip(images, cases, strict=True)])
    difference = (ours.int() - theirs.int()).abs()
    assert difference.max() <= (1 if name in ("Brightness", "Color", "Contrast", "Sharpness") else 0)
    if name not in ("Identity", "Color", "Equalize") or channels == 3:
        assert (ours != images).any() or name == "Identity"


def test_grey_images_know_no_colour_and_small_ones_no_equalize():
    images = pictures(9, 1, 8)
    ones = torch.ones(9, dtype=torch.int64)
    for name in ("Color", "Equalize"):
        assert torch.equal(apply_operations(images, Operations(ones * OPERATIONS.index(name), ones * 9, ones)), images)


def test_operations_magnitudes_and_signs_are_uniform():
    """Chi-square of 100,000 draws against the uniform law; 0.1 % limits at 13, 8 and 1 degrees of freedom."""
    drawn = draw_operations(100_000, generator())
    for values, low, count, limit in ((drawn.op, 0, 14, 34.5), (drawn.magnitude, 1, 9, 26.1)):
        counts = torch.bincount(values - low, minlength=count).double()
        expected = 100_000 / count
        assert len(counts) == count and ((counts - expected) ** 2 / expected).sum() < limit
    assert set(drawn.sign.tolist()) == {-1, 1} and abs(drawn.sign.double().mean()) < 0.015


@pytest.mark.parametrize(("channels", "side"), [(1, 16), (3, 12)])
def test_two_operations_have_the_distribution_of_torchvisions(channels, side):
    """The mean of every pixel, and of its square, over 4,000 views of one image, ours against RandomChoice over
    RandAugment: within 5 standard errors everywhere."""
    n = 4000
    image = pictures(1, channels, side, seed=3)[0]
    draws = generator(1)
    ours = image.expand(n, -1, -1, -1)
    for _ in range(2):
        ours = apply_operations(ours, draw_operations(n, draws))
    theirs_transform = torchvision_strong()
    with torch.random.fork_rng():
        torch.manual_seed(2)
        theirs = torch.stack([theirs_transform(image) for _ in range(n)])
    for power in (1, 2):
        a, b = ours.double() ** power, theirs.double() ** power
        error = ((a.var(0) + b.var(0)) / n).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() <= 5 * error + 1.0**power).all()
        assert ((a.mean(0) - b.mean(0)).abs() / error).mean() < 1.3  # about 0.8 for equal laws


def test_torchvision_definition_is_made_of_public_transforms():
    first, second = torchvision_strong().transforms
    assert isinstance(first, v2.RandomChoice) and isinstance(second, v2.RandomChoice)
    assert [t.magnitude for t in first.transforms] == list(range(1, 10))


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (5, 3, 32, 32), (5, 3, 20, 30), (5, 2, 9, 9), (5, 4, 16, 16)])
@pytest.mark.parametrize("flip", [False, True])
def test_shapes_types_and_determinism(shape, flip):
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator())
    before = images.clone()
    for view in (weak, strong):
        first, same, other = (view(images, generator(seed), flip=flip) for seed in (7, 7, 8))
        assert first.shape == images.shape and first.dtype == torch.uint8
        assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(images, before)


def test_weak_views_are_the_crops_and_mirrored_only_if_allowed():
    """An 8-pixel image has 3 x 3 crops after one pixel of reflect padding; all occur, and nothing else does, without
    flip; with it all 18, about half of them mirrored."""
    image = pictures(1, 1, 8)
    padded = v2.functional.pad(image, [1], padding_mode="reflect")
    crops = [padded[0, 0, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
    plain = {tuple(crop.flatten().tolist()) for crop in crops}
    mirrored = {tuple(crop.flip(-1).flatten().tolist()) for crop in crops}
    many = image.expand(2000, -1, -1, -1)
    seen = [tuple(view.flatten().tolist()) for view in weak(many, generator(), flip=False)]
    assert set(seen) == plain
    seen = [tuple(view.flatten().tolist()) for view in weak(many, generator(), flip=True)]
    assert set(seen) == plain | mirrored
    assert 900 < sum(view in mirrored for view in seen) < 1100


def test_padding_is_an_eighth():
    assert [padding(side) for side in (1, 2, 8, 16, 32, 96)] == [0, 1, 1, 2, 4, 12]


def test_strong_views_differ_from_image_to_image():
    """64 copies of one image: nearly all views differ, and no two neighbours share their operation throughout."""
    views = strong(pictures(1, 3, 32).expand(64, -1, -1, -1), generator(), flip=False)
    assert len({tuple(view.flatten().tolist()) for view in views}) >= 62


def test_cutout_is_a_grey_square_of_half_the_side_about_any_pixel():
    """White 8 x 8 images: the hole is 4 x 4 around its centre (two pixels before, one after), cut at the border; with
    the centre uniform over 8 x 8, each side has mean (2 + 3 + 4 * 5 + 3) / 8 = 3.5, so the hole 12.25 pixels."""
    white = torch.full((4000, 1, 8, 8), 255, dtype=torch.uint8)
    holes = cutout(white, generator())[:, 0] != 255
    assert (cutout(white, generator())[:, 0][holes] == GREY).all()
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), heights * widths)  # rectangles
    assert heights.min() == 2 and heights.max() == 4
    assert holes.double().sum((1, 2)).mean().item() == pytest.approx(12.25, abs=0.2)
