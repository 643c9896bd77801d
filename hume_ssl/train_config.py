"""The settings of FixMatch training (the table [train] of a recipe). No torch here: the command line imports this."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# What "auto" is for a network. Those of wrn-28-2 are published, less the number of steps (2**20). The small network is
# for two CPU cores: with a higher rate and more weight on the unlabelled loss it gets further in few steps.
AUTO: dict[str, dict[str, float]] = {
    "small-cnn": {"steps": 3000, "batch": 32, "mu": 7, "lr": 0.1, "lambda_u": 2.0},
    "wrn-28-2": {"steps": 65536, "batch": 64, "mu": 7, "lr": 0.03, "lambda_u": 1.0},
}
ON_CPU: dict[str, dict[str, float]] = {"wrn-28-2": {"steps": 200, "mu": 3}}  # a network for GPUs: this ends in minutes
SMALL = 16  # pixels: images up to this side get the small network
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
ROWS = 20  # rows of history, and checkpoints, in a run whose settings do not say otherwise


class TrainConfig(BaseModel):
    """Settings of FixMatch (arXiv:2001.07685, table 4, where `AUTO` does not say otherwise).

    `"auto"` is replaced by :meth:`resolve` once the images are known; what is stored and hashed is the resolved copy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Literal["fixmatch"] = "fixmatch"
    network: Literal["auto", "small-cnn", "wrn-28-2"] = "auto"
    steps: Count | Literal["auto"] = Field("auto", description="optimiser steps")
    batch: Count | Literal["auto"] = Field("auto", description="labelled images a step (B)")
    mu: Count | Literal["auto"] = Field("auto", description="unlabelled images a step, as a multiple of the batch")
    threshold: float = Field(0.95, ge=0, le=1, description="least probability of a pseudo-label that is learned from")
    lambda_u: Weight | Literal["auto"] = Field("auto", description="weight of the unlabelled loss")
    lr: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        "auto", description="learning rate at the start; falls as cos(7 pi t / 16 T)"
    )
    weight_decay: float = Field(5e-4, ge=0, description="on kernels only, not on biases and normalisation")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights; starts as (1 + t) / (10 + t)")
    size: int = Field(32, ge=8, description="pixels: larger images are brought down to this longer side")
    augment: Literal["fixmatch-paper"] = "fixmatch-paper"
    flip: bool | Literal["auto"] = Field("auto", description="mirror images; auto: colour images yes, grey ones no")
    exclude_labelled: bool = Field(False, description="take the labelled items out of the unlabelled pool")
    precision: Literal["auto", "float32", "bf16"] = Field("auto", description="auto: bf16 on a GPU, float32 elsewhere")
    seed: int = Field(0, ge=0)
    eval_every: Count | Literal["auto"] = Field("auto", description="steps a row of history; auto: a twentieth of all")
    checkpoint_every: Count | Literal["auto"] = Field(
        "auto", description="steps between checkpoints; auto: a twentieth"
    )

    def resolve(self, side: int, channels: int, device: str = "cuda") -> "TrainConfig":
        """A copy without `"auto"`, except for `precision`, which belongs to the device and not to the run.

        Args:
            side: the longer side of the images, in pixels.
            channels: 1 for grey, 3 for colour.
            device: "cpu" makes `"auto"` a schedule that ends the same day.
        """
        network = self.network if self.network != "auto" else ("small-cnn" if side <= SMALL else "wrn-28-2")
        auto = AUTO[network] | (ON_CPU.get(network, {}) if device == "cpu" else {})
        chosen: dict[str, object] = {"network": network}
        chosen |= {key: value for key, value in auto.items() if getattr(self, key) == "auto"}
        steps = int(auto["steps"] if self.steps == "auto" else self.steps)
        every = max(1, steps // ROWS)
        chosen |= {key: every for key in ("eval_every", "checkpoint_every") if getattr(self, key) == "auto"}
        chosen["flip"] = self.flip if self.flip != "auto" else channels >= 3
        return self.model_copy(update=chosen)
