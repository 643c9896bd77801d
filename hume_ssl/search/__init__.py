"""HUME searches: labellings on which linear classifiers in two representation spaces agree; and TURTLE searches, whose
labellings are taught and judged in any number of equal spaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.errors import InputError
from hume_ssl.schema import SearchConfig

if TYPE_CHECKING:
    import torch

    from hume_ssl.progress import Progress
    from hume_ssl.search.midway import Midway
    from hume_ssl.search.runner import Pool
    from hume_ssl.search.subsets import Spaces

__all__ = [
    "Searches",
    "assign_labels",
    "best_search",
    "check_classes",
    "check_objective",
    "check_prior",
    "label_items",
    "prepare_spaces",
    "run_searches",
    "steps_to_do",
]

# k * r columns of one product that the device is busy with: on two cores its results still fit the cache.
COLUMNS, COLUMNS_CUDA = 320, 1000
ARRAYS = 12  # (subset, k) arrays in float32 that a search holds at a time
CHUNK = 65_536  # rows in one pass over all items
SEEDS_A_RUN = 100_000  # between the first searches of two neighbouring run seeds
SHARED = ("centre", "widths", "strength")  # fields of `Searches` that are not one value a search


@dataclass(frozen=True)
class Searches:
    """What r searches found, in the order of their seeds."""

    seeds: list[int]
    labellings: NDArray[np.int32]  # (r, n) one class id for every item, test items too
    objective: NDArray[np.float64]  # (r,) lower is better
    generalization_score: NDArray[np.float64]  # (r,) in [0, 1]
    classes_found: list[int]  # (r,) distinct classes among train items; fewer than k = collapsed
    iterations: list[int]
    stop_reasons: list[str]
    weights: NDArray[np.float32]  # (r, k, d1) task encoders: label = argmax(weights @ row)
    centre: NDArray[np.float32] | None  # (d1,) subtracted from a labeller row before it is scaled to unit norm
    # TURTLE alone: an encoder a space, their weights side by side; label = argmax(mean softmax(weights @ row + bias))
    bias: NDArray[np.float32] | None = None  # (r, s, k) of s spaces
    widths: list[int] | None = None  # (s,) their widths, which sum to that of the weights
    strength: float | None = None  # where class sizes are free: the factor on the entropy weight that was chosen

    def __len__(self) -> int:
        return len(self.seeds)

    def first(self, r: int) -> Searches:
        """The first r searches."""
        return Searches(*(v if name in SHARED or v is None else v[:r] for name, v in self.__dict__.items()))

    def joined(self, other: Searches) -> Searches:
        """These searches and then the others."""
        both: dict[str, Any] = dict(self.__dict__)
        for name, mine in self.__dict__.items():
            if name not in SHARED and mine is not None:
                theirs = getattr(other, name)
                both[name] = np.concatenate([mine, theirs]) if isinstance(mine, np.ndarray) else mine + theirs
        return Searches(**both)


def prepare_spaces(
    labeller: NDArray[Any],
    judges: Sequence[NDArray[Any]],
    train: NDArray[np.bool_],
    config: SearchConfig,
    device: str = "cpu",
) -> Spaces:
    """The spaces as the engine reads them; `train` is (n,) True for train items.

    For TURTLE without a labeller, give the first judge as `labeller` too.
    """
    from hume_ssl.search.subsets import Spaces, space_centre

    index = np.flatnonzero(train)
    centre = space_centre(labeller, index) if config.settings().centre and config.objective == "hume" else None
    if device.startswith("mps"):  # it has no float64, which factorisations need
        device = "cpu"
    return Spaces(labeller, list(judges), index, centre, device)


def batch_size(classes: int, config: SearchConfig, device: str = "cpu") -> int:
    """Searches side by side: `search.batch`, else by the number of classes and the device alone; a divisor of 100, so
    that hundreds of them leave none to run twice. On a CPU a search finds the same whatever runs beside it (`steady`);
    elsewhere batches of one size are what makes results independent of how many searches are asked for. A GPU takes up
    to 1,000 columns, fewer where a third of its memory does not hold them."""
    settings = config.settings()
    if settings.batch:
        return settings.batch
    most = COLUMNS // classes
    if device.startswith("cuda"):
        import torch

        a_search = 4 * ARRAYS * settings.subset_size * classes  # bytes
        fitting = torch.cuda.get_device_properties(device).total_memory // 3 // a_search
        most = min(COLUMNS_CUDA // classes, fitting)
    return max(size for size in (1, 2, 4, 5, 10, 20, 25, 50, 100) if size <= max(1, most))


def steps_to_do(searches: int, done: int, classes: int, config: SearchConfig, device: str = "cpu") -> int:
    """Outer steps of all batches still to run: the total of a progress bar."""
    size = batch_size(classes, config, device)
    batches = -(-searches // size) - done // size
    if config.prior == "free" and not done:
        from hume_ssl.search.prior import STRENGTHS

        batches += len(STRENGTHS)
    return config.settings().iterations * batches


def run_searches(
    spaces: Spaces,
    classes: int,
    config: SearchConfig,
    *,
    done: Searches | None = None,
    keep: Callable[[Searches], None] | None = None,
    progress: Progress | None = None,
    spread: Callable[[Callable[[int], Searches], Sequence[int]], Iterable[Searches]] = map,
    midway: Callable[[int], Midway] | None = None,
    pool: Pool | None = None,
) -> Searches:
    """Run `config.searches` searches; search i has the seed 100,000 * config.seed + i, so that runs share none.

    They run in batches of a size that does not depend on their number: where the last batch is not full, the seeds
    after the last run along and are dropped, so that more searches later give what all at once would have given.

    Args:
        spaces: from `prepare_spaces`.
        classes: k, from 2 to the width of the labeller; under TURTLE to the number of train items.
        done: searches of an earlier call with the same spaces and settings; whole batches of them are not run again.
        keep: called after each batch with all searches finished so far.
        progress: advanced by one an outer step; `steps_to_do` is the total.
        spread: `map` over batches by their first search, in order; another may let other processes run some of them
            (`runner.batch_runner`), which changes nothing in the result.
        midway: keeps the state of the batch that begins with a search, should it be killed.
        pool: solved subsets, {} at first, for calls that differ in the number of classes alone.

    Raises InputError: k above the width of the labeller; a search that diverged.
    """
    from hume_ssl.search.runner import batch_runner

    settings, size = config.settings(), batch_size(classes, config, spaces.device)
    strength = done.strength if done is not None else None
    run = batch_runner(spaces, classes, config, strength, progress, pool)
    whole = len(done) // size * size if done is not None else 0
    found = done.first(whole) if done is not None and whole else None
    starts = range(whole, config.searches, size)

    def one(start: int) -> Searches:
        return run(start, progress, midway(start) if midway is not None else None)

    for start, batch in zip(starts, spread(one, starts), strict=True):
        if len(batch) != size:  # another process may have another GPU
            raise InputError(
                f"a process ran {len(batch)} searches side by side, not {size}: give search.batch = {size}"
            )
        wanted = batch.first(config.searches - start)
        if lost := np.count_nonzero(~np.isfinite(wanted.objective)):
            inner = f", a smaller search.inner_lr than {settings.inner_lr}" if settings.inner_steps else ""
            raise InputError(
                f"the objective of {lost} searches is not a number: give a smaller search.outer_lr than "
                f"{settings.outer_lr}{inner}, or spaces with smaller values"
            )
        found = wanted if found is None else found.joined(wanted)
        if keep is not None:
            keep(found)
    assert found is not None  # searches >= 1
    return found.first(config.searches)


def best_search(scores: NDArray[np.float64], classes_found: Sequence[int] | NDArray[np.integer[Any]]) -> int:
    """The search with the highest generalization score among those with the most classes; the first of equals."""
    found = np.asarray(classes_found)
    return int(np.where(found == found.max(), scores, -np.inf).argmax())


def check_classes(classes: int, n: int, d1: int | None) -> None:
    """Raise InputError unless 2 <= k <= number of train items and width of the labeller (None: no such bound)."""
    if classes < 2:
        raise InputError(f"--classes {classes} is too few: give 2 or more")
    if classes > n:
        raise InputError(f"--classes {classes} is more than the {n} train items: give at most {n}")
    if d1 is not None and classes > d1:
        raise InputError(
            f"--classes {classes} is more than the {d1} directions of the labeller space, which cannot hold as many "
            f"orthogonal classes: give at most {d1}, or a wider labeller"
        )


def check_prior(config: SearchConfig, classes: int) -> None:
    """Raise InputError for class sizes that cannot be searched for: another number of shares than k, or TURTLE's."""
    prior = config.prior
    if isinstance(prior, tuple) and len(prior) != classes:
        raise InputError(
            f"search.prior has {len(prior)} class shares and --classes is {classes}: give one share a class"
        )
    if prior != "uniform" and config.objective == "turtle":
        given = prior if isinstance(prior, str) else f"{len(prior)} class shares"
        raise InputError(f"search.prior ({given}) is for HUME: with search.objective = turtle leave out --prior")


def check_objective(config: SearchConfig) -> None:
    """Raise InputError for settings that an objective cannot be searched with."""
    if config.objective == "turtle" and not config.settings().inner_steps:
        raise InputError("search.inner_steps = 0 is HUME's closed form, which TURTLE does not have: give 1 or more")


def label_items(searches: Searches, spaces: Sequence[NDArray[Any]], device: str = "cpu") -> NDArray[np.int32]:
    """(r, n) labels of any items by the stored task encoders of searches; `spaces` are those the encoders read.

    Raises InputError where number or widths of the spaces are not those the searches were run in.
    """
    wanted = searches.widths if searches.widths is not None else [searches.weights.shape[2]]
    if (widths := [space.shape[1] for space in spaces]) != wanted:
        raise InputError(
            f"the task encoders read {len(wanted)} space(s) of width {', '.join(map(str, wanted))}, not "
            f"{len(widths)} of width {', '.join(map(str, widths))}: give those of the run, in its order"
        )
    if searches.bias is not None:
        from hume_ssl.search.turtle_spaces import label_rows

        return label_rows(spaces, searches.weights, searches.bias, device)
    import torch

    return assign_labels(spaces[0], torch.from_numpy(searches.weights).mT.contiguous(), searches.centre, device)


def assign_labels(
    labeller: NDArray[Any], weights: torch.Tensor, centre: NDArray[np.float32] | None, device: str = "cpu"
) -> NDArray[np.int32]:
    """(r, n) labels of all items by HUME's task encoders (r, d1, k), in chunks; memory-mapped spaces welcome."""
    import torch

    from hume_ssl.search.orthonormal import columns
    from hume_ssl.search.steady import product
    from hume_ssl.search.subsets import unit_rows

    r, _, k = weights.shape
    matrix = columns(weights).to(device)
    labellings = np.empty((r, len(labeller)), dtype=np.int32)
    step = max(1, min(CHUNK, (1 << 27) // (k * r)))
    for start in range(0, len(labeller), step):
        rows = torch.from_numpy(np.array(labeller[start : start + step])).to(device, matrix.dtype)
        scores = product(unit_rows(rows, centre), matrix).view(len(rows), k, r)
        labellings[:, start : start + step] = scores.argmax(1).T.cpu().numpy()
    return labellings
