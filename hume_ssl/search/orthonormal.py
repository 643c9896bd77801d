"""Task-encoder weights with orthonormal columns, as torch's `parametrizations.orthogonal` makes them.

The published code puts that parametrisation on a bias-free Linear, so that Adam and gradient clipping act on its raw
tensor: it is part of the algorithm. For a (k, d1) weight it is W^T = B Q(raw): B a fixed random orthogonal matrix
(d1, d1), Q(raw) the first k columns of a product of k Householder reflections, equal to the identity's at the start.
torch runs the reflections one by one, and their derivative takes most of a search's time; in the compact WY form
Q = I - V M^-1 V_top^T (Schreiber and Van Loan, 1989) both are a few small products for all searches at once.
Where k = d1 torch takes the matrix exponential by default; here it is reflections there too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def initial_basis(
    d1: int, k: int, seeds: Sequence[int], dtype: torch.dtype = torch.float32, *, thin: bool = False
) -> Tensor:
    """One random orthogonal matrix B a seed, whose first k columns are the weights a search starts from.

    As in the published code: k directions drawn as a Linear's weights are, completed by normal ones, then QR with the
    signs that make it unique (not so if thin). Each search draws from a generator of its own, whatever runs beside it.

    Args:
        d1, k: B is (d1, d1); k <= d1 directions are drawn as a Linear's weights are.
        thin: complete the k directions by reflections alone, so that B costs d1 * k numbers and products with it
            d1 * k^2 operations instead of d1^2 and d1^2 * k. It spans the same starts; only the axes along which Adam
            scales its steps are others, so that a search ends elsewhere.

    Returns:
        (r, d1, d1) B itself; or, thin and k < d1, (r, d1, k) the reflections that make it, read by `turn`.
    """
    bases = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        first = (2 * torch.rand(d1, k, generator=generator, dtype=dtype) - 1) / math.sqrt(d1)
        if thin and k < d1:
            bases.append(torch.geqrf(first)[0].tril(-1) + torch.eye(d1, k, dtype=dtype))
            continue
        rest = torch.randn(d1, d1 - k, generator=generator, dtype=dtype)
        q, triangle = torch.linalg.qr(torch.cat([first, rest], 1))
        bases.append(q * torch.where(triangle.diagonal() < 0, -1.0, 1.0))
    return torch.stack(bases)


def orthonormal(basis: Tensor, raw: Tensor) -> Tensor:
    """The weights W (r, d1, k), columns orthonormal, of the raw tensor (r, d1, k), of which the lower triangle counts.

    raw = 0 gives the first k columns of B; `basis` is B (r, d1, d1), or thin, (r, d1, k), from `initial_basis`.
    """
    return turn(basis, _reflected(raw))


def pull_back(basis: Tensor, raw: Tensor, gradient: Tensor) -> Tensor:
    """dL/draw (r, d1, k) from dL/dW (r, d1, k); zero above the diagonal."""
    upstream = turn(basis, gradient, back=True)  # B is fixed: only the small products go through autograd
    with torch.enable_grad():
        leaf = raw.detach().requires_grad_()
        (pulled,) = torch.autograd.grad(_reflected(leaf), leaf, upstream)
    return pulled


def turn(basis: Tensor, x: Tensor, *, back: bool = False) -> Tensor:
    """B x (r, d1, k), or B^T x, by B itself or by its reflections."""
    if basis.shape[1] == basis.shape[2]:
        turned: Tensor = (basis.mT if back else basis) @ x
    else:
        triangle = _triangle(basis)
        inner = torch.linalg.solve_triangular(triangle.mT if back else triangle, basis.mT @ x, upper=not back)
        turned = x - basis @ inner
    return turned


def _reflected(raw: Tensor) -> Tensor:
    """B^T W: the first k columns of the reflections' product, V inner - I.

    The sign makes raw = 0 the identity, as torch's diagonal of -1 does.
    """
    d1, k = raw.shape[1:]
    eye = torch.eye(d1, k, dtype=raw.dtype, device=raw.device)
    reflectors = raw.tril(-1) + eye  # V (r, d1, k)
    inner = torch.linalg.solve_triangular(_triangle(reflectors), reflectors[:, :k].mT, upper=True)
    reflected: Tensor = reflectors @ inner - eye
    return reflected


def _triangle(reflectors: Tensor) -> Tensor:
    """M (r, k, k) of Q = I - V M^-1 V^T, V = `reflectors` (r, d1, k)."""
    gram = reflectors.mT @ reflectors
    return gram.triu(1) + torch.diag_embed(gram.diagonal(dim1=1, dim2=2) / 2)


def columns(weights: Tensor) -> Tensor:
    """(r, d1, k) as the columns of one matrix, (d1, k * r), search fastest."""
    r, d1, k = weights.shape
    return weights.permute(1, 2, 0).reshape(d1, k * r)


def uncolumns(matrix: Tensor, k: int) -> Tensor:
    """The inverse of `columns`: (d1, k * r) as (r, d1, k)."""
    return matrix.view(matrix.shape[0], k, -1).permute(2, 0, 1).contiguous()
