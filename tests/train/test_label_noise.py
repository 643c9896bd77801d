"""Weights of labels that may be wrong: by hand, and what must hold."""

import math

import numpy as np
import pytest
import torch

from hume_ssl.train.label_noise import (
    LEVEL,
    LONG,
    MEMORY,
    WARM_UP,
    agreement_weights,
    contradicted,
    first_contradictions,
    kept_weights,
)


def test_agreement_weights_by_hand():
    """Class 0: products 1 and 1/2, mean 3/4, so 4/3 and 2/3. Class 2: .2 and .6, mean .4, so 1/2 and 3/2."""
    agreement, nearby = np.array([1.0, 0.4, 0.5, 0.6]), np.array([1.0, 0.5, 1.0, 1.0])
    weights = agreement_weights(agreement, nearby, np.array([0, 2, 0, 2]))
    np.testing.assert_allclose(weights, [4 / 3, 1 / 2, 2 / 3, 3 / 2])


def test_agreement_weights_have_mean_one_in_each_class_whatever_the_scale():
    rng = np.random.default_rng(0)
    agreement, nearby, labels = rng.uniform(size=50), rng.uniform(size=50), rng.integers(0, 7, 50)
    weights = agreement_weights(agreement, nearby, labels)
    for c in np.unique(labels):
        assert weights[labels == c].mean() == pytest.approx(1)
    np.testing.assert_allclose(agreement_weights(agreement / 3, nearby, labels), weights)
    np.testing.assert_allclose(agreement_weights(agreement, nearby, 100 - labels), weights)
    order = rng.permutation(50)
    np.testing.assert_allclose(agreement_weights(agreement[order], nearby[order], labels[order]), weights[order])


def test_equal_or_no_agreement_weighs_one():
    labels = np.array([0, 0, 1])
    np.testing.assert_array_equal(agreement_weights(np.full(3, 0.7), np.full(3, 0.9), labels), np.ones(3))
    np.testing.assert_array_equal(agreement_weights(np.zeros(3), np.ones(3), labels), np.ones(3))
    assert agreement_weights(np.zeros(0), np.zeros(0), np.zeros(0, int)).shape == (0,)


def against(*items, m=4):
    """Probabilities (m, 3) of a model that gives class 0 to all items but these, which get class 2."""
    p = torch.tensor([[0.9, 0.05, 0.05]]).repeat(m, 1)
    p[list(items)] = torch.tensor([0.05, 0.05, 0.9])
    return p


def test_scores_and_weights_by_hand():
    """Four labels of class 0, evaluated every MEMORY ln 2 of the run, so that each evaluation counts 1/2.

    Item 3 is contradicted all the time: 1/2, 3/4, 7/8. Item 2 at first only: 1/2, 1/4, 1/8. Item 1 the last time: 1/2.
    From LONG = 1/2 a label is dropped, after the warm-up; then item 3 is agreed with twice, 7/32, and comes back.
    """
    labels, state, every = torch.zeros(4, dtype=torch.int64), first_contradictions(4), MEMORY * math.log(2)
    start = WARM_UP - 2.5 * every  # the warm-up ends before the third
    state["share"] = torch.tensor(start)
    steps = [
        (against(2, 3), [0, 0, 0.5, 0.5], [1, 1, 1, 1]),
        (against(3), [0, 0, 0.25, 0.75], [1, 1, 1, 1]),
        (against(3), [0, 0, 0.125, 0.875], [1, 1, 1, 0]),
        (against(), [0, 0, 0.0625, 0.4375], [1, 1, 1, 1]),
        (against(1, 3), [0, 0.5, 0.03125, 0.71875], [1, 0, 1, 0]),
    ]
    assert LONG == 0.5
    for i, (probabilities, scores, weights) in enumerate(steps):
        state = contradicted(state, probabilities, labels, start + (i + 1) * every)
        assert state["score"].tolist() == pytest.approx(scores, abs=1e-5)
        if scores[1] == 0.5:
            state["score"][1] += 1e-5  # not left to rounding
        assert kept_weights(state, labels).tolist() == weights


def test_what_contradicts():
    """Another class at LEVEL or more: neither the label itself, nor a class that the model is unsure of."""
    p = torch.tensor([[0.95, 0.05, 0.0], [0.95, 0.05, 0.0], [LEVEL - 0.01, 0.2, 0.01], [0.45, 0.55, 0.0]])
    state = contradicted(first_contradictions(4), p, torch.tensor([0, 1, 2, 0]), 1.0)
    assert [round(s, 3) for s in state["score"].tolist()] == [0, 1, 0, 0]


def test_half_of_each_class_is_kept():
    """All contradicted: of 3 labels of class 0, 1 of class 1 and 4 of class 2 there stay 2, 1 and 2, the least bad."""
    labels = torch.tensor([2, 0, 2, 1, 0, 2, 0, 2])
    state = {"score": torch.tensor([0.9, 0.6, 0.7, 1.0, 0.9, 0.8, 0.8, 1.0]), "share": torch.tensor(0.5)}
    weights = kept_weights(state, labels)
    assert weights.tolist() == [0, 1, 1, 1, 0, 1, 1, 0]
    renamed = kept_weights(state, 9 - labels)
    assert torch.equal(renamed, weights)
    order = torch.tensor([5, 2, 7, 0, 3, 1, 6, 4])
    assert torch.equal(kept_weights(state | {"score": state["score"][order]}, labels[order]), weights[order])


def test_more_evaluations_mean_the_same():
    """An item contradicted all along has the same score after 5 and after 50 evaluations; the state given stays."""
    labels = torch.zeros(4, dtype=torch.int64)
    scores = []
    for count in (5, 50):
        state = first = first_contradictions(4)
        for i in range(count):
            state = contradicted(state, against(1), labels, (i + 1) * 0.08 / count)
        scores.append(state["score"])
        assert first["score"].abs().sum() == 0 and first["share"] == 0
    torch.testing.assert_close(*scores)
    assert scores[0].tolist() == pytest.approx([0, 1 - math.exp(-0.08 / MEMORY), 0, 0], abs=1e-5)


def test_halves_are_understood():
    state = contradicted(first_contradictions(4), against(0).bfloat16(), torch.zeros(4, dtype=torch.int64), 1.0)
    assert state["score"].dtype == torch.float32 and kept_weights(state, torch.zeros(4, dtype=torch.int64))[0] == 0
