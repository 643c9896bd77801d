"""What is learned from an unlabelled image: one update rule per algorithm, and the two losses.

A rule looks at the probabilities of the weak views and says which label each strong view is trained towards, and with
which weight. What it remembers between steps is a dict of tensors, which the checkpoint stores.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from hume_ssl.train_config import TrainConfig

State = dict[str, Tensor]


class Targets(NamedTuple):
    """Pseudo-labels of u unlabelled images: `labels` int64 (u,), `weights` float32 (u,), 0 = not learned from."""

    labels: Tensor
    weights: Tensor


Rule = Callable[[Tensor, Tensor, State, TrainConfig], tuple[Targets, State]]


def fixmatch(probabilities: Tensor, items: Tensor, state: State, config: TrainConfig) -> tuple[Targets, State]:
    """The most probable class, where its probability is at least the threshold (arXiv:2001.07685, equation 4).

    Args:
        probabilities: (u, k) of the weak views, without gradient.
        items: (u,) int64, which items these are; not used here.
        state: nothing is remembered.
        config: `threshold` is read.
    """
    confidence, labels = probabilities.max(1)
    return Targets(labels, (confidence >= config.threshold).float()), state


RULES: dict[str, Rule] = {"fixmatch": fixmatch}


def first_state(algorithm: str, classes: int, n: int) -> State:
    """What a rule remembers before the first step, for `classes` classes and `n` items."""
    return {}


def labelled_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the weak views (b, k) of the labelled images (equation 3)."""
    return nnf.cross_entropy(logits, labels)


def unlabelled_loss(strong_logits: Tensor, targets: Targets) -> Tensor:
    """Weighted cross-entropy of the strong views (u, k), over all u images and not only those used (equation 4).

    So the unlabelled part grows by itself as more images pass the threshold.
    """
    losses = nnf.cross_entropy(strong_logits, targets.labels, reduction="none")
    return (targets.weights * losses).mean()


def pseudo_targets(
    rule: Rule, weak_logits: Tensor, items: Tensor, state: State, config: TrainConfig
) -> tuple[Targets, State]:
    """Apply a rule to the logits (u, k) of the weak views; no gradient flows into the targets."""
    with torch.no_grad():
        return rule(weak_logits.softmax(1), items, state, config)
