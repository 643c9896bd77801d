"""What a discover came to: facts for run.json and `--json`, and the lines a person reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from hume_ssl.consensus import class_sizes
from hume_ssl.discovery import Discovery
from hume_ssl.run import RunFolder


def summary(items: int, found: Discovery) -> dict[str, Any]:
    """The facts of a discovery of so many items; shares in [0, 1]."""
    heavier = np.flatnonzero(found.weights >= np.median(found.weights[found.weights > 0]))
    sizes = class_sizes(found.searches.labellings, found.labels, found.classes, found.train, heavier)
    # Of a disputed class, where there is one: a smaller one may vary more by its few items.
    variation = sizes.variation[sizes.disputed] if sizes.disputed.any() else sizes.variation
    return {
        "items": items,
        "train_items": int(found.train.sum()),
        "classes": found.classes,
        "class_sizes": sorted(sizes.items.tolist(), reverse=True),
        "size_variation": round(float(variation.max()), 6),
        "disputed_sizes": int(np.count_nonzero(sizes.disputed)),
        **({"strength": found.searches.strength} if found.searches.strength is not None else {}),
        "collapsed_searches": int(np.count_nonzero(np.array(found.searches.classes_found) < found.classes)),
        "left_out_searches": dict(Counter(reason.partition(":")[0] for reason in found.left_out if reason)),
        "neighbours": found.neighbour_search,
        "mean_agreement": round(float(found.agreement[found.train].mean()), 6),
        "reliable_items": int(np.count_nonzero(found.reliable & found.train)),
    }


def shown(stage: dict[str, Any]) -> dict[str, Any]:
    """Those of the facts in a stage's record that `--json` prints."""
    sizes = ("class_sizes", "size_variation", "disputed_sizes", "strength")
    keys = ("searches", "items", "train_items", "classes", *sizes, "mean_agreement", "reliable_items", "seconds")
    return {key: stage[key] for key in keys if key in stage}


def tell(run: RunFolder, say: Callable[[str], None], facts: dict[str, Any], r: int, stale: list[str]) -> None:
    """Say what r searches came to, what is to be taken with care, and what comes next."""
    sizes = facts["class_sizes"]
    found = len([size for size in sizes if size])
    say(
        f"{r} {_some(r, 'search', 'searches')} found {found} {_some(found, 'class', 'classes')} in "
        f"{facts['train_items']} train items (largest {sizes[0]}, smallest {sizes[-1]}); {facts['reliable_items']} "
        f"items are reliable, mean agreement {facts['mean_agreement']:.2f}"
    )
    for line in warnings_of(facts, r):
        say(f"warning: {line}")
    if facts["left_out_searches"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in facts["left_out_searches"].items())
        say(f"warning: of {r} searches some are left out of the votes: {kinds}; {run.searches_csv} says why")
    if "strength" in facts:
        say(f"class sizes are free: drawn to one size with {facts['strength']:g} of the usual weight")
    if facts["disputed_sizes"]:
        say(
            f"warning: the searches disagree about the size of {facts['disputed_sizes']} of {facts['classes']} classes "
            f"(one by {facts['size_variation']:.0%} from search to search): trust the sizes of these only after a look"
        )
    if stale:
        say(f"now stale, made from the old consensus: {', '.join(stale)}")
    say(f"written to {run.path}: consensus.csv, searches/, spaces/. Next: hume-ssl select --per-class 4{run.flag}")


def warnings_of(facts: dict[str, Any], r: int) -> list[str]:
    """What `summary` says of lost classes that no list of left-out searches shows; r searches."""
    k, lost = facts["classes"], facts["collapsed_searches"] - facts["left_out_searches"].get("collapsed", 0)
    lines = []
    if lost > 0:
        lines.append(
            f"{lost} of {r} searches found fewer than {k} classes and vote all the same, as too few found more"
        )
    if empty := facts["class_sizes"].count(0):
        lines.append(
            f"{empty} of {k} classes {_some(empty, 'is', 'are')} empty: ask for fewer --classes, run more searches, or "
            "give other spaces"
        )
    return lines


def _some(count: int, one: str, more: str) -> str:
    return one if count == 1 else more
