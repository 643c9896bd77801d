"""`score`: any labelling of the user's, measured as the run's searches are. It reads a finished run, writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hume_ssl import metrics
from hume_ssl.devices import pick_device
from hume_ssl.errors import InputError
from hume_ssl.files import plain
from hume_ssl.item_columns import load_truth
from hume_ssl.run import RunFolder
from hume_ssl.search import Searches, prepare_spaces
from hume_ssl.search.score import generalization_scores, labelling_objective, score_method
from hume_ssl.search.subsets import Spaces
from hume_ssl.stages.artefacts import stored_searches
from hume_ssl.stages.table import Found, load_found, stored_items, stored_recipe, stored_spaces


def score(run: RunFolder, labels_file: str, say: Callable[[str], None], *, device: str | None = None) -> dict[str, Any]:
    """Objective and generalization score of a labelling, its rank among the run's searches, and its likeness to the
    consensus; facts for `--json`.

    Train items with a label count, as the searches see train items alone; the others (-1, or not listed) are left out
    of everything, as if they were no items of the run: the objective's random subsets are then others than those of the
    searches.

    Args:
        labels_file: npy in the order of items.csv, or CSV filepath,label; any number of classes from 2.
        device: None: that of the run's recipe.

    Raises InputError: no finished discover, another length than the items, fewer than two classes, too few items.
    """
    found = load_found(run)
    root = stored_items(run).root if Path(labels_file).suffix.lower() == ".csv" else None
    given, _ = load_truth(labels_file, found.filepaths, root)
    known = found.train & (given >= 0)
    classes, labels = np.unique(given[known], return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"{labels_file} has {len(classes)} classes among the {int(found.train.sum())} train items of {run.path}: "
            "give labels of two or more"
        )
    config = stored_recipe(run).search
    spaces, searches = _spaces(run, known, config, device), stored_searches(run)
    objective = labelling_objective(spaces, labels, len(classes), config)
    method = score_method(int(found.train.sum()), spaces.d2, len(found.names))  # as the searches were scored
    generalization = float(generalization_scores(spaces, labels[None], len(classes), method)[0])
    facts = {
        "labels": labels_file,
        "n": len(labels),
        "classes": len(classes),
        "objective": objective,
        "generalization_score": generalization,
        "rank": {
            "objective": _rank(-objective, -searches.objective),
            "generalization_score": _rank(generalization, searches.generalization_score),
            "searches": len(searches),
        },
        "agreement_with_consensus": {
            "acc": metrics.acc(labels, found.labels[known], len(classes)),
            "ari": metrics.ari(labels, found.labels[known]),
        },
    }
    for line in _lines(facts, found, searches):
        say(line)
    return dict(plain(facts))


def _spaces(run: RunFolder, known: Any, config: Any, device: str | None) -> Spaces:
    """The spaces of the run, memory-mapped, with the labelled train items as all there are."""
    labeller, judges = stored_spaces(run)
    return prepare_spaces(labeller, judges, known, config, str(pick_device(device or config.device)))


def _rank(value: float, others: Any) -> int:
    """1 + the number of searches that are better; of equals, ours comes first."""
    return 1 + int(np.count_nonzero(np.asarray(others) > value))


def _lines(facts: dict[str, Any], found: Found, searches: Searches) -> list[str]:
    """The facts as a person reads them."""
    rank, like, k, r = facts["rank"], facts["agreement_with_consensus"], facts["classes"], len(searches)
    unlabelled = int(found.train.sum()) - facts["n"]
    lines = [
        f"{facts['labels']}: {facts['n']} labelled train items of {k} classes"
        + (f"; {unlabelled} without a label are left out, and ranks are approximate" if unlabelled else ""),
        f"objective             {facts['objective']:.4f}  rank {rank['objective']} of {r} (lower is better)",
        f"generalization score  {facts['generalization_score']:.4f}  rank {rank['generalization_score']} of {r}",
        f"consensus             accuracy {like['acc']:.4f}  ARI {like['ari']:.4f} between the two",
    ]
    if k != len(found.names):
        lines.append(f"the searches have {len(found.names)} classes: fewer are easier to learn, so ranks say little")
    return lines
