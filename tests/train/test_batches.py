"""Which items each step takes."""

import numpy as np
import torch

from hume_ssl.train.batches import Shuffled, generator, spread


def test_epochs_hold_every_item_once_and_small_sets_are_tiled():
    """5 items in batches of 12: the stream is epochs of 5, so any 5 k draws from the start hold each item k times."""
    items = torch.tensor([3, 1, 4, 15, 9])
    stream = Shuffled(items, 0)
    drawn = torch.cat([stream.at(12 * i, 12) for i in range(5)])
    for epoch in drawn.reshape(-1, 5):
        assert sorted(epoch.tolist()) == [1, 3, 4, 9, 15]
    assert len({tuple(epoch.tolist()) for epoch in drawn.reshape(-1, 5)}) > 6  # shuffled anew


def test_stream_is_a_function_of_seed_and_place():
    whole = Shuffled(torch.arange(10), 0).at(0, 40)
    other = Shuffled(torch.arange(10), 0)
    for start in (33, 7, 0, 19):  # in any order, by another object
        assert torch.equal(other.at(start, 7), whole[start : start + 7])
    assert not torch.equal(Shuffled(torch.arange(10), 1).at(0, 40), whole)
    assert other.at(3, 0).shape == (0,)


def test_generators_differ_by_seed_and_count():
    draws = {generator(seed, count).initial_seed() for seed in range(20) for count in range(50)}
    assert len(draws) == 1000
    assert generator(3, 4).initial_seed() == generator(3, 4).initial_seed()


def test_spread_takes_evenly_spaced_items():
    assert spread(np.array([7, 8, 9]), 3).tolist() == [7, 8, 9]
    assert spread(np.arange(10) * 2, 4).tolist() == [0, 4, 10, 14]
