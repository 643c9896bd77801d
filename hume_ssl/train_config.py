"""The settings of FixMatch training (the table [train] of a recipe). No torch here: the command line imports this."""

import difflib
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hume_ssl.errors import InputError
from hume_ssl.train_presets import LARGEST, ON_CPU, PRETRAINED, auto_values, settings_of

NETWORKS = ("auto", "head", "small-cnn", "wrn-28-2", "wrn-28-8")
SMALL = 16  # pixels: images up to this side get the small network
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
CHECKPOINTS = 20  # in a run whose settings do not say otherwise
ROWS = 100  # rows of history, each with an evaluation
LEAST = 10  # steps between two rows
EVALUATED, EVALUATED_SLOWLY = 10_000, 1000  # items an evaluation looks at; the second: a network for GPUs on a CPU

UNIMPORTANT = {"workers"}  # settings that change nothing about the result: a run may go on with others

Algorithm = Literal["fixmatch", "flexmatch", "freematch", "softmatch", "supervised"]


def known_network(name: str) -> str:
    """`name`, if there is such a network; torchvision's names are looked up only where one is asked for.

    Raises:
        InputError: no network has this name; the nearest one is offered.
    """
    if name in NETWORKS:
        return name
    kind, _, rest = name.partition(":")
    if kind != "torchvision" or not rest:
        close = difflib.get_close_matches(name, [*NETWORKS, "torchvision:NAME"], n=1)
        offer = f", did you mean {close[0]!r}?" if close else ""
        raise InputError(f"one of {', '.join(NETWORKS)}, torchvision:NAME, torchvision:NAME@FILE{offer}")
    from hume_ssl.spaces.spec import parse_spec

    try:
        options = parse_spec(name).options
    except InputError as error:
        raise ValueError(f"a network; {error}") from None
    if options:
        raise ValueError("a network without ?size=; give train.size")
    return name


class TrainConfig(BaseModel):
    """Settings of training (those of FixMatch, arXiv:2001.07685, table 4, where `AUTO` does not say otherwise).

    `"auto"` is replaced by :meth:`resolve` once the images are known; what is stored and hashed is the resolved copy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Algorithm = "fixmatch"
    preset: Literal["short", "paper"] = Field("short", description="what auto means: hours or minutes, or 2^20 steps")
    network: Annotated[str, AfterValidator(known_network)] = Field(
        "auto",
        description="head, small-cnn, wrn-28-2, wrn-28-8, torchvision:NAME (from scratch) or torchvision:NAME@FILE",
    )
    steps: Count | Literal["auto"] = Field("auto", description="optimiser steps")
    batch: Count | Literal["auto"] = Field("auto", description="labelled images a step (B)")
    mu: Count | Literal["auto"] = Field("auto", description="unlabelled images a step, as a multiple of the batch")
    threshold: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = Field(
        "auto", description="least probability of a pseudo-label that is learned from"
    )
    statistics_decay: float = Field(0.999, ge=0, lt=1, description="freematch, softmatch: decay of their averages")
    fairness: Weight = Field(0.001, description="freematch: weight of its fairness term")
    softness: Weight = Field(2.0, description="softmatch: n_sigma; higher = steeper weights; 0 = all of weight 1")
    align: bool | Literal["auto"] = Field(
        "auto", description="bring pseudo-labels to the class sizes, where they are known; auto: not in preset paper"
    )
    label_noise: Literal["none", "agreement", "contradicted"] = Field(
        "none", description="labels that may be wrong: weigh by agreement, or drop those the average model contradicts"
    )
    lambda_u: Weight | Literal["auto"] = Field("auto", description="weight of the unlabelled loss")
    lr: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        "auto", description="learning rate at the start; falls as cos(7 pi t / 16 T)"
    )
    optimiser: Literal["auto", "sgd", "adamw"] = Field("auto", description="sgd: with Nesterov momentum 0.9")
    weight_decay: Weight | Literal["auto"] = Field(
        "auto", description="on kernels only, not on biases and normalisation"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        "auto", description="factor on the learning rate from each layer to the one before it; 1: none"
    )
    ema: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = Field(
        "auto", description="decay of the averaged weights, 0: no average; starts as (1 + t) / (10 + t)"
    )
    size: Annotated[int, Field(ge=8)] | Literal["auto"] = Field(
        "auto", description="pixels of the longer side; auto: at most 32, with weights from a file 224"
    )
    augment: Literal["fixmatch-paper", "fixmatch-kekmodel", "usb", "torchvision"] = "fixmatch-paper"
    flip: bool | Literal["auto"] = Field("auto", description="mirror images; auto: colour images yes, grey ones no")
    encoder: str = Field(
        "", description="of the head: torchvision:NAME[@FILE][?size=PIXELS], or judge, the space; empty: the run's"
    )
    weak_views: Count = Field(4, description="of the head: weak views an image that are embedded")
    strong_views: Count = Field(8, description="of the head: strong views an image that are embedded")
    feature_noise: float = Field(
        1.0, ge=0, description="of a head without images: noise of the strong view, 1: as far as near neighbours are"
    )
    exclude_labelled: bool = Field(False, description="take the labelled items out of the unlabelled pool")
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto", description="auto: bf16 where the hardware has it and it pays"
    )
    seed: int = Field(0, ge=0)
    workers: int = Field(0, ge=0, description="processes that prepare views ahead; 0: made where the network runs")
    eval_every: Count | Literal["auto"] = Field("auto", description="steps a row of history; auto: a hundredth of all")
    eval_items: Count | Literal["auto"] = Field("auto", description="items an evaluation looks at, at most")
    checkpoint_every: Count | Literal["auto"] = Field(
        "auto", description="steps between checkpoints; auto: a twentieth"
    )

    def resolve(self, side: int, channels: int, device: str = "cuda", *, sizes_known: bool = True) -> "TrainConfig":
        """A copy without `"auto"`, except for `precision`, which belongs to the device and not to the run.

        Args:
            side: the longer side of the images as they are, in pixels.
            channels: 1 for grey, 3 for colour.
            device: "cpu" makes `"auto"` a schedule that ends the same day.
            sizes_known: whether somebody knows the sizes of the classes, which `align` needs.

        Raises:
            InputError: `align` is asked for, and they are not known.
        """
        if self.align is True and not sizes_known:
            raise InputError(
                "train.align = true needs the sizes of the classes: give discover --prior FILE, or leave it at auto"
            )
        largest = PRETRAINED if settings_of(self.network) == "torchvision@" else LARGEST
        size = min(side, largest) if self.size == "auto" else self.size
        network = self.network if self.network != "auto" else ("small-cnn" if size <= SMALL else "wrn-28-2")
        auto = auto_values(network, device, self.preset)
        chosen: dict[str, object] = {"network": network, "size": size}
        chosen |= {key: value for key, value in auto.items() if getattr(self, key) == "auto"}
        steps = int(auto["steps"] if self.steps == "auto" else self.steps)
        every = {"eval_every": max(LEAST, steps // ROWS), "checkpoint_every": max(1, steps // CHECKPOINTS)}
        every["eval_items"] = EVALUATED_SLOWLY if device == "cpu" and settings_of(network) in ON_CPU else EVALUATED
        chosen |= {key: value for key, value in every.items() if getattr(self, key) == "auto"}
        aligning = self.preset != "paper" and self.algorithm not in ("softmatch", "supervised")  # softmatch has its own
        chosen["align"] = self.align if self.align != "auto" else aligning and sizes_known
        chosen["flip"] = self.flip if self.flip != "auto" else channels >= 3
        return self.model_copy(update=chosen)
