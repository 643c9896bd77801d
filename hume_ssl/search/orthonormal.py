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
from contextlib import nullcontext

import torch
from torch import Tensor

from hume_ssl.search.steady import one_thread


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
            with one_thread():
                reflected = torch.geqrf(first)[0]
            bases.append(reflected.tril(-1) + torch.eye(d1, k, dtype=dtype))
            continue
        rest = torch.randn(d1, d1 - k, generator=generator, dtype=dtype)
        with one_thread():
            q, triangle = torch.linalg.qr(torch.cat([first, rest], 1))
        bases.append(q * torch.where(triangle.diagonal() < 0, -1.0, 1.0))
    return torch.stack(bases)


def orthonormal(basis: Tensor, raw: Tensor) -> Tensor:
    """The weights W (r, d1, k), columns orthonormal, of the raw tensor (r, d1, k), of which the lower triangle counts.

    raw = 0 gives the first k columns of B; `basis` is B (r, d1, d1), or thin, (r, d1, k), from `initial_basis`.
    """
    reflectors, inner = _reflections(raw)
    return turn(basis, reflectors @ inner - torch.eye(*raw.shape[1:], dtype=raw.dtype, device=raw.device))


def pull_back(basis: Tensor, raw: Tensor, gradient: Tensor) -> Tensor:
    """dL/draw (r, d1, k) from dL/dW (r, d1, k); zero above the diagonal.

    With U = dL/d(V S), where S = M^-1 V_top^T, and Z = M^-T V^T U: dL/dV = U S^T, plus Z^T in its top rows, plus
    V (N + N^T), where N = dL/d(V^T V) is -Z S^T above the diagonal, half of it on the diagonal, and 0 below.
    """
    upstream = turn(basis, gradient, back=True)
    reflectors, inner = _reflections(raw)
    solved = solve(_triangle(reflectors).mT, reflectors.mT @ upstream, upper=False)
    by_gram = _halved(-solved @ inner.mT)
    pulled = upstream @ inner.mT + reflectors @ (by_gram + by_gram.mT)
    pulled[:, : raw.shape[2]] += solved.mT
    return pulled.tril(-1)


def turn(basis: Tensor, x: Tensor, *, back: bool = False) -> Tensor:
    """B x (r, d1, k), or B^T x, by B itself or by its reflections."""
    if basis.shape[1] == basis.shape[2]:
        turned: Tensor = (basis.mT if back else basis) @ x
    else:
        triangle = _triangle(basis)
        inner = solve(triangle.mT if back else triangle, basis.mT @ x, upper=not back)
        turned = x - basis @ inner
    return turned


def _reflections(raw: Tensor) -> tuple[Tensor, Tensor]:
    """V (r, d1, k) and S = M^-1 V_top^T (r, k, k): B^T W, the first k columns of the reflections' product, is V S - I.

    The sign makes raw = 0 the identity, as torch's diagonal of -1 does.
    """
    d1, k = raw.shape[1:]
    reflectors = raw.tril(-1) + torch.eye(d1, k, dtype=raw.dtype, device=raw.device)
    return reflectors, solve(_triangle(reflectors), reflectors[:, :k].mT, upper=True)


def solve(triangle: Tensor, right: Tensor, *, upper: bool) -> Tensor:
    """triangle^-1 right (r, k, m). Several are solved a thread each, so one has to be too, to be solved the same."""
    with one_thread() if len(triangle) == 1 else nullcontext():
        solved: Tensor = torch.linalg.solve_triangular(triangle, right, upper=upper)
    return solved


def _triangle(reflectors: Tensor) -> Tensor:
    """M (r, k, k) of Q = I - V M^-1 V^T, V = `reflectors` (r, d1, k)."""
    return _halved(reflectors.mT @ reflectors)


def _halved(square: Tensor) -> Tensor:
    """(r, k, k) above the diagonal as it is, half of it on the diagonal, 0 below."""
    return square.triu(1) + torch.diag_embed(square.diagonal(dim1=1, dim2=2) / 2)


def columns(weights: Tensor) -> Tensor:
    """(r, d1, k) as the columns of one matrix, (d1, k * r), search fastest."""
    r, d1, k = weights.shape
    return weights.permute(1, 2, 0).reshape(d1, k * r)


def uncolumns(matrix: Tensor, k: int) -> Tensor:
    """The inverse of `columns`: (d1, k * r) as (r, d1, k)."""
    return matrix.view(matrix.shape[0], k, -1).permute(2, 0, 1).contiguous()
