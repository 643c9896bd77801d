"""What `discover` was given, loaded and checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.broken import Broken
from hume_ssl.config import DiscoverRecipe, identity, override
from hume_ssl.devices import pick_device
from hume_ssl.errors import InputError
from hume_ssl.files import sha256_array, sha256_file
from hume_ssl.items import Items, make_split
from hume_ssl.search import check_classes, check_objective, check_prior
from hume_ssl.search.subsets import subset_sizes
from hume_ssl.spaces.choice import KERNEL, KERNELS, PRETRAIN, best_here
from hume_ssl.spaces.embed import width_of
from hume_ssl.spaces.loading import check_space, load_space
from hume_ssl.spaces.spec import EncoderSpec, parse_spec, split_spec, with_weights
from hume_ssl.stages.run_items import absolute_paths, full_path, look_at_images, offering_to_skip, run_items

Array = NDArray[Any]


@dataclass(frozen=True)
class SpaceSource:
    """Where a space comes from: an array that was given, or an encoder."""

    name: str  # "labeller", "judge", "judge-2": its file in the run folder
    array: Array | None
    spec: EncoderSpec | None
    text: str  # path or encoder, for messages and the record


@dataclass(frozen=True)
class Role:
    """What a space serves as in a run, and what it comes from: a file of the user's, or an encoder."""

    name: str  # "labeller", "judge", "judge-2"
    path: str | None
    encoder: str | None


@dataclass(frozen=True)
class Inputs:
    """Everything `discover` starts from; nothing has been written."""

    recipe: DiscoverRecipe  # resolved, with absolute paths
    items: Items
    broken: list[Broken]  # images left out of them
    split: NDArray[np.str_]  # (n,) "train" or "test"
    sources: list[SpaceSource]  # the labeller first; alone, it is the judge too; under TURTLE perhaps judges alone
    classes: int
    device: str
    identity: dict[str, object]
    choice: str = ""  # which encoders were taken where none was named, and which would be better

    @property
    def train(self) -> NDArray[np.bool_]:
        """(n,) True for train items."""
        return np.asarray(self.split == "train")


def prepare(
    recipe: DiscoverRecipe,
    before: Sequence[str] = (),
    pretrained: Mapping[str, str] | None = None,
    *,
    show: bool = False,
) -> Inputs:
    """Load and check all inputs of a recipe.

    Args:
        before: encoders to take where none is named: those of a run that may go on.
        pretrained: encoders of `hume-ssl pretrain` by the hash of the items they were trained on; where none is named,
            that of these items is the labeller.
        show: progress on stderr, where there are many images to look at.

    Raises InputError, naming the first input that cannot be used.
    """
    recipe = _absolute(recipe).resolved()
    data, turtle = recipe.data, recipe.search.objective == "turtle"
    given = [role for role in roles(recipe) if role.path is not None]
    if data.images is None and not given:
        raise InputError("nothing to label: give --images, or --labeller and --judge")
    if data.images is None and given[0].name != "labeller" and not turtle:
        raise InputError(
            "--judge without a labeller: give --labeller A.npy, or --images to make one from, or "
            "--set search.objective=turtle, which needs none"
        )
    if data.classes is None:
        raise InputError("how many classes are there? give --classes K")
    device = str(pick_device(recipe.search.device))
    hashes: dict[str, str] = {}
    arrays = [_source(role, hashes) for role in given]
    items, broken = run_items(data, {source.text: source.array for source in arrays}, show=show)
    check_lengths(items, arrays, data.images)
    split = make_split(len(items), data.split, data.split_seed, items.filepaths, items.root)
    n_train = int(np.count_nonzero(split == "train"))
    check_classes(data.classes, n_train, len(items))
    search = recipe.search.settings()
    check_objective(recipe.search)
    check_prior(recipe.search, data.classes)
    if not turtle:
        subset_sizes(n_train, search.subset_size, search.train_fraction)
    with offering_to_skip():  # it looks at the images' headers
        recipe, choice = _with_encoders(recipe, items, device, before, (pretrained or {}).get(items.hash))
    there = {source.name: source for source in arrays}
    sources = [there.get(role.name) or _source(role, hashes) for role in roles(recipe)]
    check_classes(data.classes, len(items), None if turtle else _width(sources[0], items))
    for source in sources[0 if turtle else 1 :]:
        _width(source, items)  # refuses wrong weights now, not after an hour
    look_at_images(items, data, show=show)
    hashes |= {f"weights of {s.text}": sha256_file(s.spec.weights) for s in sources if s.spec and s.spec.weights}
    if data.images is not None:
        hashes["data.images"] = items.hash
    if isinstance(data.split, str) and Path(data.split).is_file():
        hashes["data.split"] = sha256_file(Path(data.split))
    return Inputs(recipe, items, broken, split, sources, data.classes, device, identity(recipe, hashes), choice)


def check_lengths(items: Items, sources: list[SpaceSource], images: str | None) -> None:
    """Raise InputError unless every given space has a row for every item."""
    for source in sources:
        assert source.array is not None
        if len(source.array) != len(items):
            other = f"{images} has {len(items)} images" if images is not None else f"the others have {len(items)} rows"
            raise InputError(
                f"{source.text} has {len(source.array)} rows and {other}: give one row an item, in the same order"
            )


def _with_encoders(
    recipe: DiscoverRecipe, items: Items, device: str, before: Sequence[str], own: str | None
) -> tuple[DiscoverRecipe, str]:
    """The recipe with encoders where spaces are wanting and none are named, and what to say of them; for TURTLE any
    given space will do."""
    data = recipe.data
    if data.images is None or recipe.spaces.encoders or data.labeller is not None:
        return recipe, ""
    if data.judges and recipe.search.objective == "turtle":
        return recipe, ""
    best, better = best_here(items.channels == 3, device != "cpu")
    if own is not None:
        best = (own, best[1] if best != KERNELS else KERNEL)
    chosen = tuple(before) or (best[:1] if data.judges else best)
    offer = ""
    if own is None and (better.labeller, better.judge) != best:
        first = "hume-ssl pretrain for a labeller" if better.labeller == PRETRAIN else f"--encoder '{better.labeller}'"
        offer = f"; better for {better.of}: {first}, --encoder '{better.judge}' (hume-ssl embed --list says why)"
    taken = f"no encoder named: taking {' and '.join(chosen)}{offer}"
    return override(recipe, {"spaces.encoders": chosen}), taken


def _absolute(recipe: DiscoverRecipe) -> DiscoverRecipe:
    """The recipe with absolute paths, so that its copy in the run folder works from anywhere."""
    data, sets = recipe.data, absolute_paths(recipe.data)
    if data.labeller is not None:
        sets["data.labeller"] = full_path(data.labeller)
    sets["data.judges"] = tuple(full_path(judge) for judge in data.judges)
    sets["spaces.encoders"] = tuple(full_weights(text) for text in recipe.spaces.encoders)
    return override(recipe, sets)


def full_weights(text: str) -> str:
    """An encoder's text with the absolute path of its file."""
    spec = split_spec(text)
    if spec.kind == "npy":
        return f"npy:{full_path(spec.name)}"
    return text if spec.weights is None else with_weights(spec, full_path(str(spec.weights)))


def _given(path: str, name: str, hashes: dict[str, str]) -> SpaceSource:
    array = load_space(path)
    check_space(array, path, labeller=name == "labeller")
    key = "data.labeller" if name == "labeller" else "data.judges"
    hashes[key] = " ".join(filter(None, [hashes.get(key), sha256_array(array)]))
    return SpaceSource(name, array, None, path)


def _judge_name(number: int) -> str:
    return "judge" if number == 0 else f"judge-{number + 1}"


def roles(recipe: DiscoverRecipe) -> list[Role]:
    """What each space of a run comes from: the labeller first, if there is one, then the judges, given ones first.

    The first encoder makes the labeller where none is given.
    """
    data, encoders = recipe.data, list(recipe.spaces.encoders)
    found = [Role("labeller", data.labeller, None)] if data.labeller else []
    if not found and encoders:
        found = [_encoded("labeller", encoders.pop(0))]
    found += [Role(_judge_name(i), path, None) for i, path in enumerate(data.judges)]
    return found + [_encoded(_judge_name(len(data.judges) + i), text) for i, text in enumerate(encoders)]


def _encoded(name: str, text: str) -> Role:
    spec = split_spec(text)
    return Role(name, spec.name, None) if spec.kind == "npy" else Role(name, None, text)


def _source(role: Role, hashes: dict[str, str]) -> SpaceSource:
    """A role with its array opened and checked, and hashed, or its encoder looked up."""
    if role.path is not None:
        return _given(role.path, role.name, hashes)
    assert role.encoder is not None
    return SpaceSource(role.name, None, parse_spec(role.encoder), role.encoder)


def _width(source: SpaceSource, items: Items) -> int:
    """d of a space, before it is made. Raises InputError for weights that do not fit."""
    if source.array is not None:
        return int(source.array.shape[1])
    assert source.spec is not None
    if not items.has_images:
        raise InputError(f"the encoder {source.text!r} needs images: give them with --images")
    return width_of(source.spec)
