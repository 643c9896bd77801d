"""What `discover` was given, loaded and checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.api import DEFAULT_ENCODERS
from hume_ssl.broken import Broken, skip_broken
from hume_ssl.config import DataConfig, DiscoverRecipe, identity, override
from hume_ssl.devices import pick_device
from hume_ssl.errors import InputError
from hume_ssl.files import sha256_array, sha256_file
from hume_ssl.images import BrokenImage
from hume_ssl.items import DIGITS, Items, bare_items, check_images, load_items, make_split
from hume_ssl.progress import track
from hume_ssl.search import check_classes, check_objective, check_prior
from hume_ssl.search.subsets import subset_sizes
from hume_ssl.sources.torchvision_sets import ROOT, is_torchvision
from hume_ssl.spaces.embed import embed
from hume_ssl.spaces.loading import check_space, load_space
from hume_ssl.spaces.spec import EncoderSpec, parse_spec

Array = NDArray[Any]

MANY = 5000  # images: of fewer, looking at all takes no time worth a line


@dataclass(frozen=True)
class SpaceSource:
    """Where a space comes from: an array that was given, or an encoder."""

    name: str  # "labeller", "judge", "judge-2": its file in the run folder
    array: Array | None
    spec: EncoderSpec | None
    text: str  # path or encoder, for messages and the record


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

    @property
    def train(self) -> NDArray[np.bool_]:
        """(n,) True for train items."""
        return np.asarray(self.split == "train")


def prepare(recipe: DiscoverRecipe, *, show: bool = False) -> Inputs:
    """Load and check all inputs of a recipe; `show`: progress on stderr, where there are many images to look at.

    Raises InputError, naming the first that cannot be used.
    """
    recipe = _absolute(_with_encoders(recipe)).resolved()
    data, turtle = recipe.data, recipe.search.objective == "turtle"
    if data.images is None and data.labeller is None and not (turtle and data.judges):
        raise InputError("nothing to label: give --images, or --labeller and --judge")
    if data.classes is None:
        raise InputError("how many classes are there? give --classes K")
    device = str(pick_device(recipe.search.device))
    hashes: dict[str, str] = {}
    sources = [_given(data.labeller, "labeller", hashes)] if data.labeller else []
    judges = [_given(path, _judge_name(i), hashes) for i, path in enumerate(data.judges)]
    items, broken = _items(data, [*sources, *judges], show)
    check_lengths(items, [*sources, *judges], data.images)
    split = make_split(len(items), data.split, data.split_seed, items.filepaths, items.root)
    n_train = int(np.count_nonzero(split == "train"))
    check_classes(data.classes, n_train, len(items))
    search = recipe.search.settings()
    check_objective(recipe.search)
    check_prior(recipe.search, data.classes)
    if not turtle:
        subset_sizes(n_train, search.subset_size, search.train_fraction)
    specs = [parse_spec(text) for text in recipe.spaces.encoders]
    if not sources and specs:
        first, *specs = specs
        sources.append(SpaceSource("labeller", None, first, first.text))
    judges += [SpaceSource(_judge_name(len(judges) + i), None, s, s.text) for i, s in enumerate(specs)]
    sources += judges
    check_classes(data.classes, len(items), None if turtle else _width(sources[0], items))
    for source in sources[0 if turtle else 1 :]:
        _width(source, items)  # refuses wrong weights now, not after an hour
    _check_images(items, data, show)
    hashes |= {f"weights of {s.text}": sha256_file(s.spec.weights) for s in sources if s.spec and s.spec.weights}
    if data.images is not None:
        hashes["data.images"] = items.hash
    if isinstance(data.split, str) and Path(data.split).is_file():
        hashes["data.split"] = sha256_file(Path(data.split))
    return Inputs(recipe, items, broken, split, sources, data.classes, device, identity(recipe, hashes))


def make_space(
    inputs: Inputs, source: SpaceSource, allocate: Callable[[tuple[int, int]], Array], progress: Any
) -> None:
    """Fill the array that `allocate` makes from its shape with a space, from its array or by its encoder."""
    if source.spec is not None:
        made = embed(
            inputs.items, source.spec, inputs.train, device=inputs.device, allocate=allocate, progress=progress
        )
        check_space(made, source.text, labeller=source.name == "labeller")
        return
    assert source.array is not None
    out = allocate((len(source.array), source.array.shape[1]))
    for start in range(0, len(out), 65536):
        out[start : start + 65536] = source.array[start : start + 65536]
        progress.advance(min(65536, len(out) - start))


def _items(data: DataConfig, given: list[SpaceSource], show: bool) -> tuple[Items, list[Broken]]:
    """The items, and the images left out of them."""
    if data.images is None:
        if data.root is not None or data.download:
            raise InputError("--root and --download are for --images torchvision:NAME: give that, or leave them out")
        return bare_items(_length(given)), []
    items = load_items(data.images, root=data.root, download=data.download)
    if not data.skip_broken:
        return items, []
    with track(len(items), "looking for broken images", show=show and len(items) >= MANY) as progress:
        items, broken = skip_broken(items, progress)
    by_row = [source.text for source in given]
    if isinstance(data.split, str) and data.split.lower().endswith(".npy"):
        by_row.append(data.split)
    if broken and by_row:  # were they made of all images, or without the broken ones, or without others?
        raise InputError(
            f"{by_row[0]} goes by rows, and {len(broken)} images that cannot be read are left out (the first, "
            f"{broken[0].filepath}): take those images out of {data.images}, and their rows out of it"
        )
    return items, broken


def _check_images(items: Items, data: DataConfig, show: bool) -> None:
    if data.skip_broken:
        return  # all have been decoded
    try:
        with track(len(items), "checking images", show=show and len(items) >= MANY) as progress:
            check_images(items, progress=progress)
    except BrokenImage as error:
        raise InputError(f"{error} (--skip-broken does)") from error


def check_lengths(items: Items, sources: list[SpaceSource], images: str | None) -> None:
    """Raise InputError unless every given space has a row for every item."""
    for source in sources:
        assert source.array is not None
        if len(source.array) != len(items):
            other = f"{images} has {len(items)} images" if images is not None else f"the others have {len(items)} rows"
            raise InputError(
                f"{source.text} has {len(source.array)} rows and {other}: give one row an item, in the same order"
            )


def _with_encoders(recipe: DiscoverRecipe) -> DiscoverRecipe:
    """The recipe with the default encoders, where spaces are wanting and none are named; for TURTLE any one will do."""
    data, encoders = recipe.data, recipe.spaces.encoders
    if data.judges and recipe.search.objective == "turtle":
        return recipe
    if data.labeller is None and data.images is None and data.judges:
        raise InputError(
            "--judge without a labeller: give --labeller A.npy, or --images to make one from, or "
            "--set search.objective=turtle, which needs none"
        )
    if data.images is None or encoders or data.labeller is not None:
        return recipe
    return override(recipe, {"spaces.encoders": DEFAULT_ENCODERS[:1] if data.judges else DEFAULT_ENCODERS})


def _absolute(recipe: DiscoverRecipe) -> DiscoverRecipe:
    """The recipe with absolute paths, so that its copy in the run folder works from anywhere."""
    data = recipe.data
    sets: dict[str, object] = {}
    if data.images is not None and is_torchvision(data.images):
        sets["data.root"] = _full(data.root or ROOT)
    elif data.images is not None and data.images != DIGITS:
        sets["data.images"] = _full(data.images)
    if data.labeller is not None:
        sets["data.labeller"] = _full(data.labeller)
    if isinstance(data.split, str):
        sets["data.split"] = _full(data.split)
    sets["data.judges"] = tuple(_full(judge) for judge in data.judges)
    sets["spaces.encoders"] = tuple(full_weights(text) for text in recipe.spaces.encoders)
    return override(recipe, sets)


def _full(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def full_weights(text: str) -> str:
    weights = parse_spec(text).weights
    return text if weights is None else text.replace(f"@{weights}", f"@{_full(str(weights))}", 1)


def _given(path: str, name: str, hashes: dict[str, str]) -> SpaceSource:
    array = load_space(path)
    check_space(array, path, labeller=name == "labeller")
    key = "data.labeller" if name == "labeller" else "data.judges"
    hashes[key] = " ".join(filter(None, [hashes.get(key), sha256_array(array)]))
    return SpaceSource(name, array, None, path)


def _judge_name(number: int) -> str:
    return "judge" if number == 0 else f"judge-{number + 1}"


def _length(sources: list[SpaceSource]) -> int:
    assert sources[0].array is not None
    return len(sources[0].array)


def _width(source: SpaceSource, items: Items) -> int:
    """d of a space, before it is made. Raises InputError for weights that do not fit."""
    if source.array is not None:
        return int(source.array.shape[1])
    assert source.spec is not None
    if not items.has_images:
        raise InputError(f"the encoder {source.text!r} needs images: give them with --images")
    if source.spec.kind == "kernel":
        from hume_ssl.spaces.kernel import dimension

        return dimension(source.spec)
    from hume_ssl.spaces.spec import check_spec
    from hume_ssl.spaces.torchvision_encoder import build_network, build_preprocess, output_width

    check_spec(source.spec)
    return output_width(build_network(source.spec), build_preprocess(source.spec), source.spec)
