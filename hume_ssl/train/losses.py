"""The parts of the training loss: of labelled images, of unlabelled ones, and FreeMatch's fairness term."""

import torch
from torch import Tensor
from torch.nn import functional as nnf

from hume_ssl.train.algorithms import State, Targets, widened
from hume_ssl.train_config import TrainConfig

UNSEEN = 1e-30  # a share below this counts as 0; its inverse is still a float32
INSIDE_LOG = 1e-12  # as in USB


def labelled_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of the weak views (b, k) of the labelled images (FixMatch, equation 3).

    Args:
        logits: (b, k).
        labels: int64 (b,).
        weights: (b,), how much each image counts; 1 by default. The sum is divided by b all the same, so that an image
            of weight 0 takes nothing from the others and gives them nothing.
    """
    if weights is None:
        return nnf.cross_entropy(logits, labels)
    return (weights * nnf.cross_entropy(logits, labels, reduction="none")).mean()


def unlabelled_loss(strong_logits: Tensor, targets: Targets) -> Tensor:
    """Weighted cross-entropy of the strong views (u, k), over all u images and not only those used (equation 4).

    So the unlabelled part grows by itself as more images pass the threshold. 0 of no images.
    """
    losses = nnf.cross_entropy(strong_logits, targets.labels, reduction="none")
    return (targets.weights * losses).sum() / max(len(losses), 1)


def extra_loss(algorithm: str, strong_logits: Tensor, targets: Targets, state: State, config: TrainConfig) -> Tensor:
    """What an algorithm adds to the loss, its weight included: FreeMatch its fairness term, the others 0.

    Args:
        algorithm: a key of `RULES`.
        strong_logits: (u, k) of the strong views; gradient flows into these alone.
        targets: from the rule, for the same images.
        state: as the rule has returned it at this step.
        config: `fairness` is the weight.
    """
    if algorithm != "freematch" or config.fairness == 0:
        return strong_logits.new_zeros(())
    return config.fairness * fairness(strong_logits, targets, state)


def fairness(strong_logits: Tensor, targets: Targets, state: State) -> Tensor:
    """FreeMatch's self-adaptive fairness (arXiv:2205.07246, section 4.2): sum over classes of a(c) log b(c).

    a = normalise(p / h) from the rule's averages of probabilities and shares; b = normalise(q / g), of the strong views
    that are learned from: q their mean probabilities, g the shares of their most probable classes. A class whose share
    is 0 gets 0, as in USB. It is the negative cross-entropy of a and b, so at most 0, and minus log k where both are
    uniform; paper and USB add it with this sign, so that a falling loss moves the predictions towards classes other
    than those that the averages favour. No gradient flows through h and g. 0 where nothing is learned from.
    """
    probabilities = widened(strong_logits).softmax(1)
    used = (targets.weights > 0).to(probabilities.dtype)
    count = used.sum()
    shares = torch.zeros_like(probabilities[0]).index_add(0, probabilities.argmax(1), used) / count.clamp_min(1)
    mean = (used[:, None] * probabilities).sum(0) / count.clamp_min(1)
    target = relative(state["probabilities"], state["shares"])
    return (count > 0) * (target * (relative(mean, shares) + INSIDE_LOG).log()).sum()


def relative(probabilities: Tensor, shares: Tensor) -> Tensor:
    """(k,) probabilities divided by shares, 0 where the share is 0, and brought to a sum of 1 (or all 0)."""
    seen = shares > UNSEEN
    ratio = torch.where(seen, probabilities / torch.where(seen, shares, 1), 0)
    total = ratio.sum()
    return ratio / torch.where(total > 0, total, 1)
