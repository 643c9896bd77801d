"""Everything a training consists of between two steps, and its way into and out of a checkpoint."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hume_ssl.errors import InputError
from hume_ssl.train.algorithms import first_state
from hume_ssl.train.batches import Shuffled
from hume_ssl.train.models import Classifier, build_network
from hume_ssl.train.optimise import averaged, make_optimiser, momentum_buffers
from hume_ssl.train_config import TrainConfig

Row = dict[str, float | None]
COLUMNS = ("step", "loss", "labelled_loss", "unlabelled_loss", "mask_rate", "pseudo_agreement", "lr")
SUMS = ("steps", "loss", "labelled_loss", "unlabelled_loss", "mask_rate", "agreeing", "comparable")


class Training:
    """The model, its average, the optimiser, the two streams of items, the generator of the views, and the history.

    Args:
        config: resolved settings.
        shape: (c, h, w) of the images.
        classes: k.
        statistics: mean and standard deviation (c,) of the train pixels.
        labelled: int64 (m,), labelled items.
        pool: int64 (u,), items to draw unlabelled images from.
        n: items in all.
        device: where the model lives.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        shape: tuple[int, int, int],
        classes: int,
        statistics: tuple[Tensor, Tensor],
        labelled: np.ndarray,
        pool: np.ndarray,
        n: int,
        device: torch.device,
    ) -> None:
        channels, side = shape[0], max(shape[1:])
        # independent streams from the one seed, so that a change in one leaves the others as they were
        weights, views, first, second = (int(s) for s in np.random.SeedSequence(config.seed).generate_state(4))
        network = build_network(
            config.network, channels=channels, classes=classes, side=side, steps=int(config.steps), seed=weights
        )
        self.device = device
        self.model = Classifier(network, *statistics).to(device).to(memory_format=torch.channels_last)
        self.ema = averaged(self.model, config.ema)
        self.optimiser = make_optimiser(self.model, float(config.lr), config.weight_decay)
        self.views = torch.Generator().manual_seed(views)
        self.labelled = Shuffled(torch.from_numpy(labelled), first)
        self.unlabelled = Shuffled(torch.from_numpy(pool), second)
        self.rule_state = {name: t.to(device) for name, t in first_state(config.algorithm, classes, n).items()}
        self.sums = torch.zeros(len(SUMS), dtype=torch.float64, device=device)  # since the last row of history
        self.history: list[Row] = []
        self.step = 0  # steps done

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All of it as tensors and as what JSON can hold, for a checkpoint."""
        tensors = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"ema/{name}": t for name, t in self.ema.state_dict().items()}
        tensors |= {f"momentum/{i}": t for i, t in enumerate(momentum_buffers(self.optimiser))}
        tensors |= {f"rule/{name}": t for name, t in self.rule_state.items()}
        for name, stream in (("labelled", self.labelled), ("unlabelled", self.unlabelled)):
            tensors |= {f"{name}/order": stream.order, f"{name}/generator": stream.generator.get_state()}
        tensors |= {"views": self.views.get_state(), "sums": self.sums}
        positions = {"labelled": self.labelled.position, "unlabelled": self.unlabelled.position}
        return tensors, {"step": self.step, "history": self.history, "positions": positions}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave."""
        self.model.load_state_dict(part(tensors, "model/"))
        self.ema.load_state_dict(part(tensors, "ema/"))
        for i, buffer in enumerate(momentum_buffers(self.optimiser)):
            buffer.copy_(tensors[f"momentum/{i}"])
        self.rule_state = {name: t.to(self.device) for name, t in part(tensors, "rule/").items()}
        for name, stream in (("labelled", self.labelled), ("unlabelled", self.unlabelled)):
            stream.order = tensors[f"{name}/order"]
            stream.position = facts["positions"][name]
            stream.generator.set_state(tensors[f"{name}/generator"])
        self.views.set_state(tensors["views"])
        self.sums.copy_(tensors["sums"])
        self.step = facts["step"]
        self.history = [{name: row[name] for name in COLUMNS} for row in facts["history"]]  # JSON came back sorted

    def count(self, *figures: Tensor) -> None:
        """Add one step's figures, in the order of SUMS; they stay on the device, so a GPU is not made to wait."""
        self.sums += torch.stack([figure.detach().double() for figure in figures])

    def end_row(self, lr: float) -> Row:
        """The means since the last row, as a new row of history. Raises InputError if the loss is not a number."""
        sums = dict(zip(SUMS, self.sums.tolist(), strict=True))
        if not math.isfinite(sums["loss"]):
            raise InputError(f"the loss is not a number by step {self.step}: give a smaller train.lr than {lr:g}")
        steps = sums["steps"]
        row: Row = {name: sums[name] / steps for name in SUMS[1:5]}
        row |= {"step": self.step, "lr": lr}
        row["pseudo_agreement"] = sums["agreeing"] / sums["comparable"] if sums["comparable"] else None
        row = {name: row[name] for name in COLUMNS}
        self.sums.zero_()
        self.history.append(row)
        return row


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
