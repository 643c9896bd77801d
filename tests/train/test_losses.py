"""The parts of the loss, worked out by hand."""

import math

import pytest
import torch

from hume_ssl.train.algorithms import RULES, Targets, first_state
from hume_ssl.train.losses import extra_loss, fairness, labelled_loss, unlabelled_loss
from hume_ssl.train_config import TrainConfig

STRONG = torch.tensor([[1.0, 1.0, 1.0], [9.0, 1.0, 1.0], [1.0, 1.0, 2.0]]).log()


def test_labelled_loss_by_hand():
    """Softmax of (ln 3, 0, 0) is (3/5, 1/5, 1/5): label 0 costs ln(5/3), label 1 ln 5; the mean is ln(25/3) / 2."""
    logits = torch.tensor([[3.0, 1.0, 1.0], [3.0, 1.0, 1.0]]).log()
    assert labelled_loss(logits, torch.tensor([0, 1])).item() == pytest.approx(math.log(25 / 3) / 2, rel=1e-6)


def test_labelled_loss_with_weights_by_hand():
    """Weights 2 and 1/2: (2 ln(5/3) + ln(5) / 2) / 2. A weight of 0 takes an image out and changes no other."""
    logits, labels = torch.tensor([[3.0, 1.0, 1.0], [3.0, 1.0, 1.0]]).log(), torch.tensor([0, 1])
    weighted = labelled_loss(logits, labels, torch.tensor([2.0, 0.5])).item()
    assert weighted == pytest.approx((2 * math.log(5 / 3) + math.log(5) / 2) / 2, rel=1e-6)
    assert labelled_loss(logits, labels, torch.tensor([1.0, 0.0])).item() == pytest.approx(math.log(5 / 3) / 2)
    torch.testing.assert_close(labelled_loss(logits, labels, torch.ones(2)), labelled_loss(logits, labels))


def test_unlabelled_loss_by_hand():
    """The strong views give their class 1/3, 9/11 and 2/4. With the second unused the mean over all three images is
    (ln 3 + 0 + ln 2) / 3 = ln 6 / 3; with a weight of 1/2, ln(11/9) / 2 is added to the sum."""
    labels = torch.tensor([0, 0, 2])
    without = unlabelled_loss(STRONG, Targets(labels, torch.tensor([1.0, 0.0, 1.0])))
    assert without.item() == pytest.approx(math.log(6) / 3, rel=1e-6)
    half = unlabelled_loss(STRONG, Targets(labels, torch.tensor([1.0, 0.5, 1.0])))
    assert half.item() == pytest.approx((math.log(6) + math.log(11 / 9) / 2) / 3, rel=1e-6)


def test_nothing_used_costs_nothing():
    targets = Targets(torch.zeros(3, dtype=torch.int64), torch.zeros(3))
    assert unlabelled_loss(STRONG, targets).item() == 0.0
    assert fairness(STRONG, targets, first_state("freematch", 3, 9, 9)).item() == 0.0


def test_fairness_by_hand():
    """p = (.525 .475), h = (.625 .375): p / h = (.84 1.2667), so a = (.84 1.2667) / 2.1067.

    Strong views in use (.6 .4) and (.2 .8): mean (.4 .6), shares (.5 .5), so b = (.4 .6); the third is not in use.
    """
    state = {"probabilities": torch.tensor([0.525, 0.475]), "shares": torch.tensor([0.625, 0.375])}
    strong = torch.tensor([[0.6, 0.4], [0.2, 0.8], [0.99, 0.01]]).log()
    targets = Targets(torch.tensor([1, 1, 0]), torch.tensor([1.0, 1.0, 0.0]))
    a = (0.84 / (0.84 + 19 / 15), (19 / 15) / (0.84 + 19 / 15))
    expected = a[0] * math.log(0.4) + a[1] * math.log(0.6)
    assert fairness(strong, targets, state).item() == pytest.approx(expected, rel=1e-5)
    config = TrainConfig(algorithm="freematch", fairness=0.01)
    assert extra_loss("freematch", strong, targets, state, config).item() == pytest.approx(expected / 100, rel=1e-5)
    for other in RULES.keys() - {"freematch"}:
        assert extra_loss(other, strong, targets, {}, config).item() == 0.0


def test_fairness_of_balanced_predictions_is_minus_log_k():
    """Each of three classes the most probable one once, equally surely, with even averages: a and b are uniform."""
    strong = (torch.eye(3) * 4).double()
    targets = Targets(torch.arange(3), torch.ones(3))
    assert fairness(strong, targets, first_state("freematch", 3, 9, 9)).item() == pytest.approx(-math.log(3))


def test_gradient_of_fairness_by_differences():
    generator = torch.Generator().manual_seed(0)
    strong = torch.randn(12, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = Targets(torch.zeros(12, dtype=torch.int64), (torch.arange(12) % 3 > 0).float())
    state = {"probabilities": torch.tensor([0.1, 0.2, 0.3, 0.4]), "shares": torch.tensor([0.3, 0.3, 0.2, 0.2])}
    state = {name: t.double() for name, t in state.items()}
    assert torch.autograd.gradcheck(lambda x: fairness(x, targets, state), strong)
