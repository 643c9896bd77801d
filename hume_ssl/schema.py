"""What a recipe may say: frozen pydantic models, one for each table, and the presets of the search as data.

`hume_ssl.config` reads and writes recipes and exports these models again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from hume_ssl.class_shares import WORDS, checked_shares
from hume_ssl.train_config import TrainConfig

# Keys that do not make a run another run: one may go on with more searches, on another device, and a recipe's
# name and description change nothing; what the images are, their hash says, wherever they lie.
NOT_IDENTITY = (
    *("name", "about", "search.searches", "search.device"),
    *("data.root", "data.download", "data.skip_broken"),
)

# What a preset says for every key of [search] that the recipe and the flags leave open.
PRESETS: dict[str, dict[str, int | float | bool | str]] = {
    # The published settings of STL-10, CIFAR-10 and CIFAR-100-20 (Gadetsky & Brbic, 2023, and its code): 300 steps
    # of gradient descent inside, hypergradient by the explicit adjoint. `ridge` and `scale` have no part in it.
    "paper": {
        "iterations": 1000,
        "outer_lr": 0.001,
        "schedule": "published",
        "temperature": 0.1,
        "final_temperature": 0.001,
        "entropy_weight": 10.0,
        "inner_steps": 300,
        "inner_lr": 0.001,
        "ridge": 0.0,
        "scale": 1.0,
        "subsets": 20,
        "subset_size": 10_000,
        "train_fraction": 0.9,
        "random_init": True,
        "centre": False,
        "early_stop": True,
        "batch": 0,
        "precision": "auto",
        "tolerance": 0.01,
    },
    # The closed form: ridge regression inside, its scores scaled into the cross-entropy, and labels that start soft
    # and harden smoothly. `inner_steps`, `inner_lr` and `random_init` have no part in it.
    "fast": {
        "iterations": 300,
        "outer_lr": 0.03,
        "schedule": "smooth",
        "temperature": 1.0,
        "final_temperature": 0.01,
        "entropy_weight": 3.0,  # of 1, 3 and 10, tuned on digits, usps and cifar10-dev: 1 failed on digits
        "inner_steps": 0,
        "inner_lr": 0.001,
        "ridge": 0.01,  # of 0.001 to 0.1; the differences are within the noise of one seed
        "scale": 3.0,
        "subsets": 2,
        "subset_size": 10_000,
        "train_fraction": 0.9,
        "random_init": False,
        "centre": True,
        "early_stop": True,
        "batch": 0,
        "precision": "auto",
        "tolerance": 0.0,
    },
}

# What they say instead where the objective is "turtle". `subset_size` is then the size of a batch, `random_init` at
# false the warm start, and `centre` brings every space to mean 0 and mean square 1. `temperature`,
# `final_temperature`, `ridge`, `scale`, `subsets` and `train_fraction` have no part in it.
TURTLE: dict[str, dict[str, int | float | bool | str]] = {
    # The published settings of all 26 data sets (Gadetsky, Jiang & Brbic, 2024, and its code), spaces as given.
    "paper": {
        "iterations": 6000,
        "outer_lr": 0.001,
        "schedule": "fixed",
        "entropy_weight": 10.0,
        "inner_steps": 10,
        "inner_lr": 0.001,
        "subset_size": 10_000,
        "random_init": True,
        "centre": False,
        "early_stop": False,
    },
    # A hundredth of the work: steps that fit spaces brought to one scale, on smaller batches, with a falling rate.
    "fast": {
        "iterations": 200,
        "outer_lr": 0.003,
        "schedule": "smooth",
        "entropy_weight": 10.0,
        "inner_steps": 10,
        "inner_lr": 0.03,
        "subset_size": 1000,
        "random_init": True,
        "centre": True,
        "early_stop": False,
    },
}


def preset_values(preset: str, objective: str) -> dict[str, int | float | bool | str]:
    """What a preset says for every key of [search] left open, under an objective."""
    return PRESETS[preset] | (TURTLE[preset] if objective == "turtle" else {})


def _as_tuple(value: Any) -> Any:
    """TOML has arrays, the models tuples; a single text stands for a list of one."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


def _as_prior(value: Any) -> Any:
    """A word as it is; a list of class shares sorted, their sum 1."""
    if isinstance(value, list | tuple) and all(type(share) in (int, float) for share in value):
        return checked_shares(value)
    if value in WORDS:
        return value
    raise ValueError('"uniform", "free" or a list of class shares (of those in a file: --prior FILE)')


Prior = Annotated[Literal["uniform", "free"] | tuple[float, ...], BeforeValidator(_as_prior)]


class Table(BaseModel):
    """A table of a recipe: frozen, without unknown keys, and strict: 3 is no text and "3" no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ImagesConfig(Table):
    """Which images, and which of them may be learned from."""

    images: str | None = None  # what `load_items` takes: "digits", a folder, a CSV, npy, zip, tar, torchvision:NAME ...
    root: str | None = None  # folder of torchvision's data sets; None: `data`
    download: bool = False  # a torchvision data set that is not there
    skip_broken: bool = False  # images that cannot be read are left out, and listed in broken.csv
    split: float | str | None = None  # share of test items in (0, 1), or a file; None: every item is a train item
    split_seed: int = Field(0, ge=0)

    @field_validator("split")
    @classmethod
    def _share(cls, value: float | str | None) -> float | str | None:
        with suppress(ValueError):  # "1.5" is a share gone wrong, no file
            value = float(value) if value is not None else None
        if isinstance(value, float) and not 0 < value < 1:
            raise ValueError("a share of test items between 0 and 1 (both excluded), or a file")
        return value


class DataConfig(ImagesConfig):
    """What is to be labelled."""

    labeller: str | None = None  # npy (n, d1), rows in the order of the images
    judges: Texts = ()  # npy (n, d2) each
    classes: int | None = Field(None, ge=2)  # k
    balanced: bool = False  # the classes are known to be of about equal size
    flip: bool = True  # false where a mirror image is another thing, as with digits


class SpacesConfig(Table):
    """How the spaces are made from images."""

    encoders: Texts = ()  # KIND:NAME[@WEIGHTS_FILE][?key=value]: the labeller, then the judge
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of networks; auto: bfloat16 on GPUs that compute in it


class SearchConfig(Table):
    """The searches. A key left open (None) takes the preset's value: `resolved()`."""

    preset: Literal["fast", "paper"] = "fast"
    objective: Literal["hume", "turtle"] = "hume"  # turtle: all spaces are equal, and no labeller is needed
    searches: int = Field(100, ge=1)  # r
    seed: int = Field(0, ge=0, lt=1 << 40)  # search i runs from 100,000 * seed + i
    device: str = "auto"
    prior: Prior = "uniform"  # sizes of the classes: equal, whatever is found, or shares, which are matched by rank
    iterations: int | None = Field(None, ge=1)  # outer steps
    outer_lr: float | None = Field(None, gt=0, le=1e37)
    schedule: Literal["published", "fixed", "smooth"] | None = None  # of learning rate and temperature
    temperature: float | None = Field(None, gt=0)  # T of sparsemax(phi1 W / T)
    final_temperature: float | None = Field(None, gt=0)  # where the smooth schedule ends
    entropy_weight: float | None = Field(None, ge=0)  # H
    inner_steps: int | None = Field(None, ge=0)  # steps of gradient descent; 0: closed form
    inner_lr: float | None = Field(None, gt=0, le=1e37)  # eta
    ridge: float | None = Field(None, ge=0)  # lambda of the closed form
    scale: float | None = Field(None, gt=0)  # of the closed form's scores in the cross-entropy
    subsets: int | None = Field(None, ge=1)  # random subsets an outer step averages over
    subset_size: int | None = Field(None, ge=2)  # items in one; all items where there are fewer
    train_fraction: float | None = Field(None, gt=0, lt=1)  # share of a subset on which the inner problem is solved
    random_init: bool | None = None  # a new random start of the inner problem for every subset
    centre: bool | None = None  # subtract the labeller's mean row before its rows are scaled to unit norm
    early_stop: bool | None = None  # end a search when its labels have not changed for 50 steps
    batch: int | None = Field(None, ge=0)  # searches side by side; 0: from the number of classes
    precision: Literal["auto", "float32", "bfloat16"] | None = None  # of large products; auto: bfloat16 if in hardware
    tolerance: float | None = Field(None, ge=0, lt=1)  # relative error descent may make to save steps; 0: every step

    def resolved(self) -> SearchConfig:
        """The same search with every open key filled from its preset."""
        values = preset_values(self.preset, self.objective)
        return self.model_copy(update={k: v for k, v in values.items() if getattr(self, k) is None})

    def settings(self) -> SearchSettings:
        """The resolved search as the engine takes it: nothing is None."""
        return SearchSettings(
            **{k: v for k, v in self.resolved().model_dump().items() if k in PRESETS[self.preset]},
            seed=self.seed,
            prior=self.prior,
        )


class SearchSettings(BaseModel):
    """A search with every key decided; the keys are those of `SearchConfig`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int
    prior: Literal["uniform", "free"] | tuple[float, ...]
    iterations: int
    outer_lr: float
    schedule: Literal["published", "fixed", "smooth"]
    temperature: float
    final_temperature: float
    entropy_weight: float
    inner_steps: int
    inner_lr: float
    ridge: float
    scale: float
    subsets: int
    subset_size: int
    train_fraction: float
    random_init: bool
    centre: bool
    early_stop: bool
    batch: int
    precision: Literal["auto", "float32", "bfloat16"]
    tolerance: float


class ConsensusConfig(Table):
    """How the labellings become one."""

    neighbours: int = Field(20, ge=1)
    neighbour_space: Literal["labeller", "judge", "both"] = "labeller"  # where they are looked for
    # The paper: align = "reference", weights = "equal".
    align: Literal["auto", "spectral", "stable", "reference"] = "auto"
    weights: Literal["objective", "score", "stability", "equal"] = "objective"
    voters: float = Field(1.0, gt=0, le=1)  # share of the searches that vote, the heaviest
    vote: Literal["majority", "dawid-skene"] = "majority"


class DiscoverRecipe(Table):
    """A run of `discover`."""

    name: str
    about: str = ""
    data: DataConfig = DataConfig()
    spaces: SpacesConfig = SpacesConfig()
    search: SearchConfig = SearchConfig()
    consensus: ConsensusConfig = ConsensusConfig()

    def resolved(self) -> DiscoverRecipe:
        """The same recipe with the preset's values written out."""
        return self.model_copy(update={"search": self.search.resolved()})


class TrainRecipe(Table):
    """A run of `train-fixmatch`."""

    name: str
    about: str = ""
    train: TrainConfig = TrainConfig()

    def resolved(self) -> TrainRecipe:
        """The same recipe: training has no presets."""
        return self
