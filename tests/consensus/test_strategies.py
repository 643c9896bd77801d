"""The strategies of `pick` with spaces: hand-computed, near-duplicates, invariances."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hume_ssl.consensus import pick
from hume_ssl.consensus import strategies as module
from hume_ssl.errors import InputError

STRATEGIES = ("certain", "cover", "random")


def made(n: int = 150, k: int = 3, seed: int = 0) -> tuple[tuple[Any, ...], list[NDArray[Any]]]:
    """(labels, agreement, neighbour agreement, train) and two spaces with a blob a class; shares are all different."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % k)
    spaces = [rng.normal(size=(k, d))[labels] * 2 + rng.normal(size=(n, d)) for d in (6, 9)]
    agreement, nearby = rng.permutation(np.linspace(0.4, 1, n)), rng.permutation(np.linspace(0.45, 1, n))
    return (labels, agreement, nearby, rng.random(n) < 0.9), spaces


def circle(*degrees: float) -> list[NDArray[Any]]:
    angles = np.deg2rad(degrees)
    return [np.stack([np.cos(angles), np.sin(angles)], axis=1)]


ONE = np.ones(5)
EVERY = np.ones(5, dtype=bool)
ZERO = np.zeros(5, dtype=np.int64)


def test_certain_takes_those_most_like_the_prototype() -> None:
    """One class at 0, 30, 60, 70 and 80 degrees: the mean points to 49 degrees, so the order is 60, 30, 70, 80, 0."""
    picked = pick(ZERO, ONE, ONE, EVERY, 5, 1, strategy="certain", spaces=circle(0, 30, 60, 70, 80))
    assert picked.index.tolist() == [2, 1, 3, 4, 0]
    assert picked.rank.tolist() == [1, 2, 3, 4, 5]
    assert picked.reason[1] == "number 2 of 5 by certainty: 100% of searches and 100% of neighbours agree"


def test_cover_says_for_how_many_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups, at 0, 3, 6 and at 60, 66 degrees; a pick of each, 6 being the medoid of all."""
    monkeypatch.setattr(module, "HALF", 1.0)
    picked = pick(ZERO, ONE, ONE, EVERY, 2, 1, strategy="cover", spaces=circle(0, 3, 6, 60, 66))
    assert picked.index[0] == 2 and picked.index[1] in (3, 4)
    assert [reason.split(" and ")[0] for reason in picked.reason] == [
        "nearest pick for 3 items",
        "nearest pick for 2 items",
    ]


def test_cover_keeps_to_what_is_certain_and_agreed_about() -> None:
    """At N = 1 one of the eleven most certain, at N = 9 of 39 or the upper half; and only items above 0.95 as long
    as more than N are, else as certain."""
    (labels, agreement, nearby, train), spaces = made(300)
    for floor in (0.9, 0.0):
        shares = (labels, agreement.clip(floor), nearby.clip(floor), train)
        certain = pick(*shares, 300, 3, strategy="certain", spaces=spaces, allow_short=True)
        depth = dict(zip(certain.index.tolist(), certain.rank.tolist(), strict=True))
        have = np.bincount(certain.label)
        for n, deepest in ((1, 11), (9, 39)):
            picked = pick(*shares, n, 3, strategy="cover", spaces=spaces)
            for label in range(3):
                mine = picked.index[picked.label == label]
                limit = min(deepest, have[label] // 2)
                sites = [i for i, d in depth.items() if labels[i] == label and d <= limit]
                sure = [i for i in sites if min(shares[1][i], shares[2][i]) > 0.95]
                if len(sure) > n:
                    assert set(mine) <= set(sure)
                else:
                    assert {depth[i] for i in mine} == set(range(1, n + 1))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_of_copies_one_is_picked(strategy: str) -> None:
    """Every item of class 0 there twice, side by side; with as many asked for as there are, the others come in."""
    shares, spaces = made(60)
    index = np.concatenate([np.arange(60), np.flatnonzero(shares[0] == 0)])
    shares, spaces = tuple(share[index] for share in shares), [space[index] for space in spaces]
    whole = pick(*shares, 500, 3, strategy=strategy, spaces=spaces, allow_short=True)
    mine = whole.label == 0
    distinct = len(np.unique(index[whole.index[mine]]))
    assert mine.sum() == 2 * distinct
    picked = pick(*shares, distinct, 3, strategy=strategy, spaces=spaces, allow_short=True)
    chosen = picked.index[picked.label == 0]
    assert len(chosen) == distinct == len(set(index[chosen]))
    assert not any("near-duplicate" in reason for reason in picked.reason)
    told = [reason for reason, is_mine in zip(whole.reason, mine, strict=True) if is_mine]
    assert ["near-duplicate of item" in reason for reason in told] == [False] * distinct + [True] * distinct
    assert not any("near-duplicate" in r for r, is_mine in zip(whole.reason, mine, strict=True) if not is_mine)


@pytest.mark.parametrize("strategy", ["certain", "cover"])
def test_the_order_of_items_and_the_scale_of_rows_do_not_matter(strategy: str) -> None:
    shares, spaces = made()
    picked = pick(*shares, 6, 3, strategy=strategy, spaces=spaces)
    order = np.random.default_rng(1).permutation(150)
    scaled = [space[order] * np.random.default_rng(2).uniform(0.5, 5, (150, 1)) for space in spaces]
    other = pick(*(share[order] for share in shares), 6, 3, strategy=strategy, spaces=scaled)
    assert order[other.index].tolist() == picked.index.tolist()
    assert other.reason == picked.reason


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_reliable_train_items_each_once_and_the_same_again(strategy: str) -> None:
    shares, spaces = made()
    picked = pick(*shares, 9, 3, strategy=strategy, spaces=spaces, seed=5)
    again = pick(*shares, 9, 3, strategy=strategy, spaces=spaces, seed=5)
    assert picked.index.tolist() == again.index.tolist() and picked.reason == again.reason
    labels, agreement, nearby, train = shares
    assert (train & (agreement > 0.5) & (nearby > 0.5))[picked.index].all()
    assert len(set(picked.index)) == 27 and np.bincount(picked.label).tolist() == [9, 9, 9]
    assert (labels[picked.index] == picked.label).all()


def test_random_hangs_on_the_seed_and_on_nothing_else() -> None:
    shares, spaces = made()
    draws = [pick(*shares, 9, 3, strategy="random", seed=seed).index.tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert pick(*shares, 4, 3, strategy="random", spaces=spaces).reason[0].startswith("drawn at random from ")


def test_a_class_without_items_beside_one_with() -> None:
    picked = pick(ZERO, ONE, ONE, EVERY, 2, 3, strategy="cover", spaces=circle(0, 20, 40, 60, 80), allow_short=True)
    assert picked.label.tolist() == [0, 0]


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match=r"cover measures in spaces: give spaces"):
        pick(ZERO, ONE, ONE, EVERY, 1, 1, strategy="cover")
    with pytest.raises(InputError, match=r"3 rows for 5 items"):
        pick(ZERO, ONE, ONE, EVERY, 1, 1, spaces=circle(0, 1, 2))
    with pytest.raises(InputError, match=r"no strategy 'best': give one of certain, cover, random"):
        pick(ZERO, ONE, ONE, EVERY, 1, 1, strategy="best")


@pytest.mark.parametrize("strategy", ["certain", "cover"])
def test_large_classes_are_measured_in_part(monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    """Twenty items twice, all asked for: 16 are looked at, the other 24 come next as they are, near-duplicates last."""
    monkeypatch.setattr(module, "CANDIDATES", 8)
    monkeypatch.setattr(module, "MOST", 16)
    rows = np.repeat(circle(*np.linspace(0, 150, 20))[0], 2, axis=0)
    zero, one = np.zeros(40, dtype=np.int64), np.ones(40)
    picked = pick(zero, one, one, zero == 0, 40, 1, strategy=strategy, spaces=[rows])
    assert sorted(picked.index.tolist()) == list(range(40))
    twins = ["near-duplicate" in reason for reason in picked.reason]
    assert twins == [False] * 32 + [True] * 8
    assert {i // 2 for i in picked.index[:8]} == {i // 2 for i in picked.index[32:]} == set(range(6, 14))
