"""What a training gives."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from hume_ssl.train.state import Row
from hume_ssl.train_config import TrainConfig


@dataclass(frozen=True)
class TrainResult:
    """What a training gives, for `n` items and `k` classes; all of it from the averaged (EMA) model at the last step.

    Attributes:
        state_dict: of a :class:`~hume_ssl.train.models.Classifier`: contiguous CPU tensors, normalisation included.
        predictions: int64 (n,), the most probable class of every item, train or not, without augmentation.
        confidence: float32 (n,), its probability, in [1/k, 1].
        history: one row every `eval_every` steps. Means over those steps: step, loss, labelled_loss, unlabelled_loss,
            mask_rate (mean weight of the unlabelled images, of whom 0 is not learned from), pseudo_agreement (share of
            those learned from whose pseudo-label is the consensus class), pseudo_balance (how even their classes are,
            0 to 1); and consensus_agreement, the share of the evaluated items that get their consensus class. None
            where there is nothing to compare.
        evaluated: int64 (m,), the items that each evaluation looks at: test items, or train items where there are none.
        evaluations: int64 (e, m), the averaged model's classes of them in the last e = 20 evaluations, oldest first.
        steps: optimiser steps in all, those before a resume included.
        seconds: of this call.
        config: the resolved settings.
        network: what the network is rebuilt from, see :mod:`hume_ssl.train.trained`.
    """

    state_dict: dict[str, Tensor]
    predictions: np.ndarray
    confidence: np.ndarray
    history: list[Row]
    evaluated: np.ndarray
    evaluations: np.ndarray
    steps: int
    seconds: float
    config: TrainConfig
    network: dict[str, Any]
