"""The Python API: the commands as functions on arrays, without a run folder.

import hume_ssl
found = hume_ssl.discover(images=images, classes=10, searches=64)       # (n, h, w[, c]) uint8
picked = hume_ssl.select(found, per_class=4)
trained = hume_ssl.train_fixmatch(images, picked.index, picked.label, classes=10)
hume_ssl.evaluate(found, truth, selection=picked)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hume_ssl.class_shares import read_prior
from hume_ssl.config import DiscoverRecipe, override
from hume_ssl.consensus import Picked, find_consensus, match, pick, vote_share, weighted_vote
from hume_ssl.discovery import Array, Discovery, Mask, conclude
from hume_ssl.errors import InputError
from hume_ssl.search import best_search, label_items, prepare_spaces, run_searches
from hume_ssl.train import TrainResult, train_fixmatch

if TYPE_CHECKING:
    from hume_ssl.progress import Progress

__all__ = ["Discovery", "assign", "discover", "evaluate", "find_consensus", "select", "train_fixmatch"]


def discover(
    images: Array | str | Path | None = None,
    *,
    classes: int,
    labeller: Array | str | Path | None = None,
    judges: Sequence[Array | str | Path] = (),
    encoders: Sequence[str] = (),
    train: ArrayLike | None = None,
    searches: int = 100,
    seed: int = 0,
    preset: str = "fast",
    neighbours: int = 20,
    prior: str | Path | Sequence[float] = "uniform",
    device: str = "auto",
    settings: dict[str, object] | None = None,
    progress: Progress | None = None,
) -> Discovery:
    """Run HUME searches and vote their consensus.

    Args:
        images: (n, h, w[, c]) uint8, or what `--images` takes; not needed where spaces are given.
        classes: k.
        labeller: (n, d1) floats, scaled to unit norm here; None: the first encoder makes it. Under
            settings={"search.objective": "turtle"} it is a space like the judges, read as it is, and where judges are
            given and neither a labeller nor encoders, there is none.
        judges: (n, d2) floats each; those that the other encoders make come after them.
        encoders: KIND:NAME[@FILE][?key=value]; none, and spaces wanting: the best pair on
            this machine (`hume-ssl embed --list`), at least random features of the pixels at two widths.
        train: (n,) True for items to learn from; None: all.
        searches, seed, preset, neighbours, device: as on the command line.
        prior: sizes of the classes: "uniform", "free", k shares or a file of them; see `hume_ssl.search.prior`.
        settings: further recipe keys, as {"search.iterations": 200}.
        progress: advanced by one an outer step of all searches of a batch.

    Raises InputError where the input cannot be used.
    """
    keys = {"search.searches": searches, "search.seed": seed, "search.preset": preset, "search.device": device}
    keys |= {"consensus.neighbours": neighbours, "search.prior": read_prior(prior), **(settings or {})}
    recipe = override(DiscoverRecipe(name="api"), keys)
    needed = labeller is None and not (recipe.search.objective == "turtle" and len(judges) > 0)
    made = list(_make_spaces(images, encoders, needed, not judges, train, device))
    given = [_load(labeller, "labeller")] if labeller is not None else made[:1]
    made = made if labeller is not None else made[1:]
    others = [*(_load(judge, "judge") for judge in judges), *made] or given
    first = given[0] if given else others[0]  # without a labeller the first judge stands for it
    lengths = {len(space) for space in [first, *others]}
    if len(lengths) > 1:
        raise InputError(f"the spaces have {' and '.join(map(str, sorted(lengths)))} rows: they must hold equal items")
    mask = _mask(train, len(first))
    from hume_ssl.devices import pick_device

    spaces = prepare_spaces(first, others, mask, recipe.search, str(pick_device(device)))
    found = run_searches(spaces, classes, recipe.search, progress=progress)
    every = (first, *(judge for judge in others if judge is not first))
    return replace(conclude(found, others, mask, classes, recipe.consensus, given[0] if given else None), spaces=every)


def select(
    found: Discovery,
    per_class: int,
    *,
    strategy: str | None = None,
    spaces: Sequence[Array | str | Path] = (),
    seed: int = 0,
    allow_short: bool = False,
) -> Picked:
    """At most `per_class` reliable train items of each class, as `hume-ssl select` picks them.

    Args:
        strategy: "certain": the most certain first; "cover": certain ones that stand for their class; "random". None:
            certain.
        spaces: to measure in, (n, d) floats or files; (): those that `found` keeps. Where it keeps none, certainty is
            that of the votes alone, near-duplicates go unseen, and "cover" is refused.
        seed: of the draws of "random".
        allow_short: take what there is where a class has fewer.

    Raises TooFewReliable (an InputError with a table) where a class has fewer and `allow_short` is off; InputError for
    a space of other items, or none where one is needed.
    """
    return pick(
        found.labels,
        found.agreement,
        found.neighbour_agreement,
        found.train,
        per_class,
        found.classes,
        strategy=strategy,
        spaces=[_load(space, "space") for space in spaces] or found.spaces,
        seed=seed,
        allow_short=allow_short,
    )


def evaluate(
    found: Discovery,
    truth: ArrayLike,
    *,
    selection: Picked | None = None,
    predictions: ArrayLike | None = None,
    spaces: Sequence[Array] = (),
) -> dict[str, Any]:
    """What `evaluate --json` prints, less the paths and names; shares in [0, 1].

    Args:
        truth: (n,) true classes 0, 1, ...; -1 = unknown.
        selection: from `select`.
        predictions: (n,) classes a trained classifier gives, in the consensus's ids.
        spaces: the labeller, if there is one, and then the judges, for the baselines; none: no baselines.
    """
    from hume_ssl import evaluation, metrics
    from hume_ssl.calibration import calibration

    truth, k, train = np.asarray(truth, dtype=np.int64), found.classes, found.train
    if truth.shape != found.labels.shape:
        raise InputError(f"the truth has shape {truth.shape} for {len(found.labels)} items: give one label an item")
    consensus, mapping = evaluation.evaluate_consensus(found.labels, truth, train, k)
    accuracies = [metrics.acc(labelling[train], truth[train], k) for labelling in found.searches.labellings]
    best = best_search(found.searches.generalization_score, found.searches.classes_found)
    figures: dict[str, Any] = {
        "consensus": consensus,
        "searches": {
            "acc": accuracies,
            "objective": found.searches.objective.tolist(),
            "generalization_score": found.searches.generalization_score.tolist(),
        },
        "best_search": {"acc": accuracies[best]},
    }
    known = train & (truth >= 0)
    right = metrics.correct(found.labels[known], truth[known], mapping)
    figures["calibration"] = calibration(found.agreement[known], found.neighbour_agreement[known], right)
    if selection is not None:
        figures["selection"] = evaluation.evaluate_selection(selection.label, selection.index, truth, mapping, k)
    if predictions is not None:
        figures["train"] = evaluation.evaluate_predictions(np.asarray(predictions), truth, train, mapping)
    if spaces:
        figures["baselines"] = {"kmeans": {"acc": evaluation.kmeans_baseline(spaces, train, truth, k)}}
        probe = evaluation.linear_probe(spaces[0], truth, train)
        if probe is not None:
            figures["baselines"]["linear_probe"] = {"acc": probe}
    correlation = evaluation.objective_correlation(found.searches.objective, accuracies)
    if correlation is not None:
        figures["objective_correlation"] = correlation
    return figures


def assign(
    found: Discovery | TrainResult, new: Array | Sequence[Array] | str | Path, *, device: str = "auto"
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Classes (m,) of new items, and how sure they are (m,) in [0, 1].

    Args:
        found: a discovery, whose task encoders vote by weight: sure is the share of the votes. Or a training, whose
            averaged network labels: sure is the probability it gives.
        new: for a discovery (m, d1) from the encoder that made its labeller space; for TURTLE searches a list of all
            spaces of the run, (m, d) each, the labeller, if there is one, and then the judges. For a training images:
            (m, h, w[, c]) uint8, or what `--images` takes; they are brought to the size it was trained at.
        device: where a trained network runs.

    Raises InputError for others.
    """
    if isinstance(found, TrainResult):
        return _assign_by_network(found, new, device)
    if isinstance(new, str | Path):
        raise InputError(f"a discovery labels rows of its spaces, not {str(new)!r}: give the labeller's (m, d1) array")
    spaces = [new] if isinstance(new, np.ndarray) else list(new)
    if len({len(space) for space in spaces}) > 1:
        raise InputError(f"the spaces have {' and '.join(str(len(space)) for space in spaces)} rows: give equal items")
    labellings = label_items(found.searches, spaces)
    matching = found.matching
    if matching is None:
        matching = match(found.searches.labellings, found.labels, found.classes, found.train)
    reference = found.reference if found.reference is not None else int(found.weights.argmax())
    ties = labellings[reference] if found.matching is not None else matching[reference][labellings[reference]]
    labels = weighted_vote(labellings, matching, found.weights, found.classes, ties)
    share = vote_share(labellings, matching, found.weights, labels)
    return labels if found.naming is None else found.naming[labels], share


def _assign_by_network(
    trained: TrainResult, images: Any, device: str
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    from hume_ssl.devices import pick_device
    from hume_ssl.items import load_items
    from hume_ssl.train.trained import from_state, label

    return label(
        from_state(trained.state_dict, trained.network, "the training"),
        load_items(images),
        pick_device(device, mps=False),
    )


def _make_spaces(
    images: Array | str | Path | None,
    encoders: Sequence[str],
    labeller: bool,
    judge: bool,
    train: ArrayLike | None,
    device: str,
) -> list[Array]:
    """The spaces that have to be made from images, in the order of the encoders."""
    from hume_ssl.spaces.trust import trust

    trust(encoders)
    if not (labeller or encoders):
        return []
    if images is None:
        raise InputError("no images and no labeller: give images=..., or labeller=... and judges=...")
    from hume_ssl.devices import pick_device
    from hume_ssl.items import load_items
    from hume_ssl.spaces.choice import best_here
    from hume_ssl.spaces.embed import embed
    from hume_ssl.spaces.spec import parse_spec

    items = load_items(images)
    mask = _mask(train, len(items))
    best, _ = best_here(items.channels == 3, str(pick_device(device)) != "cpu") if not encoders else ((), None)
    chosen = encoders or (best if labeller and judge else best[:1])
    return [embed(items, parse_spec(text), mask, device=device) for text in chosen]


def _mask(train: ArrayLike | None, n: int) -> Mask:
    """(n,) True for train items. Raises InputError for a mask of another length, or one without a train item."""
    mask = np.ones(n, dtype=bool) if train is None else np.asarray(train, dtype=bool)
    if mask.shape != (n,) or not mask.any():
        raise InputError(f"train has shape {mask.shape} and {mask.sum()} train items, for {n} items: one value an item")
    return mask


def _load(source: Array | str | Path, name: str) -> Array:
    from hume_ssl.spaces.loading import check_space, load_space

    space = load_space(source)
    check_space(space, str(source) if not isinstance(source, np.ndarray) else name, labeller=name == "labeller")
    return space
