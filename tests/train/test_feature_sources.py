"""What a head is trained on: views that belong to their items, noise as long as asked for."""

import numpy as np
import pytest
import torch

from hume_ssl.train import feature_sources
from hume_ssl.train.batches import generator
from hume_ssl.train.feature_sources import NoisySource, ViewSource, moments, neighbour_scale

CPU = torch.device("cpu")


def stored(n: int = 5, weak: int = 2, strong: int = 3) -> np.ndarray:
    """(n, 1 + weak + strong, 1): the value 10 i + v of item i and view v, negative so that no root is taken."""
    return -(10.0 * np.arange(n)[:, None] + np.arange(1 + weak + strong))[:, :, None].astype(np.float16) - 1


def test_views_are_the_items_own_and_of_their_kind() -> None:
    source, items = ViewSource(stored(), 2, CPU), torch.tensor([4, 0, 2] * 40)
    weak, strong = source.views(items, ("weak", "strong"), generator(0, 0))
    which = [(-view[:, 0] - 1 - 10 * items).long() for view in (weak, strong)]
    assert set(which[0].tolist()) == {1, 2} and set(which[1].tolist()) == {3, 4, 5}
    assert torch.equal(source.plain(items)[:, 0], -10.0 * items - 1)
    assert (source.n, source.shape, weak.dtype) == (5, (1,), torch.float32)


def test_part_of_the_views_is_what_it_would_be_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the arrays on the device, and gathered from memory-mapped ones."""
    items, space = torch.arange(5), np.random.default_rng(0).normal(size=(5, 3))
    for source in (ViewSource(stored(), 2, CPU), NoisySource(space, np.ones(5, bool), 1.0, CPU)):
        whole = source.views(items, ("weak", "strong"), generator(0, 1))
        part = source.views(items, ("weak", "strong"), generator(0, 1), slice(2, 4))
        assert all(torch.equal(a[2:4], b) for a, b in zip(whole, part, strict=True))
    monkeypatch.setattr(feature_sources, "RESIDENT", 0)
    gathered = ViewSource(stored(), 2, CPU).views(items, ("weak", "strong"), generator(0, 1))
    expected = ViewSource(stored(), 2, CPU).views(items, ("weak", "strong"), generator(0, 1))
    assert all(torch.equal(a, b) for a, b in zip(gathered, expected, strict=True))


def test_features_that_are_never_negative_are_rooted() -> None:
    views = np.array([[[4.0, 9.0], [1.0, 0.0]], [[0.0, 1.0], [16.0, 25.0]]])  # (2 items, 2 views, 2)
    source = ViewSource(views, 1, CPU)
    assert source.rooted
    assert source.plain(torch.tensor([0])).tolist() == [[2.0, 3.0]]
    assert source.views(torch.tensor([1]), ("weak",), generator(0, 0))[0].tolist() == [[4.0, 5.0]]
    mean, std = source.statistics(np.array([0, 1]))
    assert mean.tolist() == [1.0, 2.0] and std.tolist() == [1.0, 1.0]
    views[1, 0, 0] = -1e-3
    assert not ViewSource(views, 1, CPU).rooted


def test_the_weak_view_of_a_space_is_its_row_and_the_strong_one_is_noisy() -> None:
    space = np.random.default_rng(0).normal(size=(400, 2)) * [1.0, 10.0]
    source, items = NoisySource(space, np.ones(400, bool), 2.0, CPU), torch.arange(400).repeat(20)
    weak, strong = source.views(items, ("weak", "strong"), generator(0, 0))
    assert torch.equal(weak, source.plain(items))
    expected = 2 * neighbour_scale(space, np.arange(400))
    assert torch.allclose((strong - weak).std(0).double(), expected, rtol=0.05)
    assert torch.equal(
        NoisySource(space, np.ones(400, bool), 0.0, CPU).views(items, ("strong",), generator(0, 0))[0], weak
    )


def test_neighbour_scale_by_hand() -> None:
    """Two far pairs; with one neighbour each, they differ by 2 in x and by 4 in y: sqrt(half the square)."""
    space = np.array([[0.0, 0.0], [2.0, 4.0], [100.0, 0.0], [102.0, 4.0]])
    keep = feature_sources.NEAR
    feature_sources.NEAR = 1
    try:
        assert neighbour_scale(space, np.arange(4)).tolist() == pytest.approx([2**0.5, 8**0.5])
    finally:
        feature_sources.NEAR = keep
    assert neighbour_scale(space, np.array([2])).tolist() == [0.0, 0.0]  # nothing is near


def test_moments_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_sources, "_CHUNK", 3)
    space = np.random.default_rng(1).normal(5, 2, (10, 4)).astype(np.float32)
    items = np.array([0, 2, 3, 5, 7, 8, 9])
    mean, std = moments(lambda some: space[some], items)
    np.testing.assert_allclose(mean, space[items].astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, space[items].astype(np.float64).std(0), rtol=1e-9)
