"""How fast the published inner problem runs: `python tests/bench/engine.py [OUTPUT.json]`.

usps.npz, two kernel:rbf spaces (judge 1024 wide), subsets of 8,368 learning and 930 held-out items, 300 steps: seconds
that one search and one subset take, for dL/dY as a whole, against autograd through the loop in the same run; the share
of the machine's rate for a 4096-cubed product; the error of dL/dY_tr against every step in float32; and the labels
that agree after 50 outer steps. Takes about fifteen minutes on two cores; run nothing beside it. On a machine with a
GPU everything runs there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from common import Data, load, output, table, write
from torch import Tensor

from hume_ssl.schema import SearchConfig
from hume_ssl.search import engine, prepare_spaces
from hume_ssl.search.descent import descent
from hume_ssl.search.inner import Inner
from hume_ssl.search.leaps import Plan, every_step
from hume_ssl.search.orthonormal import columns, initial_basis
from hume_ssl.search.solvers import Solvers
from hume_ssl.search.sparsemax import sparsemax

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
K, STEPS, LR, TEMPERATURE = 10, 300, 0.001, 0.1
OUTER_STEPS, COMPARED = 50, 3
CUBE = 4096
FIGURES = ("seconds", "times faster", "share of torch.mm's rate", "error of dL/dY_tr", "bound of leaps and rotation")


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median over repeats, after one that is not counted."""
    work()
    taken = []
    for _ in range(repeats):
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return median(taken)


def rate(dtype: torch.dtype) -> float:
    """FLOP/s of a 4096-cubed product."""
    a = torch.randn(CUBE, CUBE, device=DEVICE).to(dtype)
    return 2 * CUBE**3 / seconds(lambda: a @ a, 3)


def autograd(x_tr: Tensor, x_te: Tensor, y_tr: Tensor, y_te: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """dL/dY of one search as the published code finds it: the loop unrolled, every step kept in the graph."""
    y_tr, y_te = (y.clone().requires_grad_() for y in (y_tr, y_te))
    theta = theta.clone().requires_grad_()
    for _ in range(STEPS):
        error = torch.nn.functional.cross_entropy(x_tr @ theta, y_tr)
        (slope,) = torch.autograd.grad(error, theta, create_graph=True)
        theta = theta - LR * slope
    return torch.autograd.grad(torch.nn.functional.cross_entropy(x_te @ theta, y_te), (y_tr, y_te))


class Problem:
    """One subset of usps with the labels that r searches start with."""

    def __init__(self, data: Data, r: int) -> None:
        spaces = prepare_spaces(data.spaces[0], data.spaces[1:], data.train, SearchConfig(preset="paper"), DEVICE)
        self.solvers = Solvers(spaces, K, SearchConfig(preset="paper").settings())
        subset = self.solvers.for_objective(0, r).subset
        weights = initial_basis(spaces.d1, K, list(range(r)))[:, :, :K].to(DEVICE)
        labels = sparsemax((spaces.whole_labeller @ columns(weights)).view(-1, K, r) / TEMPERATURE)
        self.y_tr, self.y_te = labels[subset.train], labels[subset.test]
        rows = [spaces.judge_rows(spaces.train[part.numpy()]) for part in (subset.train, subset.test)]
        self.x_tr, self.x_te = rows
        self.theta = self.solvers.random_starts([torch.Generator().manual_seed(i) for i in range(r)])

    def run(self, plan: Plan, products: torch.dtype) -> Inner:
        """dL/dY of all searches."""
        return descent(self.x_tr, self.x_te, self.y_tr, self.y_te, self.theta, plan, products)

    @property
    def flop(self) -> float:
        """Of the four products of every step, all searches."""
        n, d = self.x_tr.shape
        return 4.0 * STEPS * 2 * n * d * self.y_tr[0].numel()


def error(found: Tensor, exact: Tensor) -> float:
    """Relative error of dL/dY_tr, less each row's mean, which sparsemax removes."""
    found, exact = found - found.mean(1, keepdim=True), exact - exact.mean(1, keepdim=True)
    return float((found - exact).norm() / exact.norm())


def speed(data: Data) -> dict[str, dict[str, Any]]:
    """Seconds for one search and one subset, every way, with the error each makes."""
    alone = Problem(data, 1)
    y = (alone.y_tr[:, :, 0], alone.y_te[:, :, 0], alone.theta[:, :, 0])
    reference = seconds(lambda: autograd(alone.x_tr, alone.x_te, *y), 3)
    rates = {dtype: rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    rows: dict[str, dict[str, Any]] = {"autograd, one search": {"seconds": reference}}
    every = every_step(STEPS, LR)
    chosen = alone.solvers.plan
    values, directions = alone.solvers.spectrum
    width = next(place for place, value in enumerate(values.tolist()) if STEPS * LR * value / 4 <= 0.005)
    width = max(1, width)
    bound = STEPS * LR * float(values[width]) / 4
    rotated = replace(every, leading=directions[:, :width].contiguous(), error=bound)
    exact_alone = autograd(alone.x_tr, alone.x_te, *y)[0][:, :, None]
    cases: list[tuple[str, int, Plan, torch.dtype]] = [
        ("full width, float32, 16 searches", 16, every, torch.float32),
        ("full width, bfloat16, 32 searches", 32, every, torch.bfloat16),
        (f"rotated to {width}, bfloat16, 32 searches", 32, rotated, torch.bfloat16),
        ("as `paper` plans it, float32, 25 searches", 25, chosen, torch.float32),
        ("as `paper` plans it, bfloat16, 25 searches", 25, chosen, torch.bfloat16),
        ("one search alone, full width, float32", 1, every, torch.float32),
        ("one search alone, full width, bfloat16", 1, every, torch.bfloat16),
        ("one search alone, as planned, bfloat16", 1, chosen, torch.bfloat16),
    ]
    exact: dict[int, Tensor] = {1: exact_alone}
    for name, r, plan, products in cases:
        problem = Problem(data, r)
        if r not in exact:
            exact[r] = problem.run(every, torch.float32).train
        taken = seconds(lambda problem=problem, plan=plan, products=products: problem.run(plan, products), 3) / r
        rows[name] = {
            "seconds": taken,
            "times faster": reference / taken,
            "error of dL/dY_tr": error(problem.run(plan, products).train, exact[r]),
            "bound of leaps and rotation": plan.error,
        }
        if plan is every:
            rows[name]["share of torch.mm's rate"] = problem.flop / r / taken / rates[products]
        print(name, rows[name], flush=True)
    rows["torch.mm"] = {f"GFLOP/s {str(dtype)[6:]}": value / 1e9 for dtype, value in rates.items()}
    return rows


def labels_after(data: Data, searches: int, **options: Any) -> Tensor:
    """(n, r) labels after 50 outer steps of the published schedule on one subset each."""
    config = SearchConfig(preset="paper", iterations=OUTER_STEPS, subsets=1, early_stop=False, **options)
    spaces = prepare_spaces(data.spaces[0], data.spaces[1:], data.train, config, DEVICE)
    found = engine.search_batch(Solvers(spaces, K, config.settings()), list(range(searches)))
    return (spaces.whole_labeller @ columns(found.weights)).view(len(data.truth), K, -1).argmax(1)[:, :COMPARED]


def equal_labels(data: Data) -> dict[str, float]:
    """Shares of labels equal to those of every step in float32; and what another order of summation alone moves."""
    exact = labels_after(data, COMPARED, precision="float32", tolerance=0.0)
    begun = initial_basis(data.spaces[0].shape[1], K, list(range(COMPARED)))[:, :, :K].to(DEVICE)
    rows = torch.nn.functional.normalize(torch.from_numpy(np.asarray(data.spaces[0])).to(DEVICE).float(), dim=1)
    start = (rows @ columns(begun)).view(len(rows), K, -1).argmax(1)
    planned = labels_after(data, COMPARED, precision="bfloat16")
    beside = labels_after(data, COMPARED + 1, precision="bfloat16")
    return {
        "planned, float32": _share(labels_after(data, COMPARED, precision="float32"), exact),
        "planned, bfloat16": _share(planned, exact),
        "planned, bfloat16, against itself with one search more beside": _share(planned, beside),
        "not searched at all": _share(start, exact),
    }


def _share(labels: Tensor, others: Tensor) -> float:
    return float((labels == others).double().mean())


def main() -> None:
    """Measure, print, write."""
    data = load("usps")
    rows = speed(data)
    by_figure = {key: {name: row[key] for name, row in rows.items() if key in row} for key in FIGURES}
    print(table("one search, one subset", by_figure), end="\n\n")
    equal = equal_labels(data)
    print(table("equal labels after 50 outer steps", {"share": equal}))
    write(output("engine.json"), {"device": DEVICE, "speed": rows, "equal_labels": equal})


if __name__ == "__main__":
    main()
