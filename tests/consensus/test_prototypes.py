"""Likeness to the prototype of a class: by hand, and what must not change it."""

from pathlib import Path

import numpy as np
import pytest

from hume_ssl.consensus import prototypes
from hume_ssl.consensus.prototypes import likeness

ONES = np.ones(6)
EVERY = np.ones(6, dtype=bool)
LABELS = np.array([0, 0, 0, 1, 1, 1])
# Class 0: two at right angles, and one between them, twice as long; class 1: one direction, and its opposite.
SPACE = np.array([[1.0, 0], [0, 1], [2, 2], [-1, 0], [-3, 0], [5, 0]])


def test_by_hand() -> None:
    """All are core. Class 0: the mean of (1, 0), (0, 1) and (1, 1)/sqrt 2 points to (1, 1): cosines 1/sqrt 2 twice,
    and 1. Class 1: two of three point to (-1, 0), so that the third has cosine -1."""
    found = likeness([SPACE], LABELS, ONES, ONES, EVERY, 2)
    assert found == pytest.approx([0.5**0.5, 0.5**0.5, 1, 1, 1, -1])


def test_the_core_alone_makes_the_prototype() -> None:
    """Item 0 alone is certain in class 0; in class 1 none is, two are reliable; a third class has no items."""
    agreement = np.array([0.95, 0.9, 0.6, 0.6, 0.8, 0.4])
    found = likeness([SPACE], LABELS, agreement, ONES, EVERY, 3)
    assert found == pytest.approx([1, 0, 0.5**0.5, 1, 1, -1])
    assert likeness([SPACE], LABELS, ONES, agreement, EVERY, 3) == pytest.approx(found)
    test = np.array([False, True, True, True, True, True])  # item 0 is a test item: the reliable ones of class 0
    between = np.array([1, 0]) @ [np.cos(3 * np.pi / 8), np.sin(3 * np.pi / 8)]
    assert likeness([SPACE], LABELS, agreement, ONES, test, 3)[0] == pytest.approx(between)


def test_without_any_reliable_item_all_count() -> None:
    assert likeness([SPACE], LABELS, 0 * ONES, ONES, EVERY, 2) == pytest.approx(
        likeness([SPACE], LABELS, ONES, ONES, EVERY, 2)
    )


def test_scale_order_spaces_and_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of any length, in any order, mapped from disk in half precision, read in pieces; spaces count alike."""
    rng = np.random.default_rng(0)
    spaces = [rng.standard_normal((60, 5)), rng.standard_normal((60, 3))]
    labels, shares = rng.integers(0, 3, 60), rng.random((2, 60))
    every = np.ones(60, dtype=bool)
    found = likeness(spaces, labels, *shares, every, 3)
    assert found == pytest.approx((sum(likeness([s], labels, *shares, every, 3) for s in spaces)) / 2)
    longer = [space * rng.uniform(0.1, 9, (60, 1)) for space in spaces]
    assert likeness(longer, labels, *shares, every, 3) == pytest.approx(found)
    order = rng.permutation(60)
    moved = likeness([s[order] for s in spaces], labels[order], *shares[:, order], every, 3)
    assert moved == pytest.approx(found[order])
    monkeypatch.setattr(prototypes, "CHUNK", 7)
    np.save(tmp_path / "space.npy", spaces[0].astype(np.float16))
    mapped = np.load(tmp_path / "space.npy", mmap_mode="r")
    assert likeness([mapped, spaces[1]], labels, *shares, every, 3) == pytest.approx(found, abs=2e-3)


def test_a_zero_row_is_like_nothing() -> None:
    space = SPACE.copy()
    space[0] = 0
    assert likeness([space], LABELS, ONES, ONES, EVERY, 2)[0] == 0
