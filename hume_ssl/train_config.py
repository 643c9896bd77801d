"""The settings of FixMatch training (the table [train] of a recipe). No torch here: the command line imports this."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# What "auto" is for a network. Published: 2**20 steps at mu 7. The small network is for two CPU cores, where 2,000
# steps at mu 3 end higher than 1,000 at mu 7, which take as long.
STEPS = {"small-cnn": 2000, "wrn-28-2": 65536}
MU = {"small-cnn": 3, "wrn-28-2": 7}
CPU_STEPS, CPU_MU = {"small-cnn": 2000, "wrn-28-2": 200}, 3  # wrn-28-2 is a network for GPUs: this ends in minutes
SMALL = 16  # pixels: images up to this side get the small network
Count = Annotated[int, Field(ge=1)]
ROWS = 20  # rows of history, and checkpoints, in a run whose settings do not say otherwise


class TrainConfig(BaseModel):
    """Published FixMatch settings (arXiv:2001.07685, table 4) where the number of steps and `mu` do not say otherwise.

    `"auto"` is replaced by :meth:`resolve` once the images are known; what is stored and hashed is the resolved copy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Literal["fixmatch"] = "fixmatch"
    network: Literal["auto", "small-cnn", "wrn-28-2"] = "auto"
    steps: Count | Literal["auto"] = Field(
        "auto", description="optimiser steps; auto: 2000 small-cnn, 65536 wrn-28-2 (200 on a CPU)"
    )
    batch: int = Field(64, ge=1, description="labelled images a step (B)")
    mu: Count | Literal["auto"] = Field(
        "auto",
        description="unlabelled images a step, as a multiple of the batch; auto: 3 small-cnn, 7 wrn-28-2 (3 on a CPU)",
    )
    threshold: float = Field(0.95, ge=0, le=1, description="least probability of a pseudo-label that is learned from")
    lambda_u: float = Field(1.0, ge=0, description="weight of the unlabelled loss")
    lr: float = Field(0.03, gt=0, description="learning rate at the start; falls as cos(7 pi t / 16 T)")
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
        steps = self.steps if self.steps != "auto" else (CPU_STEPS if device == "cpu" else STEPS)[network]
        every = max(1, steps // ROWS)
        chosen = {
            "network": network,
            "steps": steps,
            "mu": self.mu if self.mu != "auto" else (CPU_MU if device == "cpu" else MU[network]),
            "flip": self.flip if self.flip != "auto" else channels >= 3,
            "eval_every": self.eval_every if self.eval_every != "auto" else every,
            "checkpoint_every": self.checkpoint_every if self.checkpoint_every != "auto" else every,
        }
        return self.model_copy(update=chosen)
