"""Labels that may be wrong: how much each labelled item counts.

`agreement` weighs the labels before training, by what the searches and the neighbours said of them. `contradicted`
drops labels during training, by what the averaged model says of the items as they are, without augmentation.

A network memorises its labels, so what it says of a labelled item late in training is mostly the label itself. It
learns what many items share first, though, and for a while contradicts the labels that do not fit ("early learning",
arXiv:2007.00151; the margin over all of training as a test of labels: arXiv:2001.10528). On the digits with 25 labels
a class, a tenth of them wrong, the averaged model contradicted 24 of 25 wrong labels and no right one at 15 % of the
steps, 10 of the wrong ones at half of them and none at the end. Hence a short warm-up and a short memory: a label that
is dropped in time is not memorised, so the model goes on contradicting it if it is wrong; if it is right, the model
comes to agree and it comes back. In that setting (one seed, 1,000 steps) 20 to 22 wrong labels and at most one right
one were out from a fifth of the run to its end. At 4 labels a class none was ever dropped: no right one, where all
were right, but no wrong one either, where 4 of 40 were wrong. Pseudo-labels of the item's weak views would be no
better witness: they come from the same network, without the average (which memorises later), and only when the item
happens to be drawn.
"""

import math

import numpy as np
import torch
from torch import Tensor

from hume_ssl.errors import InputError
from hume_ssl.train.algorithms import State

LEVEL = 0.8  # probability of another class from which on it contradicts
MEMORY = 0.05  # of the run: how far back contradictions count
WARM_UP = 0.1  # of the run: no label is dropped before
LONG = 0.5  # share of the time remembered, from which on a contradicted label is dropped
KEPT = 0.5  # share of each class's labels that is never dropped, rounded up


def first_weights(
    remedy: str, labels: np.ndarray, label_agreement: tuple[np.ndarray, np.ndarray] | None = None
) -> Tensor:
    """Weights (m,) float32 of the labelled items before the first step, by the setting `label_noise`.

    Raises:
        InputError: weights by agreement, without agreements.
    """
    if remedy != "agreement":
        return torch.ones(len(labels))
    if label_agreement is None:
        raise InputError('label_noise = "agreement" weighs by agreement: give label_agreement')
    return torch.from_numpy(agreement_weights(*label_agreement, labels)).float()


def agreement_weights(agreement: np.ndarray, neighbour_agreement: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights (m,) of labelled items, in proportion to agreement times neighbour agreement, of mean 1 in each class.

    The product: searches and neighbours are two witnesses, and one that is against is enough to doubt a label. Mean 1
    in each class and so in all: a class that is hard to tell from others has low agreement throughout, and must not be
    learned less for it. Where all items of a class have 0, they weigh 1.

    Args:
        agreement: (m,) in [0, 1], share of searches that vote for the label.
        neighbour_agreement: (m,) in [0, 1], share of the nearest items with this label.
        labels: int (m,).
    """
    product = np.asarray(agreement, np.float64) * np.asarray(neighbour_agreement, np.float64)
    _, group = np.unique(labels, return_inverse=True)
    means = np.bincount(group, product) / np.bincount(group)
    return np.where(means[group] > 0, product / np.where(means > 0, means, 1)[group], 1.0)


def first_contradictions(m: int) -> State:
    """What is remembered of m labelled items before training: `score` (m,) and `share` (), the share of steps done."""
    return {"score": torch.zeros(m), "share": torch.zeros(())}


def contradicted(state: State, probabilities: Tensor, labels: Tensor, share: float) -> State:
    """The state after another evaluation; the one given is not changed.

    The score is an exponential average, over the run, of "some other class has a probability of at least LEVEL": 0 =
    never of late, 1 = for long. Its decay follows the share of the run since the evaluation before, so that more or
    fewer evaluations a run mean the same.

    Args:
        state: from :func:`first_contradictions` or from the evaluation before.
        probabilities: (m, k) of the averaged model, for the labelled items as they are.
        labels: int64 (m,).
        share: of the steps done, 0 to 1.
    """
    others = probabilities.float().scatter(1, labels[:, None], 0.0)
    against = (others.amax(1) >= LEVEL).float()
    decay = math.exp(-(share - state["share"].item()) / MEMORY)
    return {"score": decay * state["score"] + (1 - decay) * against, "share": torch.tensor(share)}


def kept_weights(state: State, labels: Tensor) -> Tensor:
    """Weights (m,): 0 where a label has been contradicted for LONG, else 1; all 1 during the warm-up.

    At least the share KEPT of each class, and at least one item, keeps its label: the most contradicted go first, of
    equals the later ones. So no class is lost where the model has taken two for one.
    """
    score = state["score"]
    if state["share"].item() < WARM_UP:
        return torch.ones_like(score)
    order = torch.argsort(score, stable=True)  # least contradicted first
    order = order[torch.argsort(labels[order], stable=True)]  # and class by class
    sizes = torch.bincount(labels)
    starts = sizes.cumsum(0) - sizes
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - starts[labels[order]]
    safe = rank < torch.ceil(KEPT * sizes)[labels]
    return ((score < LONG) | safe).float()
