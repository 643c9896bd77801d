"""Dawid-Skene: the vote of searches, each counted by how it errs, estimated from the labellings alone.

The model (Dawid and Skene, 1979, Applied Statistics 28, 20-28): an item has one true class c, drawn from `prior`;
search s then says v with probability `confusion[s, c, v]`, whatever the others say. EM finds both from the votes: the
E-step gives every item the posterior of its class (their eq. 2.5), the M-step counts votes under it (2.3 and 2.4).

What a posterior means here: little. Searches that share spaces err together, which the model takes for so many separate
witnesses, so that posteriors are over-confident: nearly all lie at 0 or 1, wrong ones too. Items are therefore ranked
by agreement, whichever vote named their class, and `DawidSkene.confidence` is no share of right items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hume_ssl.errors import InputError

Labels = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
Model = Literal["confusion", "one-coin"]

FULL_UP_TO = 1 << 24  # r k^2: cells of all confusion tables, 128 MiB in float64, held three times over
CHUNK_CELLS = 1 << 20  # cells of a chunk's posteriors, where nothing else is asked for
TIE = 1e-9  # posteriors as near as this are equal: the order of sums must not choose the class


@dataclass(frozen=True)
class DawidSkene:
    """What EM ended at; n items, r searches, k classes."""

    labels: NDArray[np.int64]  # (n,) the class with the largest posterior; of equals the lowest id
    confidence: Floats  # (n,) its posterior, in [0, 1]; over-confident, see the module
    accuracy: Floats  # (r,) probability that a search names the true class; 1/k or so = chance
    confusion: Floats | None  # (r, k, k) true class, said class; rows sum to 1; None under "one-coin"
    prior: Floats  # (k,) share of items of each class, sums to 1
    log_likelihood: float  # mean over the items learned from, nats; what EM climbs, less the made-up votes
    iterations: int  # M-steps made
    model: Model


def dawid_skene(
    aligned: Labels,
    k: int,
    *,
    weights: ArrayLike | None = None,
    train: NDArray[np.bool_] | None = None,
    start: Labels | None = None,
    model: Model | None = None,
    smoothing: float = 1.0,
    iterations: int = 100,
    tolerance: float = 1e-6,
    chunk: int | None = None,
) -> DawidSkene:
    """Vote by EM over the searches' confusion tables.

    No (n, k) or (r, n, k) array is made; votes are read chunk by chunk, from a memory map as well. "confusion" holds
    r k^2 float64 three times, 2.4 GB at r = 100 and k = 1000, and an iteration costs n r k; "one-coin", where a search
    has one accuracy and errs evenly among the other classes, holds r numbers and costs n (r + k). Class ids are those
    of `aligned`, since EM starts from its votes. Fewer than three searches do not say which of them errs: then one step
    is made, whatever `iterations` says.

    Args:
        aligned: (r, n) class ids 0..k-1, of any whole-number type, the labellings renamed to one another.
        k: classes.
        weights: (r,) how many votes each search's vote counts for, 0 or more; None: 1. Weight 2 is the search twice.
        train: (n,) True for the items that the tables are learned from; all are labelled. None: all.
        start: (n,) class ids that EM starts from; None: each item's weighted shares of the vote.
        model: None: "confusion" where r k^2 is at most 2^24, else "one-coin", as tables of that size have too few votes
            a cell as well.
        smoothing: made-up votes for each search and class, spread evenly over what it may say, and for the prior,
            spread evenly over classes; above 0, so that no class is ever impossible. EM then climbs to a maximum of
            the posterior under that Dirichlet prior.
        iterations: at most so many M-steps.
        tolerance: EM stops when what it climbs, over the number of train items, rises by less, in nats.
        chunk: items looked at at once; None: about 2^20 / k. Changes results by rounding alone.

    Raises:
        InputError: labels outside 0..k-1, wrong shapes, weights below 0 or all 0, smoothing or counts that cannot be.
    """
    aligned = np.asarray(aligned)
    weight, train = _check(aligned, k, weights, train, start, smoothing, iterations, chunk)
    r, n = aligned.shape
    if model is None:
        model = "confusion" if r * k * k <= FULL_UP_TO else "one-coin"
    learn = np.flatnonzero(train)
    step = chunk or max(1, CHUNK_CELLS // max(k, r))
    kind: type[_Confusion | _OneCoin] = _Confusion if model == "confusion" else _OneCoin
    table, log_prior = kind(r, k, weight, smoothing), np.zeros(k)

    def learned() -> Iterator[tuple[Labels, NDArray[np.int64]]]:
        for begin in range(0, len(learn), step):
            items = learn[begin : begin + step]
            yield np.asarray(aligned[:, items]), items

    total = np.zeros(k)
    for votes, items in learned():
        posterior = _votes(votes, k, weight / weight.sum()) if start is None else np.eye(k)[np.asarray(start)[items]]
        table.count(votes, posterior)
        total += posterior.sum(0)
    height, likelihood, done = -np.inf, 0.0, 0
    last = iterations if r > 2 else 1
    while True:
        done += 1
        table.update()
        prior = (total + smoothing / k) / (len(learn) + smoothing)
        log_prior = np.log(prior)
        total, likelihood = np.zeros(k), 0.0
        for votes, _ in learned():
            posterior, logs = _posterior(table, log_prior, votes)
            table.count(votes, posterior)
            total += posterior.sum(0)
            likelihood += float(logs.sum())
        likelihood /= len(learn)
        before, height = height, likelihood + (table.penalty() + smoothing * float(log_prior.mean())) / len(learn)
        if done >= last or height - before < tolerance:
            break
    labels, confidence = np.empty(n, dtype=np.int64), np.empty(n)
    for begin in range(0, n, step):
        posterior, _ = _posterior(table, log_prior, np.asarray(aligned[:, begin : begin + step]))
        chosen = (posterior >= posterior.max(1, keepdims=True) - TIE).argmax(1)
        labels[begin : begin + step] = chosen
        confidence[begin : begin + step] = posterior[np.arange(len(chosen)), chosen]
    return DawidSkene(labels, confidence, table.accuracy(prior), table.shares(), prior, likelihood, done, model)


def _posterior(table: _Confusion | _OneCoin, log_prior: Floats, votes: Labels) -> tuple[Floats, Floats]:
    """(m, k) posteriors of the items whose votes are (r, m), and (m,) the logarithm of each item's likelihood."""
    joint = table.log_votes(votes) + log_prior
    top = joint.max(1, keepdims=True)
    joint -= top
    np.exp(joint, out=joint)
    mass = joint.sum(1, keepdims=True)
    joint /= mass
    return joint, (top + np.log(mass))[:, 0]


class _Confusion:
    """A confusion table for each search, and the counts for the next.

    Votes are a sparse matrix (m, r k) with a one where an item has search s say v: one product with it adds up
    logarithms over searches, one with its transpose counts.
    """

    def __init__(self, r: int, k: int, weight: Floats, smoothing: float) -> None:
        self.r, self.k, self.weight, self.smoothing = r, k, weight, smoothing
        self.counts = np.zeros((r * k, k))  # (search and said class, true class)
        self.logs = np.zeros((r * k, k))

    def count(self, votes: Labels, posterior: Floats) -> None:
        self.counts += _one_hot(votes, self.k).T @ posterior

    def update(self) -> None:
        """Counts into the logarithms of shares; counting begins anew."""
        said = self.counts.reshape(self.r, self.k, self.k)
        said += self.smoothing / self.k
        said /= said.sum(1, keepdims=True)
        np.log(self.counts, out=self.logs)
        self.counts[:] = 0

    def log_votes(self, votes: Labels) -> Floats:
        values = np.repeat(self.weight, self.k)[:, None] * self.logs if np.any(self.weight != 1) else self.logs
        return np.asarray(_one_hot(votes, self.k) @ values)

    def penalty(self) -> float:
        """Log-density of the Dirichlet prior on all tables, less a constant."""
        return float(self.smoothing / self.k * (self.weight @ self.logs.reshape(self.r, -1).sum(1)))

    def shares(self) -> Floats:
        return np.ascontiguousarray(np.exp(self.logs.reshape(self.r, self.k, self.k)).transpose(0, 2, 1))

    def accuracy(self, prior: Floats) -> Floats:
        return np.asarray(np.exp(np.einsum("skk->sk", self.logs.reshape(self.r, self.k, self.k))) @ prior)


class _OneCoin:
    """One accuracy a search; its errors fall evenly on the other k - 1 classes. A vote with weights, then.

    The made-up votes are those of the confusion table, k rows of `smoothing`: one in k of each is right.
    """

    def __init__(self, r: int, k: int, weight: Floats, smoothing: float) -> None:
        self.r, self.k, self.weight, self.smoothing = r, k, weight, smoothing
        self.right, self.items = np.zeros(r), 0
        self.logs = np.zeros((r, 2))  # of being right, and of each single error

    def count(self, votes: Labels, posterior: Floats) -> None:
        self.right += np.take_along_axis(posterior, votes.T.astype(np.int64), axis=1).sum(0)
        self.items += len(posterior)

    def update(self) -> None:
        share = (self.right + self.smoothing) / (self.items + self.smoothing * self.k)
        self.logs = np.log(np.stack([share, (1 - share) / max(1, self.k - 1)], axis=1).clip(np.finfo(float).tiny))
        self.right, self.items = np.zeros(self.r), 0

    def log_votes(self, votes: Labels) -> Floats:
        gain = self.weight * (self.logs[:, 0] - self.logs[:, 1])
        return _votes(votes, self.k, gain) + float(self.weight @ self.logs[:, 1])

    def penalty(self) -> float:
        return float(self.smoothing * (self.weight @ (self.logs[:, 0] + (self.k - 1) * self.logs[:, 1])))

    def shares(self) -> Floats | None:
        return None

    def accuracy(self, prior: Floats) -> Floats:
        return np.exp(self.logs[:, 0])


def _one_hot(votes: Labels, k: int) -> Any:
    """Sparse (m, r k): a one in column s k + v where search s says v of an item; votes are (r, m)."""
    from scipy.sparse import csr_matrix

    r, m = votes.shape
    columns = (votes.T + np.arange(r) * k).ravel()
    return csr_matrix((np.ones(r * m), columns, np.arange(m + 1) * r), shape=(m, r * k))


def _votes(votes: Labels, k: int, values: Floats) -> Floats:
    """(m, k): the sum of the values (r,) of the searches that name a class; votes are (r, m)."""
    m = votes.shape[1]
    cells = (votes.astype(np.int64) + np.arange(m) * k).ravel()
    return np.asarray(np.bincount(cells, np.repeat(values, m), minlength=m * k), dtype=np.float64).reshape(m, k)


def _check(
    aligned: Labels,
    k: int,
    weights: ArrayLike | None,
    train: NDArray[np.bool_] | None,
    start: Labels | None,
    smoothing: float,
    iterations: int,
    chunk: int | None,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Weights (r,) and train mask (n,). Raises InputError for what cannot be."""
    if aligned.ndim != 2 or not aligned.size or aligned.dtype.kind not in "iu":
        raise InputError(f"aligned is {aligned.dtype} {aligned.shape}: give whole numbers (r, n), neither of them 0")
    r, n = aligned.shape
    for labels in (aligned, aligned if start is None else np.asarray(start)):
        if labels.min() < 0 or labels.max() >= k:
            raise InputError(f"classes reach from {labels.min()} to {labels.max()}: with k = {k} they are 0 to {k - 1}")
    mask = np.ones(n, dtype=bool) if train is None else np.asarray(train, dtype=bool)
    weight = np.ones(r) if weights is None else np.asarray(weights, dtype=np.float64)
    shapes = {"weights": (weight.shape, (r,)), "train": (mask.shape, (n,))}
    shapes |= {} if start is None else {"start": (np.shape(start), (n,))}
    for name, (shape, wanted) in shapes.items():
        if shape != wanted:
            raise InputError(f"{name} has shape {shape}, for {r} labellings of {n} items: give {wanted}")
    if not mask.any():
        raise InputError("train is False throughout: name at least one item to learn from")
    if not np.isfinite(weight).all() or weight.min() < 0 or not weight.any():
        raise InputError(f"weights reach from {weight.min()} to {weight.max()}: give 0 or more each, and not all 0")
    if not smoothing > 0 or iterations < 1 or (chunk is not None and chunk < 1):
        raise InputError(f"smoothing {smoothing}, iterations {iterations}, chunk {chunk}: give numbers above 0")
    return weight, mask
