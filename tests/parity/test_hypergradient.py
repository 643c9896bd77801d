"""The search against an independent re-derivation through autograd: one outer step, then whole searches.

The reference below shares nothing with the package but the data, the subsets, the starts and the basis: labels come
from a sorting projection, weights from torch's own `parametrizations.orthogonal`, the inner problem is unrolled with
create_graph or solved by `torch.linalg.solve`, and every derivative is autograd's. All in float64.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from hume_ssl.schema import SearchConfig, SearchSettings
from hume_ssl.search import engine
from hume_ssl.search import prior as prior_module
from hume_ssl.search.orthonormal import columns, initial_basis, orthonormal, pull_back, turn, uncolumns
from hume_ssl.search.solvers import Judged, Solvers, gather
from hume_ssl.search.subsets import Spaces

N, D1, D2, K, SEEDS = 30, 8, 6, 4, [3, 4, 5]

DESCENT = {"inner_steps": 15, "inner_lr": 0.5, "random_init": True}
FIXED_START = {**DESCENT, "random_init": False}
CLOSED_FORM = {"inner_steps": 0, "ridge": 0.01, "scale": 4.0}
SHARES = (0.4, 0.3, 0.2, 0.1)
WHOLE, DRAWN = {"subset_size": 10_000, "train_fraction": 0.8}, {"subset_size": 20, "train_fraction": 0.7}


def case(options: dict[str, object], centre: bool = False) -> Solvers:
    """30 train items among 36, so that a position among train items is not an item's index."""
    rng = np.random.default_rng(0)
    truth = np.arange(N + 6) % K
    labeller = rng.normal(size=(K, D1))[truth] + 0.7 * rng.normal(size=(N + 6, D1)) + 0.3
    judge = rng.normal(size=(K, D2))[truth] + 0.7 * rng.normal(size=(N + 6, D2))
    train = np.setdiff1d(np.arange(N + 6), [0, 5, 11, 17, 30, 35])
    middle = labeller[train].mean(0).astype(np.float32) if centre else None
    spaces = Spaces(labeller, [judge[:, :2], judge[:, 2:]], train, middle, dtype=torch.float64)
    settings = SearchConfig(
        preset="paper", seed=7, centre=centre, tolerance=0.0, **{"subsets": 2, **options}
    ).settings()
    return Solvers(spaces, K, settings)


# --- the reference -----------------------------------------------------------------------------------------------


def project(scores: Tensor) -> Tensor:
    """(n, k) rows projected onto the simplex: sort, and keep the j largest while 1 + j z_j > their sum."""
    z = scores.sort(dim=1, descending=True).values
    sums = z.cumsum(1)
    j = torch.arange(1, scores.shape[1] + 1, dtype=scores.dtype)
    kept = (1 + j * z > sums).sum(1, keepdim=True)
    return (scores - (sums.gather(1, kept - 1) - 1) / kept).clamp(min=0)


def encoder(basis: Tensor, raw: Tensor) -> torch.nn.Linear:
    """The published task encoder with its base buffer and raw tensor (d1, k) set to ours; torch's diagonal is -1."""
    linear = torch.nn.Linear(D1, K, bias=False, dtype=torch.float64)
    torch.nn.utils.parametrizations.orthogonal(linear)
    with torch.no_grad():
        linear.parametrizations.weight[0].base.copy_(basis)
        original = linear.parametrizations.weight.original
        original.copy_(raw.T)
        original.diagonal().fill_(-1)
    return linear


def inner_logits(x_tr: Tensor, x_te: Tensor, y_tr: Tensor, theta: Tensor, s: SearchSettings) -> Tensor:
    """Held-out logits of the inner classifier, with the graph back to y_tr."""
    if not s.inner_steps:
        gram = x_tr.T @ x_tr / len(x_tr)
        penalty = s.ridge * gram.diagonal()[:-1].mean() + 1e-9 * gram.diagonal().max()
        penalties = torch.cat([penalty.expand(len(gram) - 1), torch.zeros(1, dtype=gram.dtype)])  # the bias is free
        return s.scale * x_te @ torch.linalg.solve(gram + torch.diag(penalties), x_tr.T @ y_tr / len(x_tr))
    theta = theta.clone().requires_grad_()
    for _ in range(s.inner_steps):
        error = torch.nn.functional.cross_entropy(x_tr @ theta, y_tr)
        (slope,) = torch.autograd.grad(error, theta, create_graph=True)
        theta = theta - s.inner_lr * slope
    return x_te @ theta


def outer_loss(
    linear: torch.nn.Linear, spaces: Spaces, drawn: list[Judged], starts: list[Tensor], t: float, s: SearchSettings
) -> Tensor:
    """Mean over subsets of held-out cross-entropy - H * entropy of the mean label (HUME eq. 7), of one search; of class
    shares, + H * KL(mean label || shares)."""
    rows = spaces.labeller[spaces.train] - (0 if spaces.centre is None else spaces.centre.astype(np.float64))
    phi1 = torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    judge = np.hstack([j[spaces.train] for j in spaces.judges])
    phi2 = torch.from_numpy(np.hstack([judge, np.ones((len(judge), 1))]))
    total = torch.zeros((), dtype=torch.float64)
    for one, theta in zip(drawn, starts, strict=True):
        tr, te = one.subset.train, one.subset.test
        y_tr, y_te = (project(linear(phi1[part]) / t) for part in (tr, te))
        logits = inner_logits(phi2[tr], phi2[te], y_tr, theta, s)
        mean = torch.cat([y_tr, y_te]).mean(0)
        used = mean[mean > 0]
        total = total + torch.nn.functional.cross_entropy(logits, y_te) + s.entropy_weight * (used * used.log()).sum()
        if isinstance(s.prior, tuple):  # the nearest of all orders of the shares
            crosses = [mean @ torch.tensor(way, dtype=mean.dtype).log() for way in permutations(s.prior)]
            total = total - s.entropy_weight * torch.stack(crosses).max()
        if s.prior == "free":
            floor = prior_module.FLOOR / K
            low = used[used < floor]
            total = total + 10 * s.entropy_weight * (low * (low / floor).log() - low + floor).sum()
    return total / len(drawn)


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + engine.OWN_STREAM) for seed in SEEDS]


def starts_of(solvers: Solvers, own: list[torch.Generator], fixed: Tensor | None) -> list[Tensor]:
    """(d, k, r) start of each subset of one step, drawn in the order of the engine."""
    if not solvers.settings.inner_steps:
        return [torch.zeros(1, 1, len(SEEDS))] * solvers.settings.subsets
    return [fixed if fixed is not None else solvers.random_starts(own) for _ in range(solvers.settings.subsets)]


# --- one outer step ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.05])
@pytest.mark.parametrize("size", [WHOLE, DRAWN], ids=["all-items", "drawn-items"])
@pytest.mark.parametrize("inner", [DESCENT, CLOSED_FORM], ids=["descent", "closed-form"])
@pytest.mark.parametrize("prior", ["uniform", "free", SHARES], ids=["uniform", "free", "shares"])
def test_gradient_of_the_raw_tensor_is_autograds(
    inner: dict, size: dict, temperature: float, prior: str | tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative 1e-9 for every search, at a raw tensor away from 0, soft labels (T = 1) to nearly hard ones."""
    monkeypatch.setattr(prior_module, "FLOOR", 1.0)  # some class is always below an even share
    solvers = case({**inner, **size, "prior": prior}, centre=not inner["inner_steps"])
    s, spaces = solvers.settings, solvers.spaces
    basis = initial_basis(D1, K, SEEDS, torch.float64)
    raw = torch.randn(len(SEEDS), D1, K, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix = columns(orthonormal(basis, raw))
    drawn = solvers.for_step(0, generators(), None)
    gradient, loss = torch.zeros_like(matrix), torch.zeros(len(SEEDS), dtype=torch.float64)
    for one in drawn:
        rows, judged = (spaces.whole_labeller, one) if size is WHOLE else gather(spaces, one)
        found = engine.outer_gradient(matrix, rows, [judged], temperature, s.entropy_weight, K, s.prior)
        gradient, loss = gradient + found[0] / s.subsets, loss + found[1] / s.subsets
    if size is WHOLE:  # the engine takes all subsets in one call here
        together, _ = engine.outer_gradient(
            matrix, spaces.whole_labeller, drawn, temperature, s.entropy_weight, K, s.prior
        )
        torch.testing.assert_close(together / s.subsets, gradient, rtol=1e-9, atol=1e-12)
    ours = pull_back(basis, raw, uncolumns(gradient, K))

    starts = starts_of(solvers, generators(), None)
    for i in range(len(SEEDS)):
        linear = encoder(basis[i], raw[i])
        theirs = outer_loss(linear, spaces, drawn, [theta[:, :, i] for theta in starts], temperature, s)
        theirs.backward()
        expected = linear.parametrizations.weight.original.grad.T
        assert expected.norm() > 1e-6  # a zero gradient would prove nothing
        assert (ours[i] - expected).norm() <= 1e-9 * expected.norm()
        s0 = s.model_copy(update={"entropy_weight": 0})  # both terms then are 0
        without = outer_loss(linear, spaces, drawn, [theta[:, :, i] for theta in starts], temperature, s0)
        torch.testing.assert_close(loss[i], without.detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("inner", [DESCENT, CLOSED_FORM], ids=["descent", "closed-form"])
def test_where_all_labels_are_hard_both_gradients_are_zero(inner: dict) -> None:
    """At T = 0.001 every row is a corner of the simplex, which no small change of the weights moves."""
    solvers = case({**inner, **WHOLE})
    s, spaces = solvers.settings, solvers.spaces
    basis, raw = initial_basis(D1, K, SEEDS, torch.float64), torch.zeros(len(SEEDS), D1, K, dtype=torch.float64)
    drawn, starts = solvers.for_step(0, generators(), None), starts_of(solvers, generators(), None)
    matrix = columns(orthonormal(basis, raw))
    gradient, loss = engine.outer_gradient(matrix, spaces.whole_labeller, drawn, 0.001, s.entropy_weight, K)
    assert torch.equal(gradient, torch.zeros_like(gradient))
    s = s.model_copy(update={"entropy_weight": 0})
    for i in range(len(SEEDS)):
        linear = encoder(basis[i], raw[i])
        theirs = outer_loss(linear, spaces, drawn, [theta[:, :, i] for theta in starts], 0.001, s)
        (slope,) = torch.autograd.grad(theirs, linear.parametrizations.weight.original)
        assert not slope.any()
        torch.testing.assert_close(loss[i] / s.subsets, theirs.detach(), rtol=1e-12, atol=0)


# --- whole searches ----------------------------------------------------------------------------------------------


def reference_search(solvers: Solvers, basis: Tensor, i: int) -> Tensor:
    """(k, d1) weights of search i: the published loop with torch's Adam, clipping and MultiStepLR."""
    s, own = solvers.settings, generators()
    fixed = solvers.random_starts(own) if s.inner_steps and not s.random_init else None
    linear = encoder(basis[i], torch.zeros(D1, K, dtype=torch.float64))
    adam = torch.optim.Adam(linear.parameters(), lr=s.outer_lr)
    plan = torch.optim.lr_scheduler.MultiStepLR(adam, list(engine.PUBLISHED_MILESTONES), gamma=0.1)
    temperature = s.temperature
    for step in range(s.iterations):
        if step in engine.PUBLISHED_MILESTONES:
            temperature /= 10
        drawn = solvers.for_step(step, generators(), None)  # its subsets only
        starts = [theta[:, :, min(i, theta.shape[2] - 1)] for theta in starts_of(solvers, own, fixed)]
        adam.zero_grad()
        outer_loss(linear, solvers.spaces, drawn, starts, temperature, s).backward()
        torch.nn.utils.clip_grad_norm_(linear.parameters(), 1.0)
        adam.step()
        plan.step()
    return linear.weight.detach()


@pytest.mark.parametrize(
    "options",
    [{**DESCENT, **WHOLE}, {**FIXED_START, **DRAWN}, {**CLOSED_FORM, **DRAWN}],
    ids=["descent-all-items", "descent-fixed-start", "closed-form"],
)
def test_whole_searches_find_the_labels_of_the_autograd_loop(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 steps of the published schedule, its milestones at 20 and 40: at least 99.9 % of labels equal."""
    monkeypatch.setattr(engine, "PUBLISHED_MILESTONES", (20, 40))
    solvers = case({**options, "iterations": 50, "outer_lr": 0.05, "early_stop": False})
    found = engine.search_batch(solvers, SEEDS)
    thin = not solvers.settings.inner_steps
    basis = initial_basis(D1, K, SEEDS, torch.float64, thin=thin)
    if thin:  # written out
        basis = turn(basis, torch.eye(D1, dtype=torch.float64).expand(len(SEEDS), -1, -1))
    rows = solvers.spaces.whole_labeller
    equal = moved = 0
    for i in range(len(SEEDS)):
        expected = reference_search(solvers, basis, i)
        torch.testing.assert_close(found.weights[i].T, expected, rtol=0, atol=1e-6)
        labels = (rows @ expected.T).argmax(1)
        equal += int(((rows @ found.weights[i]).argmax(1) == labels).sum())
        moved += int(((rows @ basis[i, :, :K]).argmax(1) != labels).sum())
    assert equal >= 0.999 * N * len(SEEDS)
    assert moved > N * len(SEEDS) / 10  # the searches went somewhere


def test_a_search_side_by_side_is_the_search_alone() -> None:
    """What runs beside a search changes nothing but the rounding of its products."""
    for options in ({**DESCENT, **DRAWN}, {**FIXED_START, **WHOLE}, {**CLOSED_FORM, **WHOLE}):
        solvers = case({**options, "iterations": 20, "outer_lr": 0.05})
        together = engine.search_batch(solvers, SEEDS)
        for i, seed in enumerate(SEEDS):
            alone = engine.search_batch(solvers, [seed])
            torch.testing.assert_close(alone.weights[0], together.weights[i], rtol=0, atol=1e-8)
            assert alone.objective[0] == pytest.approx(together.objective[i], rel=1e-8)
