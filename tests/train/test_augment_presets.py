"""The presets: values by hand, and their laws against torchvision's own transforms, run many times."""

from typing import get_args

import pytest
import torch
from scipy.stats import chi2

from hume_ssl.train.augment_presets import OPERATIONS, PRESETS, describe, kekmodel, padding, usb
from hume_ssl.train.augment_torchvision import torchvision_strong, torchvision_weak
from hume_ssl.train.augment_torchvision import usb as usb_torchvision
from hume_ssl.train.operations import apply_operation
from hume_ssl.train.views import apply_strong, apply_weak, cells, draw_strong, draw_weak, values_at
from hume_ssl.train_config import TrainConfig


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(c, h, w):
    return torch.randint(20, 236, (c, h, w), dtype=torch.uint8, generator=generator(3))


def many(transform, image, n, seed=2):
    """n views of one image by a torchvision transform."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.stack([transform(image) for _ in range(n)])


def all_cases(preset, image):
    """Every (operation, value) of a preset with listed values (m,), probabilities (m,) and views (m, c, h, w)."""
    start, _, count = cells(preset, *image.shape[1:])
    op = torch.cat([torch.full((int(number),), code) for code, number in enumerate(count)])
    value = torch.cat([row[:number] for row, number in zip(start, count, strict=True)])
    probability = PRESETS[preset].chance / len(OPERATIONS) / count[op].double()
    views = apply_operation(image.expand(len(op), -1, -1, -1), op, value)
    probability[0] += 1 - PRESETS[preset].chance  # left out: the identity, operation 0
    return op, value, probability, views


def kinds(views):
    """A number for each view (m,): views that differ by two greys or less, one after the other, are one kind."""
    flat = views.flatten(1).int()
    near = torch.stack([(flat - one).abs().amax(1) <= 2 for one in flat])
    kind = torch.arange(len(flat))
    while True:
        least = torch.where(near, kind, len(flat)).amin(1)
        if torch.equal(least, kind):
            return kind
        kind = least


@pytest.mark.parametrize("preset", ["fixmatch-paper", "fixmatch-kekmodel", "torchvision"])
@pytest.mark.parametrize("shape", [(3, 17, 17), (1, 8, 8)])
def test_views_are_as_frequent_as_torchvisions(preset, shape):
    """3,000 runs of one operation by torchvision: each output is one of our views, and the counts have the
    probabilities of ours (chi-square, 0.1 % limit); so have 100,000 draws of ours."""
    image = picture(*shape)
    op, value, probability, views = all_cases(preset, image)
    kind = kinds(views)
    expected = torch.zeros(len(kind), dtype=torch.float64).index_add_(0, kind, probability)
    assert expected.sum().item() == pytest.approx(1)

    theirs = many(torchvision_strong(preset, *shape[1:]).transforms[0], image, 3000).flatten(1).short()
    distance = torch.stack([(theirs - one).abs().amax(1) for one in views.flatten(1).short()])  # (m, 3000)
    assert distance.amin(0).max() <= 1
    draw = draw_strong(50_000, *shape[1:], generator(), flip=False, preset=preset)
    case_of = {
        case: i for i, case in enumerate(zip(op.tolist(), value.tolist(), strict=True))
    }  # equal values: one case
    drawn = zip(draw.op.flatten().tolist(), draw.value.flatten().tolist(), strict=True)
    ours = kind[torch.tensor([case_of[one] for one in drawn])]

    occurring = expected > 0
    for found in (kind[distance.argmin(0)], ours):
        counts = torch.bincount(found, minlength=len(kind)).double()
        assert counts[~occurring].sum() == 0
        wanted = expected[occurring] * len(found)
        assert wanted.min() > 5
        statistic = ((counts[occurring] - wanted) ** 2 / wanted).sum().item()
        assert statistic < chi2.ppf(0.999, int(occurring.sum()) - 1)


def close_in_distribution(ours, theirs):
    """Means of every pixel and of its square, each within 5 standard errors and a rounding."""
    for power in (1, 2):
        a, b = ours.double() ** power, theirs.double() ** power
        error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() <= 5 * error + (1.0 if power == 1 else 512.0)).all()


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_of_usb_has_torchvisions_law(name):
    """300 views of one image by ours and by ColorJitter, RandomAffine, RandomRotation and so on."""
    image = picture(3, 17, 17)
    code = OPERATIONS.index(name)
    op = torch.full((300,), code)
    share = torch.rand(300, generator=generator(), dtype=torch.float64)
    ours = apply_operation(image.expand(300, -1, -1, -1), op, values_at("usb", 17, 17, op, share))
    close_in_distribution(ours, many(usb_torchvision().transforms[code], image, 300))


@pytest.mark.parametrize("preset", PRESETS)
def test_whole_strong_views_have_torchvisions_law(preset):
    """800 views of one 12 x 16 image, all operations one after the other, without cutout."""
    image = picture(3, 12, 16)
    draw = draw_strong(800, 12, 16, generator(1), flip=False, preset=preset)
    still = torch.zeros_like(draw.down)
    draw = draw._replace(down=still, right=still, hole=torch.zeros_like(draw.hole))
    ours = apply_strong(image.expand(800, -1, -1, -1), draw)
    close_in_distribution(ours, many(torchvision_strong(preset, 12, 16), image, 800))


@pytest.mark.parametrize("flip", [False, True])
def test_weak_views_are_as_frequent_as_torchvisions(flip):
    """An 8 x 16 image has 3 x 5 crops after 1 and 2 pixels of padding, twice as many with mirror images; 3,000 views
    of each side, all of them among these and evenly so (chi-square, 0.1 % limit)."""
    image = picture(1, 8, 16)
    padded = torch.nn.functional.pad(image.float(), (2, 2, 1, 1), mode="reflect").to(torch.uint8)
    crops = [padded[:, y : y + 8, x : x + 16] for y in range(3) for x in range(5)]
    crops += [crop.flip(-1) for crop in crops] if flip else []
    place = {crop.numpy().tobytes(): i for i, crop in enumerate(crops)}
    ours = apply_weak(
        image.expand(3000, -1, -1, -1), draw_weak(3000, 8, 16, generator(), flip=flip, preset="fixmatch-paper")
    )
    for views in (ours, many(torchvision_weak(8, 16, flip=flip), image, 3000)):
        counts = torch.bincount(torch.tensor([place[view.numpy().tobytes()] for view in views]), minlength=len(crops))
        wanted = 3000 / len(crops)
        assert (((counts - wanted) ** 2) / wanted).sum() < chi2.ppf(0.999, len(crops) - 1)


def test_values_of_kekmodel_by_hand():
    """Levels 1..9 of 10 on 32 pixels: 0.3 * 32 / 10 = 0.96 pixels a level, cut off; 3 degrees a level; bits 4 + 0.4 a
    level, cut off; threshold 256 - 25.6 a level (the product cut off); factors 0.05 + 0.09 a level."""
    values = kekmodel(32, 64)
    assert values["TranslateY"][1::2] == (0, 1, 2, 3, 4, 5, 6, 7, 8)
    assert values["TranslateX"][1::2] == (1, 3, 5, 7, 9, 11, 13, 15, 17)
    assert values["Rotate"][:4] == (-3, 3, -6, 6)
    assert values["Posterize"] == (4, 4, 5, 5, 6, 6, 6, 7, 7)
    assert values["Solarize"] == (231, 205, 180, 154, 128, 103, 77, 52, 26)
    assert values["Contrast"][0] == pytest.approx(0.14) and values["Contrast"][-1] == pytest.approx(0.86)


def test_values_of_usb_reach_their_ends():
    """Quantiles 0 and nearly 1 of each law on a 20 x 30 image; translation by up to 6 and 9 whole pixels."""
    ends = {"TranslateY": (-6, 6), "TranslateX": (-9, 9), "Rotate": (-30, 30), "Brightness": (0.05, 0.95)}
    ends |= {"Posterize": (4, 7), "Solarize": (1, 256), "Sharpness": (0.05, 0.95), "ShearX": (-16.69924, 16.69924)}
    for name, (low, high) in ends.items():
        op = torch.full((2,), OPERATIONS.index(name))
        got = values_at("usb", 20, 30, op, torch.tensor([0.0, 1 - 1e-12], dtype=torch.float64))
        assert got.tolist() == pytest.approx([low, high], abs=1e-5)
    assert set(usb(20, 30)) == set(OPERATIONS) - {"Identity", "AutoContrast", "Equalize"}


def test_padding_is_an_eighth():
    assert [padding(side) for side in (1, 2, 8, 16, 32, 96)] == [0, 1, 1, 2, 4, 12]


def test_presets_are_those_of_the_settings_and_say_what_they_are():
    assert set(get_args(TrainConfig.model_fields["augment"].annotation)) == set(PRESETS)
    assert describe("fixmatch-paper", False) == (
        "augmentation fixmatch-paper: weak = crop after 12.5 % reflect padding (no mirror); strong = weak, 2 of 14 "
        "RandAugment operations at magnitude 1..9 of 10, cutout of half the side"
    )
    assert "mirror with probability 1/2" in describe("usb", True)
