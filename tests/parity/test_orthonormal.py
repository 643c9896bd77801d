"""Task-encoder weights against torch's own parametrisation, and their optimiser against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hume_ssl.search.engine import clip
from hume_ssl.search.orthonormal import columns, initial_basis, orthonormal, pull_back, turn, uncolumns
from hume_ssl.search.steady import adam

SHAPES = [(8, 4), (9, 2), (20, 19), (5, 5), (64, 10)]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def torchs(basis: Tensor, raw: Tensor) -> torch.nn.Linear:
    """torch's Linear with this raw tensor (d1, k), k < d1; there the default map is Householder reflections."""
    d1, k = raw.shape
    linear = torch.nn.Linear(d1, k, bias=False, dtype=raw.dtype)
    torch.nn.utils.parametrizations.orthogonal(linear)
    with torch.no_grad():
        linear.parametrizations.weight[0].base.copy_(basis)
        original = linear.parametrizations.weight.original
        original.copy_(raw.T)
        original.diagonal().fill_(-1)
    return linear


@pytest.mark.parametrize(("d1", "k"), [shape for shape in SHAPES if shape[0] > shape[1]])
def test_weights_and_derivative_are_torchs(d1: int, k: int) -> None:
    """For raw tensors from tiny to large, whatever stands on and above the diagonal."""
    basis = initial_basis(d1, k, range(4), torch.float64)
    scales = torch.tensor([0.0, 0.01, 1.0, 30.0], dtype=torch.float64)[:, None, None]
    raw = torch.randn(4, d1, k, dtype=torch.float64, generator=generator(0)) * scales
    upstream = torch.randn(4, d1, k, dtype=torch.float64, generator=generator(1))
    ours, pulled = orthonormal(basis, raw), pull_back(basis, raw, upstream)
    for i in range(4):
        linear = torchs(basis[i], raw[i])
        torch.testing.assert_close(ours[i].T, linear.weight.detach(), rtol=0, atol=1e-13)
        linear.weight.backward(upstream[i].T)
        theirs = linear.parametrizations.weight.original.grad.T
        assert (pulled[i] - theirs).norm() <= 1e-11 * (1 + theirs.norm())
    assert torch.equal(pulled.triu(), torch.zeros_like(pulled))


@pytest.mark.parametrize(("d1", "k"), SHAPES)
def test_columns_are_orthonormal(d1: int, k: int) -> None:
    raw = 3 * torch.randn(2, d1, k, generator=generator(2))
    basis = initial_basis(d1, k, [0, 1])
    weights = orthonormal(basis, raw)
    torch.testing.assert_close(weights.mT @ weights, torch.eye(k).expand(2, k, k), rtol=0, atol=1e-5)
    torch.testing.assert_close(basis.mT @ basis, torch.eye(d1).expand(2, d1, d1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("d1", "k"), SHAPES)
def test_raw_zero_is_the_basis_itself(d1: int, k: int) -> None:
    basis = initial_basis(d1, k, [5], torch.float64)
    torch.testing.assert_close(orthonormal(basis, torch.zeros(1, d1, k, dtype=torch.float64)), basis[:, :, :k])


@pytest.mark.parametrize(("d1", "k"), SHAPES)
def test_a_thin_basis_is_an_orthogonal_matrix_that_begins_with_the_same_directions(d1: int, k: int) -> None:
    """Both are QR of the same k draws, so the first k columns are equal up to their signs."""
    thin, whole = (initial_basis(d1, k, [3, 4], torch.float64, thin=thin) for thin in (True, False))
    matrix = turn(thin, torch.eye(d1, dtype=torch.float64).expand(2, d1, d1))
    torch.testing.assert_close(matrix.mT @ matrix, torch.eye(d1, dtype=torch.float64).expand(2, d1, d1))
    signs = (matrix * whole)[:, :, :k].sum(1)
    torch.testing.assert_close(signs.abs(), torch.ones_like(signs))


@pytest.mark.parametrize(("d1", "k"), [shape for shape in SHAPES if shape[0] > shape[1]])
def test_a_thin_basis_does_what_its_whole_matrix_does(d1: int, k: int) -> None:
    thin = initial_basis(d1, k, [3, 4], torch.float64, thin=True)
    matrix = turn(thin, torch.eye(d1, dtype=torch.float64).expand(2, d1, d1))
    raw, upstream = torch.randn(2, 2, d1, k, dtype=torch.float64, generator=generator(6))
    assert thin.shape == (2, d1, k)
    torch.testing.assert_close(orthonormal(thin, raw), orthonormal(matrix, raw))
    torch.testing.assert_close(pull_back(thin, raw, upstream), pull_back(matrix, raw, upstream))
    torch.testing.assert_close(turn(thin, upstream, back=True), matrix.mT @ upstream)


def test_reflection_by_hand() -> None:
    """d1 = 2, k = 1, raw below the diagonal 1: v = (1, 1), I - 2 v v^T / v^T v swaps the axes and negates them, so its
    first column is (0, -1); torch's sign of -1 makes it (0, 1): the first axis turned by a right angle."""
    raw = torch.tensor([[[9.0], [1.0]]])
    torch.testing.assert_close(orthonormal(torch.eye(2)[None], raw), torch.tensor([[[0.0], [1.0]]]))


def test_a_start_is_what_torchs_parametrisation_makes_of_the_same_draws() -> None:
    """torch completes a Linear's weight by normal columns, then QR with a positive diagonal; here the same numbers."""
    d1, k = 7, 3
    source = generator(11)
    first = (2 * torch.rand(d1, k, generator=source, dtype=torch.float64) - 1) / d1**0.5
    linear = torch.nn.Linear(d1, k, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(first.T)
    torch.nn.utils.parametrizations.orthogonal(linear)
    mine = initial_basis(d1, k, [11], torch.float64)[0]
    torch.testing.assert_close(mine[:, :k], linear.weight.detach().T, rtol=0, atol=1e-13)
    rest = torch.randn(d1, d1 - k, generator=source, dtype=torch.float64)
    triangle = mine.T @ torch.cat([first, rest], 1)
    torch.testing.assert_close(triangle.tril(-1), torch.zeros_like(triangle), rtol=0, atol=1e-13)
    assert (triangle.diagonal() > 0).all()


def test_a_start_does_not_depend_on_what_is_drawn_beside_it() -> None:
    assert torch.equal(initial_basis(6, 3, [1, 2, 3])[1], initial_basis(6, 3, [2])[0])
    assert not torch.equal(initial_basis(6, 3, [1])[0], initial_basis(6, 3, [2])[0])


def test_columns_put_the_search_fastest_and_uncolumns_undoes_it() -> None:
    weights = torch.arange(24.0).view(2, 4, 3)  # (r, d1, k)
    matrix = columns(weights)
    assert matrix[0].tolist() == [0, 12, 1, 13, 2, 14]
    assert torch.equal(uncolumns(matrix, 3), weights)


def test_clip_and_adam_are_torchs() -> None:
    """20 steps with gradients from far below the bound to far above it, learning rates that change, one zero step."""
    r, d1, k = 3, 5, 2
    source = generator(4)
    raw = torch.randn(r, d1, k, dtype=torch.float64, generator=source)
    theirs = [torch.nn.Parameter(raw[i].clone()) for i in range(r)]
    optimisers = [torch.optim.Adam([p], lr=1.0) for p in theirs]
    ours, mean, square = raw.clone(), torch.zeros_like(raw), torch.zeros_like(raw)
    for step in range(20):
        gradient = torch.randn(r, d1, k, dtype=torch.float64, generator=source) * 10.0 ** (step % 7 - 4)
        gradient[0] *= step != 9
        lr = 0.1 * 0.1 ** (step // 8)
        adam(ours, clip(gradient), mean, square, lr, step + 1)
        for i, optimiser in enumerate(optimisers):
            theirs[i].grad = gradient[i].clone()
            torch.nn.utils.clip_grad_norm_([theirs[i]], 1.0)
            optimiser.param_groups[0]["lr"] = lr
            optimiser.step()
    expected = torch.stack([p.detach() for p in theirs])
    assert (expected - raw).abs().min() > 0.001
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-13)


def test_clip_by_hand() -> None:
    """(3, 4) has length 5 and comes down to 1 (less the 1e-6 that torch adds); (0.3, 0.4) is short and stays."""
    gradient = torch.tensor([[[3.0], [4.0]], [[0.3], [0.4]], [[0.0], [0.0]]], dtype=torch.float64)
    found = clip(gradient)
    torch.testing.assert_close(found[0].flatten(), torch.tensor([0.6, 0.8], dtype=torch.float64), rtol=1e-6, atol=0)
    assert torch.equal(found[1:], gradient[1:])
