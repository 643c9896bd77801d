"""What is learned from an unlabelled image: one update rule per algorithm.

A rule looks at the probabilities of the weak views of one batch (the whole of it, under torchrun too) and says which
label each strong view is trained towards, and with which weight. What it remembers between steps is a dict of tensors,
which the checkpoint stores. Where a paper and the code behind its published figures differ (USB,
github.com/microsoft/Semi-supervised-learning), the rule follows the code and its docstring says so. The losses are in
`losses`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hume_ssl.train.devices import send
from hume_ssl.train_config import TrainConfig

State = dict[str, Tensor]
ALIGN = 1e-6  # added to both distributions before one is divided by the other, as in USB


class Targets(NamedTuple):
    """Pseudo-labels of u unlabelled images: `labels` int64 (u,), `weights` float32 (u,) in [0, 1], 0 = not used."""

    labels: Tensor
    weights: Tensor


Rule = Callable[[Tensor, Tensor, State, TrainConfig], tuple[Targets, State]]


def fixmatch(probabilities: Tensor, items: Tensor, state: State, config: TrainConfig) -> tuple[Targets, State]:
    """The most probable class, where its probability is at least the threshold (arXiv:2001.07685, equation 4).

    Args, of every rule here:
        probabilities: (u, k) of the weak views, without gradient; halves are widened to float32.
        items: int64 (u,), which items these are.
        state: what the rule remembers, from :func:`first_state` or from the step before; it is not changed, but for
            the table of :func:`flexmatch`.
        config: `threshold` is read.

    Returns:
        What to learn from the u strong views, and the state for the next step.
    """
    confidence, labels = widened(probabilities).max(1)
    return Targets(labels, (confidence >= float(config.threshold)).float()), state


def supervised(probabilities: Tensor, items: Tensor, state: State, config: TrainConfig) -> tuple[Targets, State]:
    """Nothing is learned from unlabelled images: all weights are 0. See :func:`uses_unlabelled`."""
    labels = probabilities.argmax(1)
    return Targets(labels, torch.zeros_like(labels, dtype=torch.float32)), state


def flexmatch(probabilities: Tensor, items: Tensor, state: State, config: TrainConfig) -> tuple[Targets, State]:
    """FixMatch with a lower threshold for classes that are learned late (FlexMatch, arXiv:2110.08263, section 3).

    Each item keeps the last label it got with a confidence of at least tau (`config.threshold`). With sigma(c) items
    labelled c and sigma(none) items of the pool not labelled yet, beta(c) = sigma(c) / max over all of these, "none"
    included (the warm-up), and class c is learned from at a confidence of at least tau * beta(c) / (2 - beta(c)).
    At the first step that is 0, so every image is learned from. Thresholds come from the table as it was before this
    batch, as in USB; the paper counts confidences above tau, USB those of tau too. An item that is in the batch more
    than once keeps its last label. Unlike USB, also counted when all items have one and the same class.

    State: `labels` int32 (n + 1,), the item's label or k for none; `counts` int64 (k + 1,), items of the pool by that
    label. The table is updated IN PLACE (a copy of 1.28 million rows a step would cost more than the rest): safe
    because each step reads it once, before it writes, and checkpoints are made between steps. `counts` is new.
    """
    confidence, labels = widened(probabilities).max(1)
    table, counts = state["labels"], state["counts"]
    none, spare = len(counts) - 1, len(table) - 1  # the label "none yet"; a row of the table that is no item
    learned = counts[:none] / counts.max()  # beta (k,)
    thresholds = float(config.threshold) * learned / (2 - learned)
    targets = Targets(labels, (confidence >= thresholds[labels]).float())

    # rows to write (u,): what is not confident, and all but the last of an item's entries, goes to the spare row.
    # No shape here depends on the values, so a GPU is not waited for, and no row gets two different values.
    rows = torch.where(confidence >= float(config.threshold), send(items, table.device), spare)
    rows, order = rows.sort(stable=True)
    last = torch.cat([rows[1:] != rows[:-1], rows.new_ones(1, dtype=torch.bool)])
    rows = torch.where(last, rows, spare)
    found = torch.where(rows < spare, labels[order], none)
    one = torch.ones_like(found)
    counts = counts.index_add(0, table[rows].long(), -one).index_add(0, found, one)
    table[rows] = found.to(table.dtype)
    return targets, {"labels": table, "counts": counts}


def freematch(probabilities: Tensor, items: Tensor, state: State, config: TrainConfig) -> tuple[Targets, State]:
    """Thresholds that follow the model's own confidence (FreeMatch, arXiv:2205.07246, section 4.1).

    tau = EMA of the mean confidence, p(c) = EMA of the mean probability of class c, both started at 1/k; class c is
    learned from at a confidence of at least tau * p(c) / max p. As in USB, this batch counts before its thresholds
    are taken. The fairness term (`losses.fairness`) needs the EMA of the shares of the most probable classes as well.
    USB's SVHN settings cap tau at 0.95, its others do not, and this does not.

    State: `confidence` (), `probabilities` (k,), `shares` (k,). `config.statistics_decay` is read.
    """
    p, decay = widened(probabilities), config.statistics_decay
    confidence, labels = p.max(1)
    tau = blend(state["confidence"], confidence.mean(), decay)
    mean = blend(state["probabilities"], p.mean(0), decay)
    found = torch.zeros_like(mean).index_add(0, labels, torch.ones_like(confidence, dtype=mean.dtype))
    shares = blend(state["shares"], found / len(labels), decay)
    thresholds = tau * mean / mean.max()
    weights = (confidence >= thresholds[labels]).float()
    return Targets(labels, weights), {"confidence": tau, "probabilities": mean, "shares": shares}


def softmatch(probabilities: Tensor, items: Tensor, state: State, config: TrainConfig) -> tuple[Targets, State]:
    """Every image counts, the less the further its confidence is below the mean (SoftMatch, arXiv:2301.10921, 3).

    Uniform alignment: p' = normalise(p * uniform / p_model), p_model = EMA of the mean of p, and at the first batch
    that mean itself. With mu and var the EMA of the mean and the unbiased variance of max p', started at 1/k and 1,
    weight = exp(-min(max p' - mu, 0)^2 / (2 var / s^2)), s = `config.softness` (USB's n_sigma): 1 from the mean
    upwards. The pseudo-label is the most probable class of p, not of p'. As in USB, this batch counts before it is
    aligned and weighted.

    State: `probabilities` (k,), all 0 before the first batch; `confidence` (), `variance` (). Also read:
    `config.statistics_decay`.
    """
    p, decay = widened(probabilities), config.statistics_decay
    u, k = p.shape
    old = state["probabilities"]
    model = torch.where(old.sum() > 0, blend(old, p.mean(0), decay), p.mean(0))
    aligned = p * ((1 / k + ALIGN) / (model + ALIGN))
    confidence = (aligned / aligned.sum(1, keepdim=True)).amax(1)
    mean = blend(state["confidence"], confidence.mean(), decay)
    variance = blend(state["variance"], confidence.var(correction=min(1, u - 1)), decay)
    below = (confidence - mean).clamp(max=0)
    # all confidences equal for very long: the variance reaches 0, and the weight of a 0 below the mean is still 1
    spread = 2 * variance.clamp_min(torch.finfo(variance.dtype).tiny)
    weights = torch.exp(-((below * config.softness) ** 2 / spread)).float()
    return Targets(p.argmax(1), weights), {"probabilities": model, "confidence": mean, "variance": variance}


RULES: dict[str, Rule] = {
    "fixmatch": fixmatch,
    "flexmatch": flexmatch,
    "freematch": freematch,
    "softmatch": softmatch,
    "supervised": supervised,
}


def uses_unlabelled(algorithm: str) -> bool:
    """Whether unlabelled images are learned from; if not, their forward pass can be left out."""
    return algorithm != "supervised"


def first_state(algorithm: str, classes: int, n: int, pool: int) -> State:
    """What a rule remembers before the first step, on the CPU.

    Args:
        algorithm: a key of `RULES`.
        classes: k.
        n: items in all, test items too: item indices are below n.
        pool: how many different items the unlabelled stream draws from.
    """
    uniform = torch.full((classes,), 1 / classes)
    if algorithm == "flexmatch":
        counts = torch.zeros(classes + 1, dtype=torch.int64)
        counts[classes] = pool
        return {"labels": torch.full((n + 1,), classes, dtype=torch.int32), "counts": counts}
    if algorithm == "freematch":
        return {"confidence": torch.tensor(1 / classes), "probabilities": uniform, "shares": uniform.clone()}
    if algorithm == "softmatch":
        return {
            "probabilities": torch.zeros(classes),
            "confidence": torch.tensor(1 / classes),
            "variance": torch.tensor(1.0),
        }
    return {}


def pseudo_targets(
    rule: Rule, weak_logits: Tensor, items: Tensor, state: State, config: TrainConfig
) -> tuple[Targets, State]:
    """Apply a rule to the logits (u, k) of the weak views; no gradient flows into the targets."""
    with torch.no_grad():
        return rule(widened(weak_logits).softmax(1), items, state, config)


def widened(values: Tensor) -> Tensor:
    """Halves as float32, which tells 0.949 from 0.95; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def blend(old: Tensor, new: Tensor, decay: float) -> Tensor:
    """The exponential moving average one batch on: decay * old + (1 - decay) * new."""
    return decay * old + (1 - decay) * new
