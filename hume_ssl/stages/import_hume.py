"""`import-hume`: searches that HUME's published code has run, as a finished run folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hume_ssl.config import DiscoverRecipe, override
from hume_ssl.distributed import refuse
from hume_ssl.errors import InputError
from hume_ssl.files import sha256_file
from hume_ssl.imports.hume_files import find_results, find_tasks, read_score, read_task
from hume_ssl.progress import track
from hume_ssl.run import RunFolder, decide
from hume_ssl.search import Searches, assign_labels, prepare_spaces
from hume_ssl.search.score import generalization_scores, labelling_objectives, score_method
from hume_ssl.stages.discover import conclude_run, kept_files, spaces_of, write_inputs
from hume_ssl.stages.inputs import Inputs, prepare
from hume_ssl.stages.outcome import shown
from hume_ssl.stages.table import DISCOVER


def import_hume(
    run: RunFolder,
    folder: Path,
    labeller: str,
    judge: str,
    say: Callable[[str], None],
    *,
    images: str | None = None,
    split: str | None = None,
    overwrite: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Make a run of the task files in `folder`, with our consensus of them; facts for `--json`.

    Labellings are those of the stored task encoders. The generalization score is the file's CV_Score where every search
    has one, else worked out as for our own searches; so is the objective, as the published code keeps none.

    Args:
        folder: with linear_task_SEED.pt, and perhaps results_SEED.pickle.
        labeller, judge: .npy (n, d1) and (n, d2), the --phi1_path and --phi2_path of the searches.
        images: what discover takes, in the order of the rows.
        split: as for discover.

    Raises InputError before anything is written: files that cannot be read, or do not belong to the spaces or to one
    another; another run in its place.
    """
    refuse("import-hume")
    began = time.monotonic()
    tasks = find_tasks(folder)
    results = {seed: path for seed, path in find_results(folder).items() if seed in tasks}
    weights = _weights(tasks)
    r, k, d1 = weights.shape
    recipe = override(
        DiscoverRecipe(name="hume", about="searches of the published code, imported"),
        {
            "data.labeller": labeller,
            "data.judges": (judge,),
            "data.images": images,
            "data.classes": k,
            "data.split": split,
            "search.searches": r,
        },
    )
    inputs = prepare(recipe, show=show)
    assert inputs.sources[0].array is not None
    if (width := inputs.sources[0].array.shape[1]) != d1:
        raise InputError(
            f"{next(iter(tasks.values()))} reads {d1} columns and {labeller} has {width}: give the space that "
            "was its --phi1_path"
        )
    scores = [read_score(results[seed]) for seed in tasks] if len(results) == r else None
    hashes = {path.name: sha256_file(path) for path in [*tasks.values(), *(results.values() if scores else ())]}
    identity = {**inputs.identity, "imported": hashes}
    if decide(run, DISCOVER, identity, overwrite=overwrite, resumable=False) == "finished":
        say(f"{run.path} has these searches already: nothing to do. Next: hume-ssl select --per-class 4{run.flag}")
        return {"run": str(run.path), **shown(run.stage(DISCOVER))}
    run.remove_stage(DISCOVER, kept_files(run, inputs))
    run.begin_stage(DISCOVER, identity, searches=r, imported=str(folder.absolute()), device=inputs.device)
    write_inputs(run, inputs, inputs.recipe)
    first, judges = spaces_of(run, inputs, show)
    with track(1, f"{r} searches scored", show=show) as progress:
        searches = _searches(list(tasks), weights, scores, inputs, first, judges)
        progress.advance(1)
    whose = "their own CV scores" if scores else f"scores worked out here, as {r - len(results)} of them have none"
    say(f"{r} searches of {folder} imported, with {whose}")
    return {**conclude_run(run, inputs, searches, first, judges, began, say, show=show), "imported": r}


def _weights(tasks: dict[int, Path]) -> torch.Tensor:
    """(r, k, d1) of all task files. Raises InputError where two are of different shapes."""
    read = {path: read_task(path) for path in tasks.values()}
    (first, weight), *_ = read.items()
    for path, other in read.items():
        if other.shape != weight.shape:
            (k, d), (k2, d2) = weight.shape, other.shape
            raise InputError(
                f"{first} has {k} classes on {d} columns and {path} {k2} on {d2}: import searches of one kind"
            )
    return torch.from_numpy(np.stack(list(read.values())))


def _searches(
    seeds: list[int],
    weights: torch.Tensor,
    scores: list[float] | None,
    inputs: Inputs,
    labeller: Any,
    judges: list[Any],
) -> Searches:
    """The searches as our own are kept: labels of all items, objective and score on train items."""
    k, train = inputs.classes, inputs.train
    labellings = assign_labels(labeller, weights.mT.contiguous(), None)
    spaces = prepare_spaces(labeller, judges, train, inputs.recipe.search, inputs.device)
    seen = labellings[:, train]
    if scores is None:
        scores = generalization_scores(spaces, seen, k, score_method(int(train.sum()), spaces.d2, k)).tolist()
    return Searches(
        seeds=seeds,
        labellings=labellings,
        objective=labelling_objectives(spaces, seen, k, inputs.recipe.search),
        generalization_score=np.array(scores, dtype=np.float64),
        classes_found=[len(np.unique(row)) for row in seen],
        iterations=[0] * len(seeds),
        stop_reasons=["imported"] * len(seeds),
        weights=weights.numpy(),
        centre=None,
    )
