"""How good a labelling is by the judge space alone: its generalization score, and its objective. No truth is needed."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.schema import SearchConfig
from hume_ssl.search import turtle_batch
from hume_ssl.search.logistic import held_out_hits
from hume_ssl.search.precision import matmul_dtype
from hume_ssl.search.solvers import OBJECTIVE_SUBSETS, Solvers
from hume_ssl.search.subsets import Spaces
from hume_ssl.search.turtle_spaces import Turtle

Method = Literal["logistic", "ridge"]

FOLDS = 10
ITEMS = 20_000  # train items the score is measured on, drawn once, where there are more
CELLS = 1 << 29  # items * classes * searches that `labelling_objectives` holds at once, a byte each
LIMIT = 4e9  # items * directions * classes * folds above which the closed form takes its place
MEMORY = 500e6  # bytes for the problems fitted side by side
RIDGE = 1e-3  # times the mean square of a judge direction
COLUMNS = 4096  # one-hot columns the closed form solves for at once


def score_method(items: int, d: int, classes: int) -> Method:
    """How `generalization_scores` fits: "logistic", or "ridge" where that would take hours for a hundred searches.

    By size alone, so that all labellings of a run, on whichever device, are scored in one way. With 20,000 items and
    1024 directions, up to 19 classes are "logistic".
    """
    return "logistic" if float(min(items, ITEMS)) * d * classes * FOLDS <= LIMIT else "ridge"


def generalization_scores(
    spaces: Spaces, labellings: NDArray[np.integer], classes: int, method: Method | None = None
) -> NDArray[np.float64]:
    """Cross-validated accuracy of a linear classifier on each labelling, in the judge space (HUME, section 3.4).

    As in the published code: unregularised logistic regression, ten folds shuffled once with seed 1, mean accuracy on
    the folds left out. All labellings and folds are fitted side by side, by the steps scikit-learn takes
    (`hume_ssl.search.logistic`). Products are in bfloat16 where the hardware has it, whatever `search.precision` says
    of the searches: single scores then differ by a few items. tests/bench/score.py compares with scikit-learn on three
    data sets.

    Args:
        labellings: (r, m) classes 0..k-1 of the train items, in the order of `spaces.train`. At most 20,000 items,
            drawn once, are looked at.
        classes: k.
        method: None: `score_method`. "ridge" is ridge regression on one-hot labels with a free intercept: one
            factorisation a fold serves all labellings, and the memory it takes does not grow with their number.

    Returns:
        (r,) accuracy in [0, 1]; 1 = the judge space holds every class apart linearly. A labelling with few distinct
        classes is easy to learn, so compare scores only between searches that found all classes.
    """
    m = labellings.shape[1]
    picked = np.arange(m)
    if m > ITEMS:
        picked = np.sort(np.random.default_rng(1).choice(m, ITEMS, replace=False))
    x = spaces.judge_rows(spaces.train[picked])
    labels = torch.from_numpy(labellings[:, picked].astype(np.int64)).to(x.device)
    folds = fold_numbers(len(picked))
    if (method or score_method(m, spaces.d2, classes)) == "ridge":
        hits = _ridge_hits(x.double(), labels, folds, classes)
    else:
        dtype = matmul_dtype("auto", spaces.device, spaces.dtype)
        # A problem's logits, step and residual are (k, n), its pairs (k, d).
        bytes_each = classes * (len(x) * 10 + x.shape[1] * 100)
        side_by_side = max(1, int(MEMORY / bytes_each))
        hits = held_out_hits(x, labels, torch.from_numpy(folds).to(x.device), classes, dtype, side_by_side)
    return np.asarray((hits / np.bincount(folds)).mean(1))


def fold_numbers(n: int) -> NDArray[np.int64]:
    """(n,) the fold that leaves each item out: scikit-learn's KFold(10, shuffle=True, random_state=1)."""
    from sklearn.model_selection import KFold

    folds = np.empty(n, dtype=np.int64)
    for number, (_, left_out) in enumerate(KFold(min(FOLDS, n), shuffle=True, random_state=1).split(folds)):
        folds[left_out] = number
    return folds


def _ridge_hits(x: Tensor, labels: Tensor, folds: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(r, f) as `held_out_hits`, by ridge regression."""
    hits = []
    for fold in range(int(folds.max()) + 1):
        learn = torch.from_numpy(np.flatnonzero(folds != fold)).to(x.device)
        left_out = torch.from_numpy(np.flatnonzero(folds == fold)).to(x.device)
        hits.append(_fold_hits(x[learn], x[left_out], labels[:, learn], labels[:, left_out], k))
    return np.stack(hits, 1)


def _fold_hits(x_tr: Tensor, x_te: Tensor, y_tr: Tensor, y_te: Tensor, k: int) -> NDArray[np.int64]:
    """(r,) held-out items each labelling's classifier gets right; x (n, d), y (r, n)."""
    gram = x_tr.T @ x_tr / len(x_tr)
    free = gram.diagonal()[:-1]
    free += RIDGE * free.mean() + 1e-9 * gram.diagonal().max()
    factor = torch.linalg.cholesky(gram)
    hits = []
    for some in range(0, len(y_tr), step := max(1, COLUMNS // k)):
        one_hot = torch.nn.functional.one_hot(y_tr[some : some + step], k)  # (r, n, k)
        sums = torch.einsum("nd,rnk->drk", x_tr, one_hot.to(x_tr)) / len(x_tr)
        theta = torch.cholesky_solve(sums.flatten(1), factor)
        predicted = (x_te @ theta).view(len(x_te), -1, k).argmax(2)
        hits.append((y_te[some : some + step] == predicted.T).sum(1))
    return torch.cat(hits).cpu().numpy()


def labelling_objective(spaces: Spaces, labels: NDArray[np.integer], classes: int, config: SearchConfig) -> float:
    """The objective of any labelling of the train items, (m,) classes 0..k-1; lower is better.

    Measured as a run measures its searches (`solvers.objective`, `turtle_batch.objective`), on the same subsets, with
    hard labels in place of a task encoder's. HUME's are all but hard at the last temperature; TURTLE's are not, so that
    there a search's own objective has the softness of its labels in it. `classes` may be another number than the
    run's; the objective grows with it.
    """
    if config.objective == "turtle":
        one_hot = _one_hot(labels[None], classes).to(spaces.device, spaces.dtype)
        return turtle_batch.labelling_objective(Turtle(spaces, classes, config.settings()), one_hot)
    return float(labelling_objectives(spaces, labels[None], classes, config)[0])


def labelling_objectives(
    spaces: Spaces, labellings: NDArray[np.integer], classes: int, config: SearchConfig
) -> NDArray[np.float64]:
    """(r,) HUME's objective of labellings (r, m) of the train items, as `labelling_objective` has it of one; as many
    side by side as memory takes."""
    r, m = labellings.shape
    width, found = max(1, CELLS // (m * classes)), []
    for start in range(0, r, width):
        some = labellings[start : start + width]
        solvers, totals = Solvers(spaces, classes, config.settings()), torch.zeros(len(some), dtype=torch.float64)
        one_hot = _one_hot(some, classes)
        for number in range(OBJECTIVE_SUBSETS):
            judged = solvers.for_objective(number, len(some))
            train, test = (
                one_hot[rows.cpu()].to(spaces.device, spaces.dtype)
                for rows in (judged.subset.train, judged.subset.test)
            )
            totals += judged.solve(train, test).loss.double().cpu()
            solvers.pool.clear()  # one subset's solver in memory at a time
        found.append(totals.numpy() / OBJECTIVE_SUBSETS)
    return np.concatenate(found)


def _one_hot(labellings: NDArray[np.integer], classes: int) -> torch.Tensor:
    """(m, k, r) of labellings (r, m), a byte a cell."""
    labels = torch.from_numpy(labellings.T.astype(np.int64))
    return torch.zeros(len(labels), classes, labels.shape[1], dtype=torch.uint8).scatter_(1, labels[:, None], 1)
