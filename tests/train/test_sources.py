"""Pixels of the items and their views."""

import numpy as np
import pytest
import torch

from hume_ssl.train import sources
from hume_ssl.train.batches import generator
from hume_ssl.train.sources import PixelSource, as_tensor


def test_pixels_of_grey_and_colour(monkeypatch):
    rng = np.random.default_rng(0)
    for shape in ((6, 4, 5), (6, 4, 5, 3)):
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        for limit in (0, 1 << 20):  # gathered from the array, or resident
            monkeypatch.setattr(sources, "RESIDENT", limit)
            source = PixelSource(images, torch.device("cpu"), flip=False, preset="fixmatch-paper")
            got = source.plain(torch.tensor([4, 0]))
            assert got.shape == (2, 3 if len(shape) == 4 else 1, 4, 5)
            expected = images[[4, 0]] if len(shape) == 3 else images[[4, 0]].transpose(0, 3, 1, 2)
            assert np.array_equal(got.numpy().reshape(expected.shape), expected)


def test_read_only_arrays_give_no_warning(recwarn):
    images = np.zeros((2, 3, 3), np.uint8)
    images.flags.writeable = False
    assert as_tensor(images).shape == (2, 1, 3, 3)
    assert not recwarn.list


def test_statistics_are_numpys(monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 4, 5, 3), dtype=np.uint8)
    items = np.arange(0, 50, 3)
    source = PixelSource(images, torch.device("cpu"), flip=False, preset="fixmatch-paper")
    monkeypatch.setattr(sources, "VALUES", 7 * 60)  # seven images at a time
    mean, std = source.statistics(items)
    np.testing.assert_allclose(mean, images[items].mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, images[items].std((0, 1, 2)), rtol=1e-10)


@pytest.mark.parametrize("shape", [(12, 9, 7), (12, 9, 7, 3)])
def test_views_of_a_part_are_those_among_all(shape):
    """Two processes with halves of the batch make the views that one makes of the whole."""
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    source = PixelSource(images, torch.device("cpu"), flip=True, preset="fixmatch-paper")
    items = torch.randperm(12, generator=generator(0, 1))[:10]
    whole = source.views(items, ("weak", "strong"), generator(0, 2))
    for part in (slice(0, 5), slice(5, 10)):
        mine = source.views(items, ("weak", "strong"), generator(0, 2), part)
        for of_part, of_all in zip(mine, whole, strict=True):
            assert torch.equal(of_part, of_all[part])
    assert not torch.equal(whole[0], whole[1])
