"""Pseudo-labels in known class sizes."""

import math

import pytest
import torch

from hume_ssl.train.alignment import MEMORY, RATE, align, first_alignment


def test_first_step_by_hand():
    """The bias starts at 0, so the first batch passes as it is; its mean (.7, .3) against (.5, .5) moves the bias."""
    p = torch.tensor([[0.9, 0.1], [0.5, 0.5]])
    aligned, state = align(p.log(), first_alignment([3, 3]))
    torch.testing.assert_close(aligned.softmax(1), p)
    mean = [MEMORY * 0.5 + (1 - MEMORY) * 0.7, MEMORY * 0.5 + (1 - MEMORY) * 0.3]
    assert state["mean"].tolist() == pytest.approx(mean)
    bias = [RATE * math.log(0.5 / m) for m in mean]
    assert state["bias"].tolist() == pytest.approx(bias)
    odds = 0.9 / 0.1 * math.exp(bias[0] - bias[1])
    assert align(p.log(), state)[0].softmax(1)[0, 0].item() == pytest.approx(odds / (1 + odds))


@pytest.mark.parametrize("shares", [[1, 1, 1], [5, 3, 2]])
def test_the_mean_becomes_the_target_and_the_surest_items_stay(shares):
    """300 items that lean to class 0. In the end the aligned mean is the target, and of the items given away by class 0
    none was surer of it than one that stayed."""
    logits = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) * 2 + torch.tensor([2.0, 0.0, 0.0])
    state = first_alignment(shares)
    for _ in range(300):
        aligned, state = align(logits, state)
    aligned = aligned.softmax(1)
    target = torch.tensor(shares) / sum(shares)
    torch.testing.assert_close(aligned.mean(0), target, atol=1e-3, rtol=0)
    for other in (1, 2):
        margin = logits[:, 0] - logits[:, other]
        gone, stayed = aligned[:, other] > aligned[:, 0], aligned[:, 0] >= aligned[:, other]
        assert margin[gone].max() <= margin[stayed].min()


def test_a_class_that_was_lost_comes_back():
    logits = torch.tensor([[20.0, 0.0]] * 7 + [[2.0, 0.0]] * 3)
    state = first_alignment([1, 1])
    for _ in range(200):
        aligned, state = align(logits, state)
    assert aligned.argmax(1).tolist() == [0] * 7 + [1] * 3
    assert torch.isfinite(aligned).all() and torch.isfinite(state["bias"]).all()


def test_state_given_is_not_changed_and_no_state_means_no_alignment():
    logits = torch.tensor([[0.9, 0.1]])
    state = first_alignment([1, 1])
    kept = {name: t.clone() for name, t in state.items()}
    align(logits, align(logits, state)[1])
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    aligned, after = align(logits, {})
    assert torch.equal(aligned, logits) and after == {}
    assert align(logits[:0], state)[0].shape == (0, 2)
    assert not align(logits.clone().requires_grad_(), state)[0].requires_grad
