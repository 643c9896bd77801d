"""TURTLE against an independent re-derivation: torch's Linear, weight_norm, cross_entropy, autograd and Adam.

The reference shares nothing with the package but the data, the batches of items and the random starts. In float64.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hume_ssl.errors import InputError
from hume_ssl.metrics import acc
from hume_ssl.schema import SearchConfig, SearchSettings
from hume_ssl.search import Searches, label_items, prepare_spaces, run_searches
from hume_ssl.search.subsets import Spaces
from hume_ssl.search.turtle import weights_of
from hume_ssl.search.turtle_batch import objective, search_batch
from hume_ssl.search.turtle_spaces import OBJECTIVE, Turtle

N, D, K, SEEDS = 40, (7, 5), 3, [3, 4, 5]
COLD = {"iterations": 12, "outer_lr": 0.02, "inner_lr": 0.05, "subset_size": 24, "entropy_weight": 3.0}
WARM = {**COLD, "random_init": False}
WHOLE = {**COLD, "subset_size": 10_000, "centre": True, "schedule": "smooth"}
CASES = pytest.mark.parametrize("options", [COLD, WARM, WHOLE], ids=["cold", "warm", "whole"])


def blobs(n: int = N, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % K
    return [3 * rng.normal(size=(K, d))[truth] + rng.normal(size=(n, d)) + 0.4 for d in D], truth


def case(options: dict[str, object]) -> Turtle:
    """Train items are not the first ones, so that a position among them is not an item's index."""
    arrays, _ = blobs()
    settings = SearchConfig(objective="turtle", preset="paper", seed=7, **options).settings()
    return Turtle(Spaces(arrays[0], arrays, np.arange(4, N), dtype=torch.float64), K, settings)


# --- the reference: one search ------------------------------------------------------------------------------------


def linears(starts: list[Tensor]) -> list[torch.nn.Linear]:
    """A Linear a space, its weight and bias set to a start (d + 1, k)."""
    made = []
    for start in starts:
        linear = torch.nn.Linear(len(start) - 1, K, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(start[:-1].T)
            linear.bias.copy_(start[-1])
        made.append(linear)
    return made


def learn(learners: list[torch.nn.Linear], adam: torch.optim.Adam, rows: list[Tensor], tau: Tensor, steps: int) -> None:
    for _ in range(steps):
        adam.zero_grad()
        sum(cross_entropy(f(x), tau) for f, x in zip(learners, rows, strict=True)).backward()
        adam.step()


def all_parameters(modules: list[torch.nn.Linear]) -> list[Tensor]:
    return [parameter for module in modules for parameter in module.parameters()]


def reference(turtle: Turtle, seed: int) -> tuple[list[Tensor], list[float]]:
    """Effective weights (k, d + 1) in each space, and the outer cross-entropy of every step."""
    s: SearchSettings = turtle.settings
    generator = torch.Generator().manual_seed(seed)

    def start() -> list[Tensor]:
        return [part[..., 0] for part in turtle.starts([generator])]

    encoder = [torch.nn.utils.parametrizations.weight_norm(linear, dim=0) for linear in linears(start())]
    outer = torch.optim.Adam(all_parameters(encoder), lr=s.outer_lr)
    learners, losses = linears(start()), []
    inner = torch.optim.Adam(all_parameters(learners), lr=s.inner_lr)
    for step in range(s.iterations):
        if s.schedule == "smooth":
            outer.param_groups[0]["lr"] = s.outer_lr * (1 + np.cos(np.pi * step / s.iterations)) / 2
        rows = [x[:, :-1] for x in turtle.batch(3, step)]
        shares = [linear(x).softmax(1) for linear, x in zip(encoder, rows, strict=True)]
        tau = torch.stack(shares).mean(0)
        if s.random_init and step:
            learners = linears(start())
            inner = torch.optim.Adam(all_parameters(learners), lr=s.inner_lr)
        learn(learners, inner, rows, tau.detach(), s.inner_steps)
        outer.zero_grad()
        error = sum(cross_entropy(f(x).detach(), tau) for f, x in zip(learners, rows, strict=True))
        entropy = sum(torch.special.entr(share.mean(0)).sum() for share in shares)
        (error - s.entropy_weight * entropy).backward()
        outer.step()
        losses.append(error.item())
    return [torch.cat([linear.weight, linear.bias[:, None]], 1).detach() for linear in encoder], losses


# --- parity ------------------------------------------------------------------------------------------------------


@CASES
def test_searches_side_by_side_equal_autograd_one_by_one(options: dict[str, object]) -> None:
    turtle, losses = case(options), []
    found = search_batch(turtle, SEEDS, log=lambda step, loss, running: losses.append(loss.tolist()))
    assert found.iterations == [12] * 3 and found.stop_reasons == ["all iterations"] * 3
    for place, seed in enumerate(SEEDS):
        weights, expected = reference(turtle, seed)
        np.testing.assert_allclose([row[place] for row in losses], expected, rtol=1e-9)
        for mine, theirs in zip(found.weights, weights, strict=True):
            np.testing.assert_allclose(mine[..., place].T, theirs, rtol=1e-9, atol=1e-12)
        for begun in zip(found.weights, turtle.starts([torch.Generator().manual_seed(seed)]), strict=True):
            assert (begun[0][..., place] - begun[1][..., 0]).abs().max() > 0.05  # it has moved


@CASES
def test_one_search_alone_equals_the_same_among_others(options: dict[str, object]) -> None:
    turtle = case(options)
    together, alone = search_batch(turtle, SEEDS), search_batch(turtle, SEEDS[1:2])
    for several, one in zip(together.weights, alone.weights, strict=True):
        np.testing.assert_allclose(several[..., 1:2], one, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(together.objective[1:2], alone.objective, rtol=1e-9)


def test_the_objective_is_the_error_of_learners_from_shared_starts() -> None:
    """Cross-entropy summed over spaces and averaged over 20 batches, without the entropy term."""
    turtle, total = case(COLD), 0.0
    found = search_batch(turtle, SEEDS)
    for number in range(20):
        rows = [x[:, :-1] for x in turtle.batch(OBJECTIVE, number)]
        encoder = linears([w[..., 2] for w in found.weights])
        with torch.no_grad():
            tau = torch.stack([f(x).softmax(1) for f, x in zip(encoder, rows, strict=True)]).mean(0)
        generator = torch.Generator().manual_seed(7 * 20 + number)
        learners = linears([start[..., 0] for start in turtle.starts([generator])])
        learn(learners, torch.optim.Adam(all_parameters(learners), lr=turtle.settings.inner_lr), rows, tau, 10)
        total += sum(cross_entropy(f(x), tau).item() for f, x in zip(learners, rows, strict=True)) / 20
    np.testing.assert_allclose(found.objective[2], total, rtol=1e-9)
    assert found.objective[2] == objective(turtle, found.weights)[2]


# --- whole runs --------------------------------------------------------------------------------------------------

RUN = {"objective": "turtle", "preset": "paper", "seed": 3, "batch": 4, **COLD, "iterations": 60}
STOPPING = {**RUN, "early_stop": True, "iterations": 250, "schedule": "smooth", "outer_lr": 0.05}


def run(options: dict[str, object], searches: int = 5, done: Searches | None = None) -> Searches:
    arrays, _ = blobs()
    train, config = np.arange(N) % 5 != 0, SearchConfig(searches=searches, **options)
    spaces = prepare_spaces(arrays[0], arrays, train, config)
    return run_searches(spaces, K, config, done=done)


def assert_same(one: Searches, other: Searches) -> None:
    """Bitwise."""
    for name, mine in one.__dict__.items():
        theirs = getattr(other, name)
        assert np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs, name


@pytest.mark.parametrize("options", [RUN, STOPPING], ids=["all-iterations", "early-stop"])
def test_five_searches_and_then_twelve_are_twelve_at_once(options: dict[str, object]) -> None:
    five, twelve = run(options), run(options, 12)
    assert_same(run(options, 12, done=five), twelve)
    assert_same(twelve.first(5), five)
    assert five.seeds == [300_000 + i for i in range(5)] and len({row.tobytes() for row in five.weights}) == 5


def test_a_search_that_rests_ends_and_leaves_the_others_as_they_are() -> None:
    stopped, full = run(STOPPING, 8), run({**STOPPING, "early_stop": False}, 8)
    ended = [i for i, reason in enumerate(stopped.stop_reasons) if reason == "labels unchanged for 50 steps"]
    assert ended and all(stopped.iterations[i] < 250 and stopped.iterations[i] % 10 == 0 for i in ended)
    assert len(set(stopped.iterations)) > 1  # some went on without those that had ended
    assert (stopped.labellings == full.labellings).mean() > 0.99


@pytest.mark.parametrize("centre", [False, True])
def test_stored_encoders_label_any_rows(centre: bool) -> None:
    """The class with the highest mean softmax of weights @ row + bias, on rows as they are in the files."""
    found, (arrays, _) = run({**RUN, "centre": centre}), blobs()
    assert found.weights.shape == (5, K, sum(D)) and found.bias is not None and found.bias.shape == (5, 2, K)
    assert found.widths == list(D)
    shares = []
    for part, array, bias in zip(np.split(found.weights, [D[0]], 2), arrays, found.bias.swapaxes(0, 1), strict=True):
        logits = np.einsum("rkd,nd->rnk", part.astype(float), array) + bias[:, None]
        shares.append(torch.from_numpy(logits).softmax(2).numpy())
    assert np.array_equal(found.labellings, sum(shares).argmax(2))
    assert np.array_equal(label_items(found, [array[9:20] for array in arrays]), found.labellings[:, 9:20])
    with pytest.raises(InputError, match="2 space"):
        label_items(found, arrays[:1])


def test_centring_makes_the_place_and_the_scale_of_a_space_count_for_nothing() -> None:
    (arrays, _), config = blobs(), SearchConfig(searches=4, **{**RUN, "centre": True})
    other, train = [arrays[0] * 300 - 40, arrays[1]], np.ones(N, dtype=bool)
    one, two = (
        run_searches(replace(prepare_spaces(s[0], s, train, config), dtype=torch.float64), K, config)
        for s in (arrays, other)
    )
    assert np.array_equal(one.labellings, two.labellings)
    np.testing.assert_allclose(one.objective, two.objective, rtol=1e-6)


def test_blobs_are_found_by_the_best_search() -> None:
    """Clear blobs in two spaces: the labelling of the lowest objective is the truth."""
    (arrays, truth), config = blobs(200, seed=1), SearchConfig(objective="turtle", searches=8, seed=1)
    found = run_searches(prepare_spaces(arrays[0], arrays, np.ones(200, dtype=bool), config), K, config)
    assert acc(found.labellings[found.objective.argmin()], truth, K) > 0.98


def test_a_search_that_diverges_says_so() -> None:
    with pytest.raises(InputError, match="not a number"):
        run({**RUN, "inner_lr": 1e37, "iterations": 5})


def test_the_closed_form_is_refused() -> None:
    with pytest.raises(InputError, match="inner_steps"):
        run({**RUN, "inner_steps": 0})


def test_weight_norm_starts_from_the_weights_drawn() -> None:
    from hume_ssl.search.turtle import encoder_of

    start = torch.randn(6, K, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(weights_of(encoder_of(start)), start, rtol=1e-12, atol=0)
