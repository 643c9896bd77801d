"""Leaps, rotation and bfloat16 against the descent as it is written: errors within the bounds stated, on real data.

What is walked is differentiated exactly: the adjoint of a plan agrees with autograd through the same plan.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hume_ssl.schema import SearchConfig
from hume_ssl.search import engine, leaps
from hume_ssl.search.descent import descent
from hume_ssl.search.inner import Inner
from hume_ssl.search.leaps import Plan, every_step, plan, spectrum
from hume_ssl.search.orthonormal import columns, initial_basis
from hume_ssl.search.solvers import Solvers
from hume_ssl.search.sparsemax import sparsemax
from hume_ssl.search.subsets import Spaces

K, R, STEPS = 10, 4, 300


def difference(found: Inner, exact: Inner) -> float:
    """Relative error of dL/dY_tr, less each row's mean, which sparsemax removes."""
    ours, theirs = (inner.train.double() - inner.train.double().mean(1, keepdim=True) for inner in (found, exact))
    return float((ours - theirs).norm() / theirs.norm())


def case(labeller: np.ndarray, judge: np.ndarray, dtype: torch.dtype) -> tuple[Callable[..., Inner], Tensor]:
    """A descent on the labels that a search of the data starts with, and the judge rows it learns from."""
    n = len(labeller)
    n_tr = int(0.9 * n)
    rows = torch.nn.functional.normalize(torch.from_numpy(labeller).to(dtype), dim=1)
    weights = initial_basis(rows.shape[1], K, list(range(R)), dtype)[:, :, :K]
    y = sparsemax((rows @ columns(weights)).view(n, K, R) / 0.1)
    x = torch.cat([torch.from_numpy(judge).to(dtype), torch.ones(n, 1, dtype=dtype)], 1)
    theta = (2 * torch.rand(x.shape[1], K, R, generator=torch.Generator().manual_seed(0)) - 1).to(dtype) / 16

    def walk(how: Plan, products: torch.dtype = dtype) -> Inner:
        return descent(x[:n_tr], x[n_tr:], y[:n_tr], y[n_tr:], theta, how, products)

    return walk, x[:n_tr]


@pytest.mark.parametrize("rotated", [False, True])
def test_the_adjoint_of_a_plan_is_autograd_through_that_plan(rotated: bool) -> None:
    """Leaps of 4, 3, 1 steps; with rotation, the directions left out are moved at the end by the residuals added up."""
    source = torch.Generator().manual_seed(0)
    n_tr, n, d, k, lr = 20, 26, 5, 3, 0.3
    x = torch.randn(n, d, generator=source, dtype=torch.float64)
    y = torch.rand(n, k, 1, generator=source, dtype=torch.float64).softmax(1)
    theta = torch.randn(d, k, 1, generator=source, dtype=torch.float64)
    leading = torch.linalg.qr(torch.randn(d, 2, generator=source, dtype=torch.float64))[0] if rotated else None
    how = Plan(lr, (4, 3, 1), leading)
    found = descent(x[:n_tr], x[n_tr:], y[:n_tr], y[n_tr:], theta, how, torch.float64)

    labels = y[:, :, 0].clone().requires_grad_()
    x_tr, moving = x[:n_tr], torch.eye(d, dtype=torch.float64) if leading is None else leading @ leading.T
    at, residuals = theta[:, :, 0], torch.zeros(n_tr, k, dtype=torch.float64)
    for m in how.leaps:

        def residual(place: Tensor) -> Tensor:
            return (x_tr @ place).softmax(1) - labels[:n_tr]

        middle = at - (m - 1) / 2 * lr / n_tr * moving @ x_tr.T @ residual(at)
        at, residuals = at - m * lr / n_tr * moving @ x_tr.T @ residual(middle), residuals + m * residual(middle)
    at = at - lr / n_tr * (torch.eye(d, dtype=torch.float64) - moving) @ x_tr.T @ residuals
    loss = torch.nn.functional.cross_entropy(x[n_tr:] @ at, labels[n_tr:])
    (expected,) = torch.autograd.grad(loss, labels)
    torch.testing.assert_close(found.loss[0], loss.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.train[:, :, 0], expected[:n_tr], rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(found.test[:, :, 0], expected[n_tr:], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_errors_stay_within_their_bounds(size: float, cifar: dict[str, np.ndarray]) -> None:
    """Real judge rows, as they are (whose norm is about 23) and 30 times as small, where all 300 steps are one leap."""
    rows = slice(0, 700)
    walk, x = case(cifar["mobilenetv2"][rows], cifar["resnet50s3"][rows] / np.float32(size), torch.float64)
    exact = walk(every_step(STEPS, 0.001))
    values, directions = spectrum(x)
    for tolerance in (0.1, 0.01, 0.001):
        how = plan(STEPS, 0.001, tolerance, values, directions)
        assert how.error <= tolerance
        assert sum(how.leaps) == STEPS
        assert difference(walk(how), exact) <= max(how.error, 1e-9)
    if size > 1:
        assert how.evaluations <= 10  # there was something to save
    for width in (4, 32, 128):  # rotation alone, whether or not a plan would choose it
        how = dataclasses.replace(every_step(STEPS, 0.001), leading=directions[:, :width])
        bound = STEPS * 0.001 / 2 * float(values[width]) / 2
        assert difference(walk(how), exact) <= bound


def test_bfloat16_products_err_by_less_than_a_percent(cifar: dict[str, np.ndarray]) -> None:
    rows = slice(0, 2000)
    walk, _ = case(cifar["mobilenetv2"][rows], cifar["resnet50s3"][rows], torch.float32)
    how = every_step(STEPS, 0.001)
    exact, rounded = walk(how), walk(how, torch.bfloat16)
    assert 0 < difference(rounded, exact) < 0.01
    assert float(((rounded.loss - exact.loss) / exact.loss).abs().max()) < 1e-3


def test_probabilities_made_again_on_the_way_back_change_nothing(
    cifar: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = slice(0, 300)
    walk, _ = case(cifar["mobilenetv2"][rows], cifar["resnet50s3"][rows], torch.float32)
    kept = walk(every_step(20, 0.001))
    monkeypatch.setattr("hume_ssl.search.descent.KEPT_BYTES", 0)
    again = walk(every_step(20, 0.001))
    assert torch.equal(kept.train, again.train)


def test_plans_at_their_edges() -> None:
    values, directions = torch.tensor([2.0, 1e-9]).double(), torch.eye(2).double()
    assert plan(7, 0.1, 0.0, values, directions) == every_step(7, 0.1)
    assert plan(7, 5.0, 0.01, values, directions).leaps == (1,) * 7  # large steps are all taken
    still = plan(7, 0.1, 0.01, torch.zeros(2).double(), directions)
    assert still.leaps == (7,) and still.error == 0
    rotated = plan(300, 0.5, 0.01, values, directions)
    assert rotated.leading is None or rotated.leading.shape == (2, 1)
    assert leaps.leap_error(300, 1e-3, 300) == pytest.approx(0.3 * 0.3**2 / 6)


def test_searches_with_all_savings_find_the_labels_of_those_with_none(cifar: dict[str, np.ndarray]) -> None:
    """50 outer steps from the same start and subsets, bfloat16 and leaps together: at least 99.5 % of labels equal.

    Adam's first steps go by the sign of a gradient, so that float32's own rounding already moves about 0.14 % of labels
    (tests/bench/engine.py on usps): 99.9 % cannot be had of any change of the order of sums.
    """
    labeller, judge = (cifar[name][:1000].astype(np.float32) for name in ("mobilenetv2", "resnet50s3"))
    judge /= np.linalg.norm(judge, axis=1).mean()
    spaces = Spaces(labeller, [judge], np.arange(1000))
    options = {"preset": "paper", "iterations": 50, "subsets": 1, "inner_steps": 100, "early_stop": False}
    labels = []
    for precision, tolerance in (("float32", 0.0), ("bfloat16", 0.01)):
        settings = SearchConfig(**options, precision=precision, tolerance=tolerance).settings()
        solvers = Solvers(spaces, K, settings)
        found = engine.search_batch(solvers, list(range(8)))
        labels.append((spaces.whole_labeller @ columns(found.weights)).view(-1, K, 8).argmax(1))
    begun = initial_basis(spaces.d1, K, list(range(8)))[:, :, :K]
    start = (spaces.whole_labeller @ columns(begun)).view(-1, K, 8).argmax(1)
    equal, still = (float((labels[0] == other).double().mean()) for other in (labels[1], start))
    assert equal >= 0.995
    assert still < 0.95  # the searches went somewhere
