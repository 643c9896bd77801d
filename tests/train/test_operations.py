"""The random operations of a batch, each against torchvision on one image at a time."""

import math

import pytest
import torch
from torchvision.transforms import v2

from hume_ssl.train.augment_presets import ENHANCE, OPERATIONS, PRESETS, Between, randaugment
from hume_ssl.train.augment_torchvision import fixed
from hume_ssl.train.operations import apply_operation

# the order in which torchvision's RandAugment draws them
ORDER = (
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness",
    "Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize",
)  # fmt: skip
UNSIGNED = ("Posterize", "Solarize")
PLAIN = ("Identity", "AutoContrast", "Equalize")


def picture(c, h, w, seed=0):
    """An image that holds every grey it has room for, between 20 and 235, so that autocontrast has work to do."""
    greys = torch.arange(c * h * w) * 7 % 216 + 20
    order = torch.randperm(c * h * w, generator=torch.Generator().manual_seed(seed))
    return greys[order].view(c, h, w).to(torch.uint8)


def apply_one(image, name, values):
    """Our views of one image, one for each value."""
    op = torch.full((len(values),), OPERATIONS.index(name))
    return apply_operation(image.expand(len(values), -1, -1, -1), op, torch.tensor(values, dtype=torch.float64))


def check_equal(ours, theirs, name):
    difference = (ours.int() - theirs.int()).abs().max()
    assert difference <= (1 if name in ENHANCE else 0), f"{name}: {difference}"


@pytest.mark.parametrize(("magnitudes", "bins"), [(range(1, 10), 11), (range(9, 10), 31)])
@pytest.mark.parametrize("shape", [(1, 17, 17), (3, 20, 30)])
def test_views_equal_those_of_randaugment_for_every_choice_it_makes(magnitudes, bins, shape):
    """torchvision's RandAugment(num_ops=1) with seeds 0 to 149; its choices are re-drawn from the same seed: which of
    the 14, then for signed ones a sign, negative below one half. All operations and both signs occur."""
    image = picture(*shape)
    seen = set()
    for seed in range(150):
        m = magnitudes[seed % len(magnitudes)]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            theirs = v2.RandAugment(num_ops=1, magnitude=m, num_magnitude_bins=bins)(image)
            torch.manual_seed(seed)
            name = ORDER[int(torch.randint(14, ()))]
            negative = name not in UNSIGNED + PLAIN and bool(torch.rand(()) <= 0.5)
        values = randaugment(range(m, m + 1), bins)(*shape[1:]).get(name, (0.0,))
        assert len(values) == (1 if name in UNSIGNED + PLAIN else 2)
        check_equal(apply_one(image, name, values[:1] if negative else values[-1:])[0], theirs, name)
        seen.add((name, negative))
    assert len(seen) == 3 + 2 + 9 * 2


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 20)])
def test_every_value_of_every_preset_equals_torchvisions_function(preset, shape):
    """All values where they are listed, 40 evenly spaced ones (irrational, to miss ties) where they are a range."""
    image = picture(*shape)
    changed = 0
    for name in OPERATIONS:
        law = PRESETS[preset].values(*shape[1:]).get(name, (0.0,))
        if isinstance(law, Between):
            law = tuple(law.low + (law.high - law.low) * (k * math.sqrt(2) % 1) for k in range(1, 41))
            law = tuple(float(round(value)) for value in law) if name.startswith("Translate") else law
        ours = apply_one(image, name, law)
        for view, value in zip(ours, law, strict=True):
            check_equal(view, fixed(name, value)(image), name)
        changed += bool((ours != image).any())
    assert changed == (13 if shape[0] == 3 else 11)  # grey and small: no colour, no equalize


def test_images_in_a_batch_do_not_touch_each_other():
    """60 images with operations of all kinds: each alone, and in another order, gives the same view."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, 3, 20, 17), dtype=torch.uint8, generator=generator)
    op = torch.arange(60) % 14
    value = torch.where((op == OPERATIONS.index("Posterize")) | (op >= 1) & (op <= 5), 3.0, 0.6).double()
    views = apply_operation(images, op, value)
    order = torch.randperm(60, generator=generator)
    assert torch.equal(apply_operation(images[order], op[order], value[order]), views[order])
    for i in range(14):
        assert torch.equal(apply_operation(images[i : i + 1], op[i : i + 1], value[i : i + 1])[0], views[i])


@pytest.mark.parametrize("channels", [2, 4])
def test_images_with_other_numbers_of_channels_keep_what_needs_no_colour(channels):
    """Each channel alone gives the same, for the operations that work channel by channel; colour does nothing."""
    image = picture(channels, 16, 17)
    for name in ("ShearX", "Rotate", "Sharpness", "Brightness", "Posterize", "Solarize", "AutoContrast", "Equalize"):
        together = apply_one(image, name, [3.0])[0]
        assert torch.equal(together, torch.cat([apply_one(channel[None], name, [3.0])[0] for channel in image]))
    assert torch.equal(apply_one(image, "Color", [0.3])[0], image)
    assert (apply_one(image, "Contrast", [0.3]) != image).any()


def test_one_grey_throughout_stays_under_autocontrast_and_thin_images_under_sharpness():
    flat = torch.full((3, 4, 4), 9, dtype=torch.uint8)
    assert torch.equal(apply_one(flat, "AutoContrast", [0.0])[0], flat)
    thin = picture(1, 2, 9)
    assert torch.equal(apply_one(thin, "Sharpness", [0.1])[0], thin)
