"""FixMatch's rule and losses, worked out by hand."""

import math

import pytest
import torch

from hume_ssl.train.algorithms import Targets, fixmatch, labelled_loss, pseudo_targets, unlabelled_loss
from hume_ssl.train_config import TrainConfig

WEAK = torch.tensor([[97.0, 2.0, 1.0], [90.0, 5.0, 5.0], [1.0, 3.0, 96.0]]).log()
STRONG = torch.tensor([[1.0, 1.0, 1.0], [9.0, 1.0, 1.0], [1.0, 1.0, 2.0]]).log()


def test_mask_and_loss_by_hand():
    """Probabilities of the weak views: (.97 .02 .01), (.90 .05 .05), (.01 .03 .96).

    At threshold 0.95 the first counts as class 0, the third as class 2, the second not at all. The strong views give
    their class 1/3 and 2/4, so their cross-entropies are ln 3 and ln 2, and the mean over all three images, used or
    not, is (ln 3 + 0 + ln 2) / 3 = ln 6 / 3.
    """
    targets, state = pseudo_targets(fixmatch, WEAK, torch.arange(3), {}, TrainConfig(threshold=0.95))
    assert targets.labels.tolist() == [0, 0, 2]
    assert targets.weights.tolist() == [1.0, 0.0, 1.0]
    assert state == {}
    assert unlabelled_loss(STRONG, targets).item() == pytest.approx(math.log(6) / 3, rel=1e-6)


def test_lower_threshold_lets_the_second_in():
    """At 0.9 or a little less the second counts too: its class 0 has 9/11 of the strong view, so ln(11/9) is added."""
    targets, _ = pseudo_targets(fixmatch, WEAK, torch.arange(3), {}, TrainConfig(threshold=0.89))
    assert targets.weights.tolist() == [1.0, 1.0, 1.0]
    assert unlabelled_loss(STRONG, targets).item() == pytest.approx((math.log(6) + math.log(11 / 9)) / 3, rel=1e-6)


def test_labelled_loss_by_hand():
    """Softmax of (ln 3, 0, 0) is (3/5, 1/5, 1/5): label 0 costs ln(5/3), label 1 ln 5; the mean is ln(25/3) / 2."""
    logits = torch.tensor([[3.0, 1.0, 1.0], [3.0, 1.0, 1.0]]).log()
    assert labelled_loss(logits, torch.tensor([0, 1])).item() == pytest.approx(math.log(25 / 3) / 2, rel=1e-6)


def test_no_gradient_through_the_pseudo_labels():
    weak, strong = WEAK.clone().requires_grad_(), STRONG.clone().requires_grad_()
    targets, _ = pseudo_targets(fixmatch, weak, torch.arange(3), {}, TrainConfig())
    unlabelled_loss(strong, targets).backward()
    assert weak.grad is None and not targets.weights.requires_grad
    assert strong.grad is not None and strong.grad[1].abs().sum() == 0 and strong.grad[0].abs().sum() > 0


def test_class_names_are_arbitrary():
    """Renaming the classes renames the pseudo-labels and leaves the loss as it is."""
    order = torch.tensor([2, 0, 1])  # new class j is old class order[j]
    targets, _ = fixmatch(WEAK.softmax(1), torch.arange(3), {}, TrainConfig())
    renamed, _ = fixmatch(WEAK[:, order].softmax(1), torch.arange(3), {}, TrainConfig())
    assert torch.equal(order[renamed.labels], targets.labels)
    torch.testing.assert_close(unlabelled_loss(STRONG[:, order], renamed), unlabelled_loss(STRONG, targets))


def test_nothing_used_costs_nothing():
    targets = Targets(torch.zeros(3, dtype=torch.int64), torch.zeros(3))
    assert unlabelled_loss(STRONG, targets).item() == 0.0
