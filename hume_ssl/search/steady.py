"""Arithmetic of which a search gets the same bits whatever runs beside it, and on however many threads.

Searches run side by side as columns of one array, (n, k, r) as in `sparsemax`, and rounding decides in which of two
near optima one ends. On a CPU, torch's own sums, softmax and fused updates round the last few numbers of a stretch of
memory in another way than the rest, and where a stretch ends follows from r and the number of threads. Here a sum over
n or k is a tree of plain additions in an order that n or k alone decides; softmax is made of such sums and of
operations that round each number by itself; and products have a least number of columns, since narrow ones take another
path. The sums of a product run along the shared dimension in an order that its other rows and columns do not change
(tests/search/test_side_by_side.py looks whether it is so on this machine). On a GPU torch's own operations are used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

COLUMNS = 32  # a product has at least; zeros fill it up


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, (n, c) from (n, d) and (d, c)."""
    c = b.shape[1]
    if c >= COLUMNS or a.device.type != "cpu":
        return a @ b
    return (a @ torch.nn.functional.pad(b, (0, COLUMNS - c)))[:, :c].contiguous()


def product_of_rows(a: Tensor, b: Tensor) -> Tensor:
    """a @ b where a's rows are what runs side by side."""
    rows = len(a)
    if rows >= COLUMNS or a.device.type != "cpu":
        return a @ b
    return (torch.nn.functional.pad(a, (0, 0, 0, COLUMNS - rows)) @ b)[:rows]


def sum_over(x: Tensor, dim: int) -> Tensor:
    """Sum along a dimension, which stays with length 1: first half plus second half, until one is left.

    As torch does, it adds up in float32 where numbers are shorter.
    """
    if x.device.type != "cpu":
        return x.sum(dim, keepdim=True)
    if x.dtype in (torch.bfloat16, torch.float16):
        return sum_over(x.float(), dim).to(x.dtype)
    size = x.shape[dim]
    if size == 1:
        return x
    half = size // 2
    total = x.narrow(dim, 0, half) + x.narrow(dim, half, half)
    if size % 2:
        total.narrow(dim, 0, 1).add_(x.narrow(dim, size - 1, 1))
    while half > 1:
        size, half = half, half // 2
        total.narrow(dim, 0, half).add_(total.narrow(dim, half, half))
        if size % 2:
            total.narrow(dim, 0, 1).add_(total.narrow(dim, size - 1, 1))
    return total.narrow(dim, 0, 1)


def mean_over_rows(x: Tensor) -> Tensor:
    """(...) mean of (n, ...) along the first dimension."""
    return x.mean(0) if x.device.type != "cpu" else sum_over(x, 0)[0] / len(x)


def softmax(scores: Tensor) -> Tensor:
    """(n, k, r) softmax over k, in the scores' format."""
    if scores.device.type != "cpu":
        return scores.softmax(1)
    masses = (scores - scores.amax(1, keepdim=True)).exp_()
    return masses.div_(sum_over(masses, 1))


def log_softmax(scores: Tensor) -> Tensor:
    """(n, k, r) logarithm of the softmax over k, in the scores' format."""
    if scores.device.type != "cpu":
        return scores.log_softmax(1)
    lowered = scores - scores.amax(1, keepdim=True)
    return lowered.sub_(sum_over(lowered.exp(), 1).log_())


def adam(value: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, lr: float, step: int) -> None:
    """Step number `step`, from 1, of Adam (betas 0.9 and 0.999, eps 1e-8), in place, in torch's order of operations.

    Fused multiply-adds round once, plain ones twice; where torch fuses depends on the place in memory.
    """
    mean.add_((gradient - mean) * 0.1)
    square.mul_(0.999).add_(gradient * gradient * 0.001)
    denominator = (square.sqrt() / math.sqrt(1 - 0.999**step)).add_(1e-8)
    value.sub_(mean * (lr / (1 - 0.9**step)) / denominator)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block torch computes on one thread: a factorisation's rounding depends on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
