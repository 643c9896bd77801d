"""Order of the items and their pixels."""

import numpy as np
import torch

from hume_ssl.train import batches
from hume_ssl.train.batches import Shuffled, as_tensor, channel_statistics, pixel_source


def test_epochs_hold_every_item_once_and_small_sets_are_tiled():
    """5 items in batches of 12: the stream is epochs of 5, so any 5 k draws from the start hold each item k times."""
    items = torch.tensor([3, 1, 4, 15, 9])
    stream = Shuffled(items, 0)
    drawn = torch.cat([stream.next(12) for _ in range(5)])
    for epoch in drawn.reshape(-1, 5):
        assert sorted(epoch.tolist()) == [1, 3, 4, 9, 15]
    assert len({tuple(epoch.tolist()) for epoch in drawn.reshape(-1, 5)}) > 6  # shuffled anew


def test_stream_goes_on_from_its_state():
    stream, copy = Shuffled(torch.arange(10), 0), Shuffled(torch.arange(10), 99)
    stream.next(13)
    copy.order, copy.position = stream.order, stream.position
    copy.generator.set_state(stream.generator.get_state())
    assert torch.equal(stream.next(20), copy.next(20))


def test_pixels_of_grey_and_colour(monkeypatch):
    rng = np.random.default_rng(0)
    for shape in ((6, 4, 5), (6, 4, 5, 3)):
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        for limit in (0, 1 << 20):  # gathered from the array, or resident
            monkeypatch.setattr(batches, "RESIDENT", limit)
            got = pixel_source(images, torch.device("cpu"))(torch.tensor([4, 0]))
            assert got.shape == (2, 3 if len(shape) == 4 else 1, 4, 5)
            expected = images[[4, 0]] if len(shape) == 3 else images[[4, 0]].transpose(0, 3, 1, 2)
            assert np.array_equal(got.numpy().reshape(expected.shape), expected)


def test_read_only_arrays_give_no_warning(recwarn):
    images = np.zeros((2, 3, 3), np.uint8)
    images.flags.writeable = False
    assert as_tensor(images).shape == (2, 1, 3, 3)
    assert not recwarn.list


def test_statistics_are_numpys():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 4, 5, 3), dtype=np.uint8)
    items = np.arange(0, 50, 3)
    mean, std = channel_statistics(images, items, chunk=7)
    np.testing.assert_allclose(mean, images[items].mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, images[items].std((0, 1, 2)), rtol=1e-10)
