"""Sparsemax and its derivative for many searches side by side.

Labels of a batch of searches are one array (n, k, r): item, class, search. The searches come last, so that the
reductions over classes run over contiguous memory, and `(n, k * r)` is a view that goes into one matrix product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hume_ssl.search.steady import sum_over


def sparsemax(scores: Tensor) -> Tensor:
    """Euclidean projection of each row of scores onto the simplex (Martins and Astudillo, 2016, eq. 1).

    The threshold tau with sum(max(scores - tau, 0)) = 1 is found by dropping the classes below the mean surplus until
    none is left to drop (Michelot, 1986): at most k rounds, mostly three, and no sorting.

    Args:
        scores: (n, k, r), any finite values.

    Returns:
        (n, k, r): every row over k is at least 0 and sums to 1. One class at 1 = a hard label.
    """
    # Less each row's largest, which changes nothing: beside scores far above 1 the 1 would be rounded away. The
    # threshold then lies between -1 and 0, which drops most classes before the first round where labels are hard.
    scores = scores - scores.amax(1, keepdim=True)
    tau = ((sum_over(scores, 1) - 1) / scores.shape[1]).clamp_min_(-1)
    settled = 4 * torch.finfo(scores.dtype).eps
    for _ in range(scores.shape[1]):
        surplus = (scores - tau).clamp_min_(0)
        step = (sum_over(surplus, 1) - 1) / (surplus > 0).sum(1, keepdim=True)
        going = step > settled
        if not bool(going.any()):
            break
        tau = torch.where(going, tau + step, tau)  # a row that has settled stays, whatever the others need
    return (scores - tau).clamp_min_(0)


def sparsemax_backward(labels: Tensor, gradient: Tensor) -> Tensor:
    """Derivative with respect to the scores, from the one with respect to the labels, both (n, k, r).

    On the support of a row, its gradient less the mean of its gradient there; zero elsewhere (eq. 14 of the paper).
    A constant added to a row of `gradient` changes nothing.
    """
    support = labels > 0
    masked = torch.where(support, gradient, 0)
    mean = sum_over(masked, 1) / support.sum(1, keepdim=True)
    return torch.where(support, masked - mean, 0)
