"""A search finds the same to the last bit whatever runs beside it, and on however many threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler

from hume_ssl.schema import SearchConfig
from hume_ssl.search import Searches, prepare_spaces, run_searches

SEARCHES = 5
FAST: dict[str, Any] = {"preset": "fast", "iterations": 30, "subset_size": 300}
FACTORED: dict[str, Any] = {**FAST, "iterations": 6, "subset_size": 10_000}  # as many as there are
PAPER: dict[str, Any] = {"preset": "paper", "iterations": 5, "subsets": 2, "subset_size": 300}
EVERY_STEP: dict[str, Any] = {**PAPER, "inner_steps": 12, "inner_lr": 0.05, "random_init": False, "tolerance": 0.0}
STOPPING: dict[str, Any] = {**FAST, "iterations": 500, "outer_lr": 0.3, "early_stop": True}
TURTLE: dict[str, Any] = {"preset": "paper", "objective": "turtle", "iterations": 15, "subset_size": 300}
CASES = {"fast": FAST, "whole": FACTORED, "paper": PAPER, "every-step": EVERY_STEP, "stop": STOPPING, "turtle": TURTLE}


@pytest.fixture
def threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def found(options: dict[str, Any], batch: int, threads: int, k: int) -> Searches:
    """Searches of the digits, pixels against kernel features, so many side by side on so many threads."""
    torch.set_num_threads(threads)
    pixels = (load_digits().data[::2] / 16).astype(np.float32)
    judge = RBFSampler(gamma=0.2, n_components=96, random_state=0).fit_transform(pixels).astype(np.float32)
    config = SearchConfig(searches=SEARCHES, seed=1, precision="float32", batch=batch, **options)
    return run_searches(prepare_spaces(pixels, [judge], np.arange(len(pixels)) % 5 != 0, config), k, config)


def compare(case: str, k: int) -> None:
    first = found(CASES[case], SEARCHES, 1, k)
    if case == "stop":
        assert len(set(first.iterations)) > 1, "one at least has to leave the others"
    for batch, threads in ((1, 2), (2, 1), (4, 2)):
        again = found(CASES[case], batch, threads, k)
        for name, mine in first.__dict__.items():
            assert np.array_equal(mine, getattr(again, name)), f"{name} of {batch} on {threads} threads"


# Of three classes a product of one search is narrow.
@pytest.mark.parametrize("k", [3, 10])
@pytest.mark.parametrize("case", ["fast", "paper"])
def test_a_search_is_the_same_to_the_last_bit(case: str, k: int, threads_put_back: None) -> None:
    compare(case, k)


@pytest.mark.parametrize(("case", "k"), [("whole", 3), ("every-step", 10), ("stop", 10), ("turtle", 3)])
def test_so_it_is_with_other_settings(case: str, k: int, threads_put_back: None) -> None:
    compare(case, k)
