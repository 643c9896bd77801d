"""`assign --from searches`: new items by the task encoders of all searches, aligned and voted as the run's own were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.consensus import (
    agreement_of_new,
    apply_answers,
    find_nearest_of_new,
    match,
    reliable_items,
    vote_share,
    weighted_vote,
)
from hume_ssl.items import Items
from hume_ssl.run import RunFolder
from hume_ssl.search import label_items
from hume_ssl.stages.artefacts import stored_searches
from hume_ssl.stages.inputs import Role
from hume_ssl.stages.new_spaces import check_sources, space_of_new
from hume_ssl.stages.table import Found, stored_recipe, stored_roles

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Assigned:
    """What the searches say of m new items, as consensus.csv has it of the run's own."""

    labels: Ids  # (m,)
    agreement: NDArray[np.float64]  # (m,)
    neighbour_agreement: NDArray[np.float64]  # (m,) with the train items of the run
    reliable: NDArray[np.bool_]  # (m,)


def sources_of(run: RunFolder, items: Items | None, given: dict[str, str]) -> list[Role]:
    """The spaces that new items are wanted in: those the task encoders read, and those of the neighbours.

    Raises InputError where one cannot be had.
    """
    names, turtle = list(stored_roles(run)), stored_recipe(run).search.objective == "turtle"
    wanted = {*(names if turtle else names[:1]), *_neighbour_spaces(run)}
    return check_sources(run, [name for name in names if name in wanted], items, given)


def _neighbour_spaces(run: RunFolder) -> list[str]:
    """The roles of the spaces in which `discover` looked for neighbours, as `chosen_spaces` has them."""
    names, choice = list(stored_roles(run)), stored_recipe(run).consensus.neighbour_space
    if "labeller" not in names or choice == "both":
        return names
    return names[:1] if choice == "labeller" else names[1:] or names


def assign_classes(
    run: RunFolder,
    found: Found,
    roles: list[Role],
    items: Items | None,
    given: dict[str, str],
    device: str,
    *,
    show: bool = True,
) -> Assigned:
    """Label new items by all task encoders of a finished run.

    The votes of each search count as they did for the run's own items, so that those, given again, get their own labels
    and shares. Where people's answers moved the consensus, new items move with the groups they are in.

    Args:
        found: the run's consensus.
        roles: from `sources_of`.
        items, given: new images, or new rows by role.
        device: of encoders that are networks.
        show: progress on stderr.
    """
    # What the run has is read before hours go into the new spaces.
    names, recipe, searches = list(stored_roles(run)), stored_recipe(run), stored_searches(run)
    where = _neighbour_spaces(run)
    old = [run.read_npy(run.spaces / stored_roles(run)[name]["file"]) for name in where]
    run.unaltered(run.matching)
    new = {role.name: space_of_new(run, role, items, given, device, show=show) for role in roles}
    read = names if searches.bias is not None else names[:1]
    labellings = label_items(searches, [new[name] for name in read])
    labels, agreement = _vote(run, found, labellings, searches.labellings)
    nearest = find_nearest_of_new(old, [new[name] for name in where], found.train, recipe.consensus.neighbours)
    nearby = agreement_of_new(nearest, labels, found.labels, found.train)
    return Assigned(labels, agreement, nearby, reliable_items(agreement, nearby))


def _vote(run: RunFolder, found: Found, new: Any, old: Any) -> tuple[Ids, NDArray[np.float64]]:
    """Labels (m,) and agreement (m,) of the labellings (r, m) of new items, beside those (r, n) of the run's own."""
    for path in (run.searches_csv, run.matching):
        run.unaltered(path)
    table = run.read_csv(run.searches_csv)
    weights = table["weight"].to_numpy(dtype=np.float64) if "weight" in table else np.ones(len(old))
    answered = found.answered is not None
    base = run.read_csv(run.searches_consensus_csv)["label"].to_numpy(dtype=np.int64) if answered else found.labels
    k = len(found.names)
    if run.matching.is_file():
        tensors, facts = run.read_safetensors(run.matching)
        matching, ids = tensors["matching"].numpy(), tensors["ids"].numpy()
        labels = ids[weighted_vote(new, matching, weights, k, new[int(facts["reference"])].astype(np.int64))]
        matching = ids[matching]
    else:  # a run of before it was kept
        matching = match(old, base, k, found.train)
        heaviest = int(weights.argmax())
        labels = weighted_vote(new, matching, weights, k, matching[heaviest][new[heaviest]])
    agreement = vote_share(new, matching, weights, labels)
    if found.answered is None:
        return labels, agreement
    n, index = len(base), np.flatnonzero(found.answered >= 0)
    corrected = apply_answers(
        np.hstack([old, new]),
        np.concatenate([base, labels]),
        np.concatenate([vote_share(old, matching, weights, base), agreement]),
        index,
        found.answered[index],
        k,
        weights=weights,
        train=np.concatenate([found.train, np.zeros(len(labels), dtype=bool)]),
    )
    return corrected.labels[n:], corrected.agreement[n:]
