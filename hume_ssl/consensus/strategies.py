"""Which of the reliable items are picked for the label file: the most certain, such as cover the class, or any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus.coverage import cover, reach_of, stood_for, without_duplicates
from hume_ssl.consensus.nearest import _unit
from hume_ssl.consensus.prototypes import likeness
from hume_ssl.consensus.reliable import Shares, check_enough, reliable_items
from hume_ssl.errors import InputError

Strategy = Literal["certain", "cover", "random"]
# FixMatch on digits: as good as "cover" at 4 a class, better at 25 (tests/bench/fixmatch.py); more labels are right.
DEFAULT_STRATEGY: Strategy = "certain"
CANDIDATES = 2000  # of a class among which coverage and near-duplicates are looked at; 4 N, if that is more,
MOST = 8000  # but no more than this: it takes the square of so many in time and memory
SPREAD = 10  # `cover` goes N + 10 sqrt(N) items down the order of certainty: 11 for one, 24 for 4, 75 for 25,
HALF = 0.5  # but no further than this share of the class,
SURE = 0.95  # and picks there only what more than this share of the searches and of the neighbours agree about


@dataclass(frozen=True)
class Picked:
    """The selection, class by class, in the order of picking: the rows of a label file."""

    index: NDArray[np.int64]  # (m,) items
    label: NDArray[np.int64]  # (m,) their classes
    rank: NDArray[np.int64]  # (m,) 1 = picked first of its class
    reason: list[str]  # (m,) why it was picked


def pick(
    labels: NDArray[np.int64],
    agreement: Shares,
    neighbour_agreement: Shares,
    train: NDArray[np.bool_],
    per_class: int,
    k: int,
    *,
    strategy: str | None = None,
    spaces: Sequence[NDArray[Any]] = (),
    seed: int = 0,
    allow_short: bool = False,
    names: Sequence[str] | None = None,
) -> Picked:
    """At most `per_class` reliable train items of each class.

    `certain`: those most like the prototype of their class first (`likeness`). `cover`: among the
    N + 10 sqrt(N) most certain (no more than the more certain half of a class) that more than 0.95 of the searches and
    of the neighbours agree about, those that together lie nearest to the whole class, at N = 1 a medoid; where these
    are no more than N, as `certain`. `random`: any, by the seed. None of them picks a near-duplicate of a
    picked item of the class, unless the class would be short without. Without spaces, certain is an item as its weaker
    witness: the smaller of agreement and neighbour agreement, then the sum of both, then the order of items; and
    copies go unseen.

    Coverage and near-duplicates are looked at among the 2000 first items of a class, or 4 N, if that is more, up to
    8000. Where those are too few, the items after them come next, as they are, and near-duplicates last.

    Args:
        labels, agreement, neighbour_agreement: (n,) the consensus.
        train: (n,) True for train items.
        per_class: N, 1 or more.
        strategy: "certain", "cover" or "random"; None: "certain".
        spaces: (n, d) each, the labeller and the judges, memory-mapped or not; needed for "cover".
        seed: of the draws.
        allow_short: take what there is where a class has fewer.
        names: (k,) class names for the table of an error.

    Raises:
        InputError: `per_class` below 1, an unknown strategy, spaces of other length, or none where needed.
        TooFewReliable: a class has fewer reliable items, and `allow_short` is off; or no class has any.
    """
    if per_class < 1:
        raise InputError(f"--per-class {per_class} picks nothing: give 1 or more")
    strategy = strategy or DEFAULT_STRATEGY
    if strategy not in get_args(Strategy):
        raise InputError(f"no strategy {strategy!r}: give one of {', '.join(get_args(Strategy))}")
    if not spaces and strategy == "cover":
        raise InputError("strategy cover measures in spaces: give spaces=[labeller, judge], or strategy certain")
    for space in spaces:
        if len(space) != len(labels):
            raise InputError(f"a space has {len(space)} rows for {len(labels)} items: give spaces of the same items")
    candidates = train & reliable_items(agreement, neighbour_agreement)
    have = np.bincount(labels[candidates], minlength=k)
    check_enough(have, per_class, allow_short=allow_short, names=names)
    order = _order(labels, agreement, neighbour_agreement, train, candidates, k, strategy, spaces, seed)
    sure = np.minimum(agreement, neighbour_agreement) > SURE
    order = order[np.argsort(labels[order], kind="stable")]
    chosen, reasons = [], []
    for items in np.split(order, np.cumsum(have)[:-1]):
        places, why = _choose(items, per_class, strategy, spaces, seed, sure)
        chosen.append(items[places])
        shares = zip(agreement[chosen[-1]], neighbour_agreement[chosen[-1]], strict=True)
        reasons += [
            f"{text}: {a:.0%} of searches and {b:.0%} of neighbours agree"
            for text, (a, b) in zip(why, shares, strict=True)
        ]
    index = np.concatenate(chosen)
    rank = np.concatenate([np.arange(1, len(items) + 1) for items in chosen])
    return Picked(index, labels[index], rank, reasons)


def _order(
    labels: NDArray[np.int64],
    agreement: Shares,
    neighbour_agreement: Shares,
    train: NDArray[np.bool_],
    candidates: NDArray[np.bool_],
    k: int,
    strategy: str,
    spaces: Sequence[NDArray[Any]],
    seed: int,
) -> NDArray[np.int64]:
    """The candidates, the first choice first."""
    items = np.flatnonzero(candidates)
    if strategy == "random":
        return np.random.default_rng(seed).permutation(items)
    keys = [np.minimum(agreement, neighbour_agreement), agreement + neighbour_agreement]
    if spaces:
        keys.insert(0, likeness(spaces, labels, agreement, neighbour_agreement, train, k))
    return items[np.lexsort([items, *(-key[items] for key in reversed(keys))])]


def _choose(
    items: NDArray[np.int64],
    n: int,
    strategy: str,
    spaces: Sequence[NDArray[Any]],
    seed: int,
    sure: NDArray[np.bool_],
) -> tuple[list[int], list[str]]:
    """Places of at most `n` of the items (m,) of a class, in the order of choice, and why each; `sure` is (n,)."""
    if strategy == "random":
        why = f"drawn at random from {len(items)} (seed {seed})"
    else:
        why = f"number {{}} of {len(items)} by certainty"
    if not spaces or not len(items):
        places = list(range(min(n, len(items))))
        return places, [why.format(place + 1) for place in places]
    rows = _unit(spaces, items[: max(CANDIDATES, min(4 * n, MOST))]) / np.sqrt(len(spaces), dtype=np.float32)
    reach = reach_of(rows)
    depth = min(n + int(SPREAD * np.sqrt(n)), int(HALF * len(rows)))
    sites = np.flatnonzero(sure[items[:depth]])
    picked = cover(rows, sites, n, reach) if strategy == "cover" and len(sites) > n else []
    places = without_duplicates(rows, n, reach, picked)
    reasons = [why.format(place + 1) for place in places]
    if strategy == "cover":
        counts = stood_for(rows, places)
        reasons = [f"nearest pick for {count} items and {text}" for count, text in zip(counts, reasons, strict=True)]
    beyond = list(range(len(rows), len(items)))[: n - len(places)]
    reasons += [why.format(place + 1) for place in beyond]
    twins = sorted(set(range(len(rows))) - set(places))[: n - len(places) - len(beyond)]
    taken = rows[places]
    for place in twins:
        other = items[places[int((taken @ rows[place]).argmax())]]
        reasons.append(f"near-duplicate of item {other} taken for want of others, {why.format(place + 1)}")
    return [*places, *beyond, *twins], reasons
