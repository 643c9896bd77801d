"""The settings of self-supervised training (a recipe with the table [pretrain]). No torch here: the command line
imports this."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from hume_ssl.schema import ImagesConfig, Table

SMALL_CNN, RESNETS = "small-cnn", ("resnet18", "resnet34", "resnet50", "wide_resnet50_2")
NETWORKS = ("auto", SMALL_CNN, *RESNETS)
SMALL = 40  # pixels: images up to this side get the small network where there is no GPU
TINY = 16  # pixels: images up to this side get it everywhere
LARGEST = {SMALL_CNN: 32, "resnet": 224}  # pixels of the longer side that are kept where nothing is said
STEPS, EPOCHS = 1000, 200  # of the small network, and of the others, where nothing is said
BATCH = 256
ROWS, CHECKPOINTS = 50, 20  # in a training whose settings do not say otherwise
UNIMPORTANT = {"eval_every", "checkpoint_every"}  # settings that change nothing about the space

Count = Annotated[int, Field(ge=1)]


def known_network(name: str) -> str:
    """`name`, if there is such a network; else a ValueError that offers the nearest one."""
    if name not in NETWORKS:
        close = difflib.get_close_matches(name, NETWORKS, n=1)
        raise ValueError(f"one of {', '.join(NETWORKS)}" + (f", did you mean {close[0]!r}?" if close else ""))
    return name


class PretrainConfig(Table):
    """Settings of the training: SimCLR (arXiv:2002.05709). Keys left open (None, "auto") are filled by `resolve`."""

    network: Annotated[str, AfterValidator(known_network)] = "auto"
    views: Literal["auto", "strokes", "photos"] = "auto"  # auto: strokes for grey images, photos for colour
    flip: bool | None = None  # mirror images; None: colour images yes, grey ones no
    strength: float = Field(1.0, gt=0, le=2)  # of the views: how far they go, as a multiple of the preset's ranges
    size: int | None = Field(None, ge=8)  # pixels of the longer side; None: as they are, up to 32 or 224
    steps: Count | None = None  # optimiser steps; None: 1000 of the small network, else what 200 epochs need
    epochs: Count | None = None  # instead of steps
    batch: Annotated[int, Field(ge=2)] | None = None  # images a step, each seen twice; None: 256, at most all
    temperature: float = Field(0.2, ge=0.01, le=10)  # of the contrast: lower looks harder at near neighbours
    projection: int = Field(128, ge=2)  # width of what is contrasted; the space is the layer before the projector
    lr: float | None = Field(None, gt=0)  # AdamW, at its highest; None: 0.002 of the small network, else 0.001
    weight_decay: float = Field(1e-4, ge=0)  # on kernels only
    warmup: float = Field(0.05, ge=0, lt=1)  # share of the steps in which the learning rate rises; then half a cosine
    precision: Literal["auto", "float32", "bf16"] = "auto"  # auto: bf16 where the hardware has it
    seed: int = Field(0, ge=0)
    eval_every: Count | None = None  # steps a row of metrics.jsonl; None: a fiftieth
    eval_items: Annotated[int, Field(ge=2)] = 2000  # items that each row looks at, at most
    checkpoint_every: Count | None = None  # steps between checkpoints; None: a twentieth

    @model_validator(mode="after")
    def _one_length(self) -> PretrainConfig:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("pretrain.steps and pretrain.epochs both say how long: give one of them")
        return self

    def resolve(self, side: int, channels: int, n: int, *, gpu: bool) -> PretrainConfig:
        """A copy with nothing left open but `precision`, which belongs to the device.

        Args:
            side: the longer side of the images as they are, in pixels.
            channels: 1 for grey, 3 for colour.
            n: items to learn from.
            gpu: whether there is one; without it small images get the small network, whatever is on them.
        """
        network = self.network
        if network == "auto":
            network = SMALL_CNN if side <= TINY or (side <= SMALL and not gpu) else RESNETS[0]
        small = network == SMALL_CNN
        batch = self.batch or max(2, min(BATCH, n))
        steps = self.steps or STEPS
        if self.epochs is not None or (self.steps is None and not small):
            steps = (self.epochs or EPOCHS) * max(1, n // batch)
        chosen = {
            "network": network,
            "views": self.views if self.views != "auto" else ("photos" if channels == 3 else "strokes"),
            "flip": self.flip if self.flip is not None else channels == 3,
            "size": self.size or min(side, LARGEST[SMALL_CNN if small else "resnet"]),
            "steps": steps,
            "epochs": None,
            "batch": batch,
            "lr": self.lr or (0.002 if small else 0.001),
            "eval_every": self.eval_every or max(1, steps // ROWS),
            "checkpoint_every": self.checkpoint_every or max(1, steps // CHECKPOINTS),
        }
        return self.model_copy(update=chosen)


class PretrainRecipe(Table):
    """A run of `pretrain`."""

    name: str
    about: str = ""
    data: ImagesConfig = ImagesConfig()
    pretrain: PretrainConfig = PretrainConfig()

    def resolved(self) -> PretrainRecipe:
        """The same recipe: what is open depends on the images."""
        return self
