"""Everything a training consists of between two steps, and its way into and out of a checkpoint."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hume_ssl.errors import InputError
from hume_ssl.train.algorithms import State, Targets, first_state
from hume_ssl.train.checkpoint import check_like, rows_of
from hume_ssl.train.head import build_head
from hume_ssl.train.label_noise import contradicted, first_contradictions, kept_weights
from hume_ssl.train.models import build_classifier
from hume_ssl.train.optimise import averaged, make_optimiser, optimiser_tensors, restore_optimiser
from hume_ssl.train_config import TrainConfig

Row = dict[str, float | None]
COLUMNS = (
    "step",
    "loss",
    "labelled_loss",
    "unlabelled_loss",
    "mask_rate",
    "pseudo_agreement",
    "pseudo_balance",
    "consensus_agreement",
    "lr",
)
KEPT = 20  # evaluations of which the predictions are kept
SUMS = ("steps", "loss", "labelled_loss", "unlabelled_loss", "mask_rate", "agreeing", "comparable")


class Training:
    """The model, its average, the optimiser, what the update rule remembers, the last evaluations and the history.

    Args:
        config: resolved settings.
        shape: of one item: (c, h, w), or (d,) for a head.
        classes: k.
        statistics: mean and standard deviation (c,) of the train pixels, or (d,) of the train vectors.
        n: items in all.
        pool: items that unlabelled images are drawn from.
        evaluated: items that each evaluation looks at.
        alignment: what distribution alignment remembers before the first step; empty: there is none.
        label_weights: float32 (m,), how much each labelled item counts at first.
        device: where the model lives.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        shape: tuple[int, ...],
        classes: int,
        statistics: tuple[Tensor, Tensor],
        n: int,
        pool: int,
        evaluated: int,
        alignment: State,
        label_weights: Tensor,
        device: torch.device,
    ) -> None:
        weights = int(np.random.SeedSequence([config.seed, 0]).generate_state(1)[0])  # another stream than the steps'
        model: nn.Module
        if len(shape) == 1:
            model = build_head(statistics, classes, weights)
        else:
            model = build_classifier(
                config.network,
                channels=shape[0],
                classes=classes,
                size=(shape[1], shape[2]),
                steps=int(config.steps),
                seed=weights,
                statistics=statistics,
            )
        self.device = device
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.ema = averaged(self.model, float(config.ema))
        decay, layer_decay = float(config.weight_decay), float(config.layer_decay)
        self.optimiser = make_optimiser(self.model, float(config.lr), decay, config.optimiser, layer_decay)
        remembered = first_state(config.algorithm, classes, n, pool)
        self.rule_state = {name: t.to(device) for name, t in remembered.items()}
        self.alignment = {name: t.to(device) for name, t in alignment.items()}
        self.label_weights = label_weights
        self.doubts = first_contradictions(len(label_weights))
        self.sums = torch.zeros(len(SUMS), dtype=torch.float64, device=device)  # since the last row of history
        self.shares = torch.zeros(classes, dtype=torch.float64, device=device)  # pseudo-labels used, since then
        self.evaluations = torch.zeros(0, evaluated, dtype=torch.int32)  # predicted classes, the last KEPT
        self.history: list[Row] = []
        self.step = 0  # steps done

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All of it as tensors and as what JSON can hold, for a checkpoint."""
        tensors = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"ema/{name}": t for name, t in self.ema.state_dict().items()}
        tensors |= {f"optimiser/{name}": t for name, t in optimiser_tensors(self.optimiser).items()}
        tensors |= {f"rule/{name}": t for name, t in self.rule_state.items()}
        tensors |= {f"alignment/{name}": t for name, t in self.alignment.items()}
        tensors |= {f"doubts/{name}": t for name, t in self.doubts.items()} | {"label_weights": self.label_weights}
        tensors |= {"sums": self.sums, "shares": self.shares, "evaluations": self.evaluations}
        return tensors, {"step": self.step, "history": self.history}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave. Raises ValueError, KeyError or RuntimeError for that of another."""
        for prefix, present in (
            ("rule/", self.rule_state),
            ("alignment/", self.alignment),
            ("doubts/", self.doubts),
            ("label_weights", {"": self.label_weights}),
            ("sums", {"": self.sums}),
            ("shares", {"": self.shares}),
            (
                "evaluations",
                {"": self.evaluations.new_zeros(min(len(tensors["evaluations"]), KEPT), self.evaluations.shape[1])},
            ),
        ):
            check_like(part(tensors, prefix), present)
        self.model.load_state_dict(part(tensors, "model/"))
        self.ema.load_state_dict(part(tensors, "ema/"))
        restore_optimiser(self.optimiser, part(tensors, "optimiser/"))
        self.rule_state = {name: t.to(self.device) for name, t in part(tensors, "rule/").items()}
        self.alignment = {name: t.to(self.device) for name, t in part(tensors, "alignment/").items()}
        self.doubts, self.label_weights = part(tensors, "doubts/"), tensors["label_weights"]
        self.sums.copy_(tensors["sums"])
        self.shares.copy_(tensors["shares"])
        self.evaluations = tensors["evaluations"]
        self.step = facts["step"]
        self.history = rows_of(facts["history"], COLUMNS)
        if any(len(row) != len(COLUMNS) for row in self.history):
            raise ValueError("its history lacks columns")

    def count(self, figures: Sequence[Tensor], targets: Targets) -> None:
        """Add one step's figures, in the order of SUMS; they stay on the device, so a GPU is not made to wait."""
        self.sums += torch.stack([figure.detach().double() for figure in figures])
        self.shares.index_add_(0, targets.labels, targets.weights.double())

    def doubt(self, probabilities: Tensor, labels: Tensor, share: float) -> None:
        """Drop labels that the averaged model contradicts for long; arguments as in :func:`contradicted`."""
        self.doubts = contradicted(self.doubts, probabilities, labels, share)
        self.label_weights = kept_weights(self.doubts, labels)

    def told(self) -> dict[str, str]:
        """What the last row says about the pseudo-labels, for the progress line."""
        row = self.history[-1] if self.history else {}
        names = {"pseudo_agreement": "agreeing", "pseudo_balance": "balance"}
        return {word: f"{row[name]:.0%}" for name, word in names.items() if row.get(name) is not None}

    def end_row(self, lr: float, predicted: Tensor, expected: Tensor) -> Row:
        """The means since the last row, and an evaluation, as a new row of history.

        Args:
            lr: of the last step.
            predicted: (m,) classes that the averaged model gives the evaluated items.
            expected: (m,) their consensus classes, -1 = unknown.

        Raises:
            InputError: the loss is not a number.
        """
        sums = dict(zip(SUMS, self.sums.tolist(), strict=True))
        if not math.isfinite(sums["loss"]):
            raise InputError(f"the loss is not a number by step {self.step}: give a smaller train.lr than {lr:g}")
        self.evaluations = torch.cat([self.evaluations, predicted.int()[None]])[-KEPT:]
        known = expected >= 0
        steps = sums["steps"]
        figures = {name: sums[name] / steps for name in SUMS[1:5]} | {"step": self.step, "lr": lr}
        figures |= {
            "pseudo_agreement": sums["agreeing"] / sums["comparable"] if sums["comparable"] else None,
            "pseudo_balance": balance(self.shares.tolist()),
            "consensus_agreement": (predicted == expected)[known].double().mean().item() if known.any() else None,
        }
        row: Row = {name: figures[name] for name in COLUMNS}
        self.sums.zero_()
        self.shares.zero_()
        self.history.append(row)
        return row


def balance(sizes: Sequence[float]) -> float | None:
    """How even class sizes are: their entropy over that of equal ones, from 0 (one class) to 1; None of nothing."""
    total = sum(sizes)
    if total == 0:
        return None
    shares = [size / total for size in sizes if size > 0]
    return sum(share * -math.log(share) for share in shares) / math.log(len(sizes))


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
