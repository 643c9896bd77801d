"""TURTLE's mathematics: labels on which linear classifiers in every space agree (Gadetsky, Jiang, Brbic, ICML 2024).

A labelling is the mean over spaces of weight-normed softmax classifiers. Inside, one plain linear classifier a space
learns it by a few steps of Adam; outside, the labelling moves to where these learn it better, while the classes stay of
even size. First order: no derivative goes through the inner steps. No space is the labeller, and no items are held out.

Pure functions over r searches side by side, one product a space. The rows of a space are (b, d + 1), the last column
ones, so that a bias is one more weight; weights are (d + 1, k, r), labels (b, k, r). All derivatives are explicit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from hume_ssl.search import steady
from hume_ssl.search.inner import cross_entropy
from hume_ssl.search.steady import log_softmax, mean_over_rows, product, softmax, sum_over


class Encoder(NamedTuple):
    """The task encoder in one space, as Adam moves it: weight i of a class is length * direction_i / |direction|."""

    direction: Tensor  # v (d, k, r)
    length: Tensor  # g (k, r)
    bias: Tensor  # b (k, r)


@dataclass
class Moments:
    """Adam's running means of the gradients and of their squares, and its steps so far."""

    means: list[Tensor]
    squares: list[Tensor]
    steps: int = field(default=0)

    @classmethod
    def zero(cls, values: Sequence[Tensor]) -> Moments:
        """Before the first step."""
        return cls([torch.zeros_like(v) for v in values], [torch.zeros_like(v) for v in values])


def adam(values: Sequence[Tensor], gradients: Sequence[Tensor], moments: Moments, lr: float) -> None:
    """One step of Adam on `values`, in place, in torch's order of operations."""
    moments.steps += 1
    for value, gradient, mean, square in zip(values, gradients, moments.means, moments.squares, strict=True):
        steady.adam(value, gradient, mean, square, lr, moments.steps)


def encoder_of(start: Tensor) -> Encoder:
    """The encoder whose weights are `start`, (d + 1, k, r): lengths as they are, as torch's weight_norm begins."""
    direction = start[:-1].clone()
    return Encoder(direction, _norm(direction), start[-1].clone())


def weights_of(encoder: Encoder) -> Tensor:
    """(d + 1, k, r) weights and bias of an encoder (eq. 9: theta, weight-normed over each class's row)."""
    scale = encoder.length / _norm(encoder.direction)
    return torch.cat([encoder.direction * scale, encoder.bias[None]])


def pull_back(encoder: Encoder, gradient: Tensor) -> Encoder:
    """dL/d(direction, length, bias) from dL/dweights, (d + 1, k, r)."""
    by_weight = gradient[:-1]
    norm = _norm(encoder.direction)
    by_length = sum_over(by_weight * encoder.direction, 0)[0] / norm
    scale = encoder.length / norm
    return Encoder(scale * (by_weight - encoder.direction * (by_length / norm)), by_length, gradient[-1])


def scores(rows: Tensor, weights: Tensor) -> Tensor:
    """(b, k, r) logits: one product for all searches."""
    d, k, r = weights.shape
    return product(rows, weights.reshape(d, k * r)).view(len(rows), k, r)


def task_labels(rows: Sequence[Tensor], encoders: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The labelling tau (b, k, r), rows on the simplex, and each space's share in it (eq. 9).

    Args:
        rows: (b, d + 1) of each space.
        encoders: (d + 1, k, r) of each space, from `weights_of`.
    """
    shares = [softmax(scores(x, w)) for x, w in zip(rows, encoders, strict=True)]
    mean = shares[0].clone()
    for share in shares[1:]:
        mean += share
    return mean / len(shares), shares


def teach(
    rows: Sequence[Tensor], labels: Tensor, learners: Sequence[Tensor], moments: Moments, steps: int, lr: float
) -> None:
    """Teach each space's linear classifier the labels by `steps` steps of Adam on the mean cross-entropy, in place.

    Args:
        labels: tau (b, k, r), taken as given.
        learners: (d + 1, k, r) of each space.
        moments: of the learners; zero for a cold start.
    """
    for _ in range(steps):
        gradients = []
        for x, theta in zip(rows, learners, strict=True):
            error = softmax(scores(x, theta)).sub_(labels)
            gradients.append(product(x.T, error.view(len(x), -1)).div_(len(x)).view(theta.shape))
        adam(learners, gradients, moments, lr)


def learners_error(rows: Sequence[Tensor], learners: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
    """(r,) cross-entropy of the learners against the labels, summed over spaces, in nats; and minus the sum of their
    log-probabilities, (b, k, r), which over b is its derivative by the labels."""
    surprise = torch.zeros_like(labels)
    for x, theta in zip(rows, learners, strict=True):
        surprise -= log_softmax(scores(x, theta))
    return cross_entropy(labels, -surprise), surprise


def outer_gradient(
    rows: Sequence[Tensor], labels: Tensor, shares: Sequence[Tensor], learners: Sequence[Tensor], entropy_weight: float
) -> tuple[list[Tensor], Tensor]:
    """Derivative of the outer objective by each space's encoder weights, (d + 1, k, r), learners fixed (eq. 12, 13).

    L = sum_s CE(learner_s, tau) - entropy_weight * sum_s H(mean row of share_s). `labels` and `shares` are from
    `task_labels`. Also returns the first sum, (r,): 0 = every space predicts the labels with certainty.
    """
    b, spaces = len(labels), len(rows)
    loss, surprise = learners_error(rows, learners, labels)
    by_label = surprise / (b * spaces)  # tau is the mean of the shares
    gradients = []
    for x, share in zip(rows, shares, strict=True):
        mean = mean_over_rows(share).clamp_min(torch.finfo(share.dtype).tiny)  # a class that underflowed: no log 0
        by_share = by_label + (entropy_weight / b) * (mean.log() + 1)
        by_score = share * (by_share - sum_over(share * by_share, 1))
        gradients.append(product(x.T, by_score.view(b, -1)).view(x.shape[1], *share.shape[1:]))
    return gradients, loss


def _norm(direction: Tensor) -> Tensor:
    """(k, r) Euclidean norms of (d, k, r) along the first dimension."""
    return sum_over(direction.square(), 0)[0].sqrt()
