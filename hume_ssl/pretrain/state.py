"""Everything a self-supervised training consists of between two steps, and its way into and out of a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hume_ssl.errors import InputError
from hume_ssl.pretrain.network import build_contrasted
from hume_ssl.pretrain_config import PretrainConfig
from hume_ssl.train.checkpoint import check_like, rows_of
from hume_ssl.train.optimise import make_optimiser, optimiser_tensors, restore_optimiser
from hume_ssl.train.state import part

Row = dict[str, float]
COLUMNS = ("step", "loss", "found_again", "alignment", "spread", "effective_rank", "lr")


class Pretraining:
    """Encoder and projector, the optimiser and the history.

    Args:
        config: resolved settings.
        shape: (c, h, w) of the images.
        statistics: mean and standard deviation (c,) of the train pixels, in [0, 1].
        device: where the model lives.
    """

    def __init__(
        self,
        config: PretrainConfig,
        *,
        shape: tuple[int, ...],
        statistics: tuple[Tensor, Tensor],
        device: torch.device,
    ) -> None:
        weights = int(np.random.SeedSequence([config.seed, 0]).generate_state(1)[0])  # another stream than the steps'
        model = build_contrasted(
            config.network,
            channels=shape[0],
            size=(shape[1], shape[2]),
            projection=config.projection,
            seed=weights,
            statistics=statistics,
        )
        self.model = model.to(device).to(memory_format=torch.channels_last)
        assert config.lr is not None  # resolved
        self.optimiser = make_optimiser(self.model, config.lr, config.weight_decay, "adamw")
        self.loss = torch.zeros((), dtype=torch.float64, device=device)  # summed since the last row of history
        self.since = 0  # steps since then
        self.history: list[Row] = []
        self.step = 0  # steps done

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All of it as tensors and as what JSON can hold, for a checkpoint."""
        tensors = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"optimiser/{name}": t for name, t in optimiser_tensors(self.optimiser).items()}
        return tensors | {"loss": self.loss}, {"step": self.step, "since": self.since, "history": self.history}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave. Raises ValueError, KeyError or RuntimeError for that of another."""
        check_like({"loss": tensors["loss"]}, {"loss": self.loss})
        if type(facts["since"]) is not int or not 0 <= facts["since"] <= facts["step"]:
            raise ValueError(f"it says {facts['since']!r} steps since its last row")
        self.model.load_state_dict(part(tensors, "model/"))
        restore_optimiser(self.optimiser, part(tensors, "optimiser/"))
        self.loss.copy_(tensors["loss"])
        self.step, self.since = facts["step"], facts["since"]
        self.history = rows_of(facts["history"], COLUMNS)

    def count(self, loss: Tensor) -> None:
        """Add one step's loss; it stays on the device, so a GPU is not made to wait."""
        self.loss += loss.detach().double()
        self.since += 1

    def told(self) -> dict[str, str]:
        """What the last row says, for the progress line; the other processes of several look at nothing."""
        row = self.history[-1] if self.history else {}
        if "found_again" not in row:
            return {}
        return {"again": f"{row['found_again']:.0%}", "spread": f"{row['spread']:.2f}"}

    def check(self, lr: float) -> None:
        """Raise InputError if the loss is no longer a number."""
        if not math.isfinite(float(self.loss)):
            raise InputError(f"the loss is not a number by step {self.step}: give a smaller pretrain.lr than {lr:g}")

    def end_row(self, lr: float, seen: Mapping[str, float]) -> Row:
        """The mean loss since the last row, and what a look at some items gave, as a new row of history."""
        figures = {**seen, "step": self.step, "loss": float(self.loss) / self.since, "lr": lr}
        row = {name: figures[name] for name in COLUMNS if name in figures}
        self.loss.zero_()
        self.since = 0
        self.history.append(row)
        return row
