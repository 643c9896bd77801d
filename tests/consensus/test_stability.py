"""Stability: by hand, against scikit-learn, unchanged by names and order, and on a sample of a large set."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from hume_ssl.consensus.stability import pairwise_ari, stability


def noisy(rng: np.random.Generator, r: int, n: int, k: int, share: float) -> np.ndarray:
    """(r, n) labellings: one hidden partition, `share` of the items of each redrawn, classes renamed at random."""
    hidden = rng.integers(0, k, n)
    drawn = np.where(rng.random((r, n)) < share, rng.integers(0, k, (r, n)), hidden)
    return np.stack([rng.permutation(k)[row] for row in drawn])


def test_by_hand() -> None:
    """aabb and abab: pairs together 2 and 2 of 6, none in both, so (0 - 4/6) / (2 - 4/6) = -1/2; aabb and bbaa: 1."""
    labellings = np.array([[0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]])
    assert pairwise_ari(labellings, 2) == pytest.approx(np.array([[1, -0.5, 1], [-0.5, 1, -0.5], [1, -0.5, 1]]))
    assert stability(labellings, 2) == pytest.approx([0.25, -0.5, 0.25])


@pytest.mark.parametrize("k", [2, 7, 40])
def test_as_scikit_learn(k: int) -> None:
    labellings = noisy(np.random.default_rng(k), 5, 300, k, 0.4)
    labellings[3] = np.minimum(labellings[3], k // 2)  # a collapsed one
    wanted = [[adjusted_rand_score(a, b) for b in labellings] for a in labellings]
    assert pairwise_ari(labellings, k) == pytest.approx(np.array(wanted), abs=1e-12)


def test_names_order_and_test_items_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    labellings = noisy(rng, 6, 200, 4, 0.3)
    found = stability(labellings, 4)
    renamed = np.stack([rng.permutation(4)[row] for row in labellings])
    assert stability(renamed, 4) == pytest.approx(found)
    assert stability(labellings[:, rng.permutation(200)], 4) == pytest.approx(found)
    order = rng.permutation(6)
    assert stability(labellings[order], 4) == pytest.approx(found[order])
    train = np.arange(260) < 200
    padded = np.hstack([labellings, rng.integers(0, 4, (6, 60))]).astype(np.int32)
    assert stability(padded, 4, train) == pytest.approx(found)


def test_nothing_to_compare() -> None:
    assert stability(np.array([[0, 1, 0]]), 2).tolist() == [1.0]
    assert stability(np.zeros((3, 5), dtype=np.int32), 2).tolist() == [1.0, 1.0, 1.0]  # all collapsed alike
    assert stability(np.array([[0, 0, 0, 0], [0, 0, 1, 1]]), 2).tolist() == [0.0, 0.0]


def test_tells_the_odd_one_out() -> None:
    rng = np.random.default_rng(2)
    labellings = noisy(rng, 8, 500, 5, 0.1)
    labellings[5] = rng.integers(0, 5, 500)
    found = stability(labellings, 5)
    assert found.argmin() == 5
    assert found[5] < 0.05
    assert np.delete(found, 5).min() > 0.5


def test_a_sample_is_near_the_whole_and_always_the_same() -> None:
    labellings = noisy(np.random.default_rng(3), 4, 30_000, 6, 0.3)
    some = stability(labellings, 6, items=5_000)
    assert some == pytest.approx(stability(labellings, 6, items=30_000), abs=0.02)
    assert some.tolist() == stability(labellings, 6, items=5_000).tolist()
