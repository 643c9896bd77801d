"""What solving the inner problem gives the outer one: the error of a linear classifier taught a labelling in the judge
space, on held-out items, and how it changes with every label. Solvers: `descent`, `closed_form`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hume_ssl.search.steady import mean_over_rows, sum_over


class Inner(NamedTuple):
    """Held-out error of the classifier taught by a labelling, and its derivative with respect to the labels."""

    loss: Tensor  # (r,) mean held-out cross-entropy L in nats; 0 = the held-out labels were predicted with certainty
    train: Tensor  # (n_tr, k, r) dL/dY_tr
    test: Tensor  # (n_te, k, r) dL/dY_te


def cross_entropy(labels: Tensor, log_p: Tensor) -> Tensor:
    """(r,) mean over items of -sum_k labels * log_p, both (n, k, r); 0 = the labels were predicted with certainty."""
    return -mean_over_rows(sum_over(labels * log_p, 1))[0]


def entropy_gradient(mean: Tensor, weight: float, n: int) -> Tensor:
    """Derivative of -weight * entropy(mean label) by each of the n labels in the mean: (k, r) from the mean (k, r).

    weight (log mean + 1)/n, 0 where a class is empty: sparsemax keeps it empty there, and log 0 is kept out.
    """
    used = mean > 0
    return torch.where(used, torch.where(used, mean, 1).log() + 1, 0) * (weight / n)
