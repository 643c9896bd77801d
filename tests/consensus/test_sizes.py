"""Class sizes of a consensus, and how far they differ between searches."""

import numpy as np
import pytest

from hume_ssl.consensus import class_sizes


def test_sizes_and_their_variation_by_hand() -> None:
    """Two searches of 40 items, the second with its class ids exchanged: sizes (30, 10) and (10, 30) once matched. Of
    each class the mean is 20 and the standard deviation 10, half of it; a single test item counts nowhere."""
    consensus = np.repeat([0, 1], [30, 11])
    other = np.repeat([1, 0, 1], [10, 30, 1])[: len(consensus)]
    train = np.arange(41) < 40
    found = class_sizes(np.stack([consensus, 1 - other]), consensus, 2, train, np.array([0, 1]))
    assert found.items.tolist() == [30, 10]
    assert found.variation == pytest.approx([0.5, 0.5]) and found.disputed.all()


def test_searches_that_agree_up_to_names_have_no_variation() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    searches = np.stack([rng.permutation(5)[labels] for _ in range(30)])
    found = class_sizes(searches, labels, 5, np.ones(200, dtype=bool), np.arange(30))
    assert not found.variation.any() and not found.disputed.any()


def test_a_few_items_more_or_less_are_no_dispute_and_only_voters_are_asked() -> None:
    """Sizes (2, 38) and (4, 36) vary by a third of 3, which is one item; a third search, no voter, by far more."""
    two, four = np.arange(40) >= 2, np.arange(40) >= 4
    searches = np.stack([two, four, np.arange(40) >= 30]).astype(int)
    train = np.ones(40, dtype=bool)
    found = class_sizes(searches, searches[0], 2, train, np.array([0, 1]))
    assert found.variation[0] == pytest.approx(1 / 3) and not found.disputed.any()
    assert class_sizes(searches, searches[0], 2, train, np.arange(3)).disputed[0]
