"""The inner problem by hand, and at its edges. Parity with autograd: tests/parity/test_hypergradient.py."""

import math

import pytest
import torch

from hume_ssl.search.closed_form import FactoredMap, Hat, ridge, ridge_factor, ridge_inverse
from hume_ssl.search.descent import descent
from hume_ssl.search.engine import outer_gradient
from hume_ssl.search.inner import Inner, entropy_gradient
from hume_ssl.search.leaps import every_step
from hume_ssl.search.orthonormal import columns, initial_basis
from hume_ssl.search.precision import Rows
from hume_ssl.search.solvers import Judged
from hume_ssl.search.sparsemax import sparsemax
from hume_ssl.search.subsets import Subset


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def ridge_map(x_tr: torch.Tensor, x_te: torch.Tensor, penalty: float) -> Hat:
    return Hat(x_tr, x_te, ridge_factor(x_tr, penalty), x_tr.dtype)


def walked(x: torch.Tensor, n_tr: int, y_tr: torch.Tensor, y_te: torch.Tensor, start: torch.Tensor, *plan) -> Inner:
    """Descent on the first n_tr rows."""
    return descent(Rows(x[:n_tr], x.dtype), Rows(x[n_tr:], x.dtype), y_tr, y_te, start, every_step(*plan))


def test_entropy_gradient_by_hand() -> None:
    """-H * entropy = H * sum p log p has derivative H (log p + 1) by the mean p, and 1/n of it by each of n labels.
    H = 3, n = 6, p = (1/2, 1/2): (log 0.5 + 1) / 2. An empty class gets 0, not -infinity; its neighbour has p = 1."""
    found = entropy_gradient(tensor([[0.5, 1.0], [0.5, 0.0]]), 3.0, 6)
    half = (math.log(0.5) + 1) / 2
    torch.testing.assert_close(found, tensor([[half, 0.5], [half, 0.0]]), rtol=1e-15, atol=0)


def test_one_step_of_descent_by_hand() -> None:
    """One training item x = (1, 1), label (1, 0), theta_0 = 0, rate 2: the softmax is (1/2, 1/2), so theta_1 =
    -2 x^T (-1/2, 1/2) = [(1, -1), (1, -1)]. The held-out item x = (0, 1) has logits (1, -1), label (0, 1), and the loss
    -log softmax = log(1 + e^2). dL/dY_te = -log p; dL/dY_tr = 2 * x_tr . A with A = x_te^T (P - Y)."""
    x = tensor([[1.0, 1.0], [0.0, 1.0]])
    y_tr, y_te = tensor([[[1.0], [0.0]]]), tensor([[[0.0], [1.0]]])
    found = walked(x, 1, y_tr, y_te, torch.zeros(2, 2, 1, dtype=torch.float64), 1, 2.0)
    p = 1 / (1 + math.exp(-2))
    assert found.loss.item() == pytest.approx(math.log(1 + math.exp(2)))
    assert found.test.flatten().tolist() == pytest.approx([-math.log(p), -math.log(1 - p)])
    assert found.train.flatten().tolist() == pytest.approx([2 * p, -2 * p])


def test_closed_form_by_hand() -> None:
    """Judge rows 1 and -1 with labels (1, 0) and (0, 1), no penalty: scores are (1 + x)/2 and (1 - x)/2, so the row
    x = 0.5 scores (0.75, 0.25), twice which is (1.5, 0.5): cross-entropy with (1, 0) is log(1 + e^-1)."""
    hat = ridge_map(tensor([[1.0, 1.0], [-1.0, 1.0]]), tensor([[0.5, 1.0]]), 0.0)
    torch.testing.assert_close(hat.matrix, tensor([[0.75, 0.25]]), rtol=1e-8, atol=0)
    labels = tensor([[1.0, 0.0], [0.0, 1.0]])[:, :, None]
    found = ridge(hat, labels, labels[:1], 2.0)
    assert found.loss.item() == pytest.approx(math.log(1 + math.exp(-1)))
    slope = 2 * (1 / (1 + math.exp(-1)) - 1)  # scale * (p - 1)
    assert found.train[:, 0, 0].tolist() == pytest.approx([0.75 * slope, 0.25 * slope])


def test_the_penalty_does_not_depend_on_the_scale_of_the_space_and_leaves_the_bias_free() -> None:
    source = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(30, 5, generator=source, dtype=torch.float64), torch.ones(30, 1).double()], 1)
    scaled = x * tensor([1000.0] * 5 + [1.0])
    one, other = ridge_map(x[:20], x[20:], 0.1), ridge_map(scaled[:20], scaled[20:], 0.1)
    torch.testing.assert_close(one.matrix, other.matrix, rtol=0, atol=1e-6)
    torch.testing.assert_close(one.matrix.sum(1), torch.ones(10).double(), rtol=1e-9, atol=0)  # constants are kept


def test_a_judge_space_of_copies_and_fewer_items_than_directions_still_solve() -> None:
    """Linearly dependent directions, without any penalty asked for."""
    source = torch.Generator().manual_seed(1)
    part = torch.randn(12, 10, generator=source)
    x = torch.cat([part, part, torch.zeros(12, 3), torch.ones(12, 1)], 1)
    hat = ridge_map(x[:8], x[8:], 0.0)
    assert torch.isfinite(hat.matrix).all()
    torch.testing.assert_close(hat.matrix.sum(1), torch.ones(4), rtol=0, atol=1e-3)


def test_the_map_as_factors_is_the_map_as_one_matrix() -> None:
    source = torch.Generator().manual_seed(2)
    x = torch.cat([torch.randn(30, 5, generator=source, dtype=torch.float64), torch.ones(30, 1).double()], 1)
    factor = ridge_factor(x[:20], 0.1)
    hat, factors = ridge_map(x[:20], x[20:], 0.1), FactoredMap(x[:20], x[20:], ridge_inverse(x[:20], factor))
    y = torch.rand(30, 3, 2, generator=source, dtype=torch.float64).softmax(1)
    for one, other in zip(ridge(hat, y[:20], y[20:], 4.0), ridge(factors, y[:20], y[20:], 4.0), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [0, 25])
def test_a_class_that_died_gets_no_gradient_and_nothing_is_nan(steps: int) -> None:
    """Every labeller row lies along the first of three directions: two classes are empty at T = 0.001, and stay so."""
    matrix = columns(torch.eye(3)[None])
    rows = torch.tensor([[1.0, 0.0, 0.0]]).repeat(20, 1)
    rows[::2] *= -1  # these are soft between the other two
    rows[0] = torch.tensor([0.0, 0.0, 1.0])
    x = torch.cat([torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.ones(20, 1)], 1)
    subset = Subset(torch.arange(15), torch.arange(15, 20))
    hat, start = ridge_map(x[:15], x[15:], 0.01), torch.zeros(5, 3, 1)

    def solve(y_tr: torch.Tensor, y_te: torch.Tensor) -> object:
        return walked(x, 15, y_tr, y_te, start, steps, 0.1) if steps else ridge(hat, y_tr, y_te, 5.0)

    for row in (rows, rows.abs()):
        labels = sparsemax((row @ matrix / 1e-3).view(20, 3, 1))
        gradient, loss = outer_gradient(matrix, row, [Judged(subset, solve)], 1e-3, 10.0, 3)  # type: ignore[arg-type]
        assert torch.isfinite(gradient).all() and torch.isfinite(loss).all()
    assert labels[:, 1].sum() == 0  # after abs(): nothing is left for the second class
    assert not gradient[:, 1].any()


def test_outer_gradient_adds_up_over_subsets() -> None:
    """Of two subsets together: the sum of theirs, the entropy term counted once for each."""
    source = torch.Generator().manual_seed(3)
    rows = torch.nn.functional.normalize(torch.randn(20, 6, generator=source, dtype=torch.float64), dim=1)
    x = torch.cat([torch.randn(20, 4, generator=source, dtype=torch.float64), torch.ones(20, 1).double()], 1)
    matrix = columns(initial_basis(6, 3, [0, 1], torch.float64)[:, :, :3])
    judged = []
    for number in range(2):
        order = torch.randperm(20, generator=torch.Generator().manual_seed(number))
        hat = ridge_map(x[order[:15]], x[order[15:]], 0.01)
        judged.append(Judged(Subset(order[:15], order[15:]), lambda a, b, hat=hat: ridge(hat, a, b, 5.0)))
    both, loss = outer_gradient(matrix, rows, judged, 0.5, 10.0, 3)
    one, two = (outer_gradient(matrix, rows, [j], 0.5, 10.0, 3) for j in judged)
    torch.testing.assert_close(both, one[0] + two[0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(loss, one[1] + two[1], rtol=1e-12, atol=0)
