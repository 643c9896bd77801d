"""In which number format the large products of a search run.

bfloat16 has float32's range and 8 significant bits. Hardware for it multiplies two to five times faster than float32
and adds up in float32; what is rounded are the factors and the finished sums, by up to 0.4 % each. A descent makes only
its small moves in it, so that the error of dL/dY_tr is a few parts in 100,000 where moves are small (usps) and below
one percent elsewhere (tests/parity/test_leaps.py, tests/bench/engine.py).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hume_ssl.search.steady import product

FEW_COLUMNS = 64  # of a product, below which a transposed view costs it half its speed
Precision = Literal["auto", "float32", "bfloat16"]


def matmul_dtype(precision: Precision, device: str, dtype: torch.dtype = torch.float32) -> torch.dtype:
    """Format of the products: bfloat16 where "auto" finds hardware for it; a float64 search stays in float64."""
    if dtype != torch.float32 or precision == "float32":
        return dtype
    if precision == "bfloat16" or has_bfloat16(device):
        return torch.bfloat16
    return dtype


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    if device.startswith("cuda"):
        return bool(torch.cuda.get_device_capability(device)[0] >= 8)
    if device != "cpu":
        return False
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch 2.6 has no public question for it
    return any(bool(getattr(torch.cpu, name, bool)()) for name in asked)


class Rows:
    """Rows of a space, ready for the two products of a gradient step.

    Where it is faster, the transposed rows are kept contiguous as well: in bfloat16, and in products of few columns.
    """

    def __init__(self, x: Tensor, dtype: torch.dtype, columns: int) -> None:
        self.x = x.to(dtype)  # (n, d)
        twice = dtype == torch.bfloat16 or columns <= FEW_COLUMNS
        self.transposed = self.x.T.contiguous() if twice else self.x.T  # (d, n)

    def scores(self, theta: Tensor) -> Tensor:
        """x @ theta: (n, c) from (d, c), in the products' format."""
        return product(self.x, theta.to(self.x.dtype))

    def sums(self, residual: Tensor, dtype: torch.dtype) -> Tensor:
        """x^T @ residual: (d, c) from (n, c), as `dtype`."""
        return product(self.transposed, residual.to(self.x.dtype)).to(dtype)
