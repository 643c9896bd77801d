"""The batches of one step after another."""

import numpy as np
import pytest
import torch

from hume_ssl.train.feed import Steps, feed, part
from hume_ssl.train.sources import PixelSource


def steps(share=(0, 1), seed=5):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    source = PixelSource(images, torch.device("cpu"), flip=False, preset="fixmatch-paper")
    return Steps(source, torch.arange(6), torch.arange(20), b=4, u=8, seed=seed, share=share)


def assert_same(a, b):
    for one, other in zip(a, b, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_change_nothing(workers):
    alone = list(feed(steps(), 3, 12, 0))
    for a, b in zip(alone, feed(steps(), 3, 12, workers), strict=True):
        assert_same(a, b)


def test_a_step_does_not_depend_on_those_before():
    whole = list(feed(steps(), 0, 9, 0))
    for a, b in zip(whole[5:], feed(steps(), 5, 9, 0), strict=True):
        assert_same(a, b)
    assert not torch.equal(whole[3].strong, whole[4].strong)
    assert not torch.equal(next(feed(steps(seed=6), 0, 9, 0)).strong, whole[0].strong)


def test_shares_of_two_processes_make_the_batch():
    for step in range(3):
        whole, first, second = steps()[step], steps((0, 2))[step], steps((1, 2))[step]
        assert torch.equal(first.labelled, whole.labelled) and torch.equal(first.unlabelled, whole.unlabelled)
        for name in ("weak_labelled", "weak", "strong"):
            assert torch.equal(torch.cat([getattr(first, name), getattr(second, name)]), getattr(whole, name))


def test_parts_cover_the_rows():
    assert [part(12, i, 3) for i in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]


def test_nothing_unlabelled():
    batch = Steps(steps().source, torch.arange(6), torch.arange(20), b=4, u=0, seed=1, share=(0, 1))[0]
    assert batch.weak_labelled.shape == (4, 1, 8, 8) and batch.strong.shape == (0, 1, 8, 8)
