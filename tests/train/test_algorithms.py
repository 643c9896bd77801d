"""The rules, worked out by hand over consecutive steps."""

from fractions import Fraction
from math import exp

import pytest
import torch

from hume_ssl.train.algorithms import (
    RULES,
    first_state,
    fixmatch,
    flexmatch,
    freematch,
    pseudo_targets,
    softmatch,
    uses_unlabelled,
)
from hume_ssl.train_config import TrainConfig

WEAK = torch.tensor([[97.0, 2.0, 1.0], [90.0, 5.0, 5.0], [1.0, 3.0, 96.0]]).log()


def two(*first):
    """Probabilities (u, 2) from those of class 0."""
    return torch.tensor([[p, 1 - p] for p in first])


def test_fixmatch_by_hand():
    """Probabilities (.97 .02 .01), (.90 .05 .05), (.01 .03 .96): the second is out at 0.95 and in at 0.89."""
    targets, state = pseudo_targets(fixmatch, WEAK, torch.arange(3), {}, TrainConfig(threshold=0.95))
    assert targets.labels.tolist() == [0, 0, 2]
    assert targets.weights.tolist() == [1.0, 0.0, 1.0]
    assert state == first_state("fixmatch", 3, 9, 9) == {}
    lower, _ = pseudo_targets(fixmatch, WEAK, torch.arange(3), {}, TrainConfig(threshold=0.89))
    assert lower.weights.tolist() == [1.0, 1.0, 1.0]


def test_flexmatch_by_hand():
    """Two classes, tau = 0.8, six items of which the last is a test item, so a pool of 5.

    1. Nothing counted: all thresholds 0, all learned from. Items 0 (class 0, .9) and 2 (class 1, .9) get a label, item
       1 (.7) does not: 1, 1, and 3 without.
    2. beta = 1/3, 1/3: thresholds .8 (1/3) / (5/3) = .16. Items 1 (.85) and 3 (.95) become class 0: 3, 1, 1.
    3. beta = 1, 1/3: thresholds .8, .16. Item 4 as class 0 at .7 is below .8; item 0 as class 1 at .65 is learned from,
       but does not reach tau, so its label stays: 3, 1, 1.
    4. The same thresholds: item 0 as class 1 at .9 changes its label: 2, 2, 1.
    5. beta = 1, 1: both thresholds .8, so .7 is too low for either class.
    """
    config, state = TrainConfig(algorithm="flexmatch", threshold=0.8), first_state("flexmatch", 2, n=6, pool=5)
    steps = [
        ([0, 1, 2], [0.9, 0.3, 0.1], [1, 1, 1], [1, 1, 3]),
        ([1, 3, 4], [0.85, 0.95, 0.45], [1, 1, 1], [3, 1, 1]),
        ([4, 2, 0], [0.7, 0.05, 0.35], [0, 1, 1], [3, 1, 1]),
        ([0], [0.1], [1], [2, 2, 1]),
        ([4, 4, 3], [0.7, 0.3, 0.9], [0, 0, 1], [2, 2, 1]),
    ]
    for items, first, weights, counts in steps:
        targets, state = flexmatch(two(*first), torch.tensor(items), state, config)
        assert targets.labels.tolist() == [int(p < 0.5) for p in first]
        assert targets.weights.tolist() == weights
        assert state["counts"].tolist() == counts
    assert state["labels"][:6].tolist() == [1, 0, 1, 0, 2, 2]  # 2 = none


def test_flexmatch_thresholds_bend():
    """Counts 4, 2, 1 and 3 without: beta = 1, 1/2, 1/4; beta / (2 - beta) = 1, 1/3, 1/7 of tau = 0.9: .9, .3, .129.

    So a class 1 at .45 is in, a class 0 at .85 is out; with more without a label (8), beta = 1/2, 1/4, 1/8 and the
    threshold of class 0 is .3.
    """
    config = TrainConfig(algorithm="flexmatch", threshold=0.9)
    p = torch.tensor([[0.85, 0.1, 0.05], [0.3, 0.45, 0.25]])
    for without, expected in ((3, [0.0, 1.0]), (8, [1.0, 1.0])):
        state = first_state("flexmatch", 3, 15, 15) | {"counts": torch.tensor([4, 2, 1, without])}
        assert flexmatch(p, torch.tensor([0, 1]), state, config)[0].weights.tolist() == expected


def test_flexmatch_item_twice_in_a_batch_keeps_its_last_label():
    config, state = TrainConfig(algorithm="flexmatch", threshold=0.8), first_state("flexmatch", 2, 4, 4)
    # item 1: class 0, then 1, then 0 but not surely; item 3: class 1, then class 0
    _, state = flexmatch(two(0.9, 0.1, 0.05, 0.6, 0.9), torch.tensor([1, 3, 1, 1, 3]), state, config)
    assert state["labels"][:4].tolist() == [2, 1, 2, 0]
    assert state["counts"].tolist() == [1, 1, 2]


def test_freematch_by_hand():
    """Decay 1/2, two classes, all averages starting at 1/2.

    1. (.9 .1), (.7 .3): mean confidence .8, tau = .65; mean (.8 .2), p = (.65 .35); shares (1 0), h = (.75 .25).
       Thresholds .65 and .65 * .35 / .65 = .35: both in.
    2. (.6 .4), (.2 .8): mean confidence .7, tau = .675; mean (.4 .6), p = (.525 .475); shares (.5 .5), h = (.625 .375).
       Thresholds .675 and .675 * .475 / .525 = .611: the first is out (thresholds from before this batch would be
       .65), the second in.
    """
    config, state = TrainConfig(algorithm="freematch", statistics_decay=0.5), first_state("freematch", 2, 9, 9)
    steps = [
        ([0.9, 0.7], [1, 1], 0.65, [0.65, 0.35], [0.75, 0.25]),
        ([0.6, 0.2], [0, 1], 0.675, [0.525, 0.475], [0.625, 0.375]),
    ]
    for first, weights, tau, mean, shares in steps:
        targets, state = freematch(two(*first), torch.arange(2), state, config)
        assert targets.weights.tolist() == weights
        assert state["confidence"].item() == pytest.approx(tau)
        assert state["probabilities"].tolist() == pytest.approx(mean)
        assert state["shares"].tolist() == pytest.approx(shares)
    assert targets.labels.tolist() == [0, 1]


def test_freematch_uses_this_batch_before_its_thresholds():
    """One batch (.6 .4), (.99 .01) at decay 0 has tau = .795, so the first is out; the old 1/2 would let it in."""
    config = TrainConfig(algorithm="freematch", statistics_decay=0.0)
    targets, _ = freematch(two(0.6, 0.99), torch.arange(2), first_state("freematch", 2, 2, 2), config)
    assert targets.weights.tolist() == [0.0, 1.0]


def test_softmatch_by_hand():
    """Decay 1/2, two classes, s = 2, in fractions (the 1e-6 of the alignment is within the tolerance).

    1. (.9 .1), (.7 .3): p_model = their mean (.8 .2). Aligned (.5625 .25) -> 9/13 and 4/13; (.4375 .75) -> 7/19 and
       12/19: the second has label 0, by its own probabilities, and confidence 12/19. Their mean m1 and half their
       squared difference v1: mu = (1/2 + m1) / 2, var = (1 + v1) / 2.
    2. (.6 .4), (.8 .2): mean (.7 .3), p_model = (.75 .25). Aligned (.4 .8) -> 2/3 for class 1; (8/15 .4) -> 4/7.
    """
    config, state = TrainConfig(algorithm="softmatch", statistics_decay=0.5), first_state("softmatch", 2, 9, 9)
    half = Fraction(1, 2)
    mean, variance = half, Fraction(1)
    steps = [
        ([0.9, 0.7], [0.8, 0.2], (Fraction(9, 13), Fraction(12, 19))),
        ([0.6, 0.8], [0.75, 0.25], (Fraction(2, 3), Fraction(4, 7))),
    ]
    for first, model, (one, other) in steps:
        targets, state = softmatch(two(*first), torch.arange(2), state, config)
        mean = half * (mean + (one + other) / 2)
        variance = half * (variance + (one - other) ** 2 / 2)
        expected = [exp(-4 * float(min(c - mean, 0) ** 2 / (2 * variance))) for c in (one, other)]
        assert targets.labels.tolist() == [0, 0]
        assert targets.weights.tolist() == pytest.approx(expected, abs=1e-5)
        assert state["probabilities"].tolist() == pytest.approx(model)
        assert state["confidence"].item() == pytest.approx(float(mean), abs=1e-5)
        assert state["variance"].item() == pytest.approx(float(variance), abs=1e-5)


def test_softmatch_weights_below_the_mean():
    """mu = .9, var = .01 (such a decay keeps them): .8 is one deviation below, exp(-1/2) at s = 1, exp(-2) at 2."""
    state = {"probabilities": torch.full((2,), 0.5), "confidence": torch.tensor(0.9), "variance": torch.tensor(0.01)}
    for softness, weight in ((1.0, exp(-0.5)), (2.0, exp(-2))):
        config = TrainConfig(algorithm="softmatch", statistics_decay=1 - 1e-9, softness=softness)
        weights = softmatch(two(0.8, 0.95, 0.2), torch.arange(3), state, config)[0].weights
        assert weights.tolist() == pytest.approx([weight, 1.0, weight], abs=1e-5)


def test_supervised_learns_from_no_unlabelled_image():
    assert [name for name in RULES if not uses_unlabelled(name)] == ["supervised"]
    targets, state = RULES["supervised"](WEAK.softmax(1), torch.arange(3), {}, TrainConfig(algorithm="supervised"))
    assert targets.weights.tolist() == [0.0, 0.0, 0.0] and state == {}


def test_every_algorithm_of_the_settings_has_a_rule():
    assert set(RULES) == set(TrainConfig.model_fields["algorithm"].annotation.__args__)
