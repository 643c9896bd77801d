"""The schedule by hand, and searches that end when their labels rest."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hume_ssl.schema import SearchConfig
from hume_ssl.search import engine, prepare_spaces, run_searches
from hume_ssl.search.engine import ALL_ITERATIONS, UNCHANGED, Batch, Watch, may_stop, schedule
from hume_ssl.search.solvers import Solvers


def test_published_schedule() -> None:
    """Learning rate 0.001 and T = 0.1, both divided by ten from step 100 and again from step 200, counted from 0."""
    s = SearchConfig(preset="paper").settings()
    for step, passed in ((0, 0), (99, 0), (100, 1), (199, 1), (200, 2), (999, 2)):
        assert schedule(s, step) == pytest.approx((0.001 / 10**passed, 0.1 / 10**passed))


def test_fixed_schedule() -> None:
    s = SearchConfig(preset="paper", schedule="fixed", outer_lr=0.1).settings()
    assert schedule(s, 0) == schedule(s, 999) == (0.1, 0.1)


def test_smooth_schedule() -> None:
    """From T = 1 to 0.01 and rate 0.03 in 100 steps: half way T = 0.1, the geometric mean, and half the rate."""
    s = SearchConfig(
        iterations=100, schedule="smooth", temperature=1.0, final_temperature=0.01, outer_lr=0.03
    ).settings()
    assert schedule(s, 0) == (0.03, 1.0)
    assert schedule(s, 50) == pytest.approx((0.015, 0.1))
    lr, temperature = schedule(s, 99)
    assert 0 < lr < 1e-4 and temperature == pytest.approx(0.01, rel=0.05)
    falling = [schedule(s, step) for step in range(100)]
    assert all(a[0] > b[0] and a[1] > b[1] for a, b in pairwise(falling))


def test_a_published_search_may_end_only_when_the_temperature_has_fallen_for_the_last_time() -> None:
    paper, fast = SearchConfig(preset="paper").settings(), SearchConfig().settings()
    assert not may_stop(paper, 59) and not may_stop(paper, 199) and may_stop(paper, 200)
    assert may_stop(fast, 59)


def test_watch_by_hand() -> None:
    """Two searches with k = 2 on two items. The first never changes: 50 steps have passed at the sixth look. The second
    changes at the third look and counts from there; `keep` drops the first."""
    rest, turned = torch.eye(2), torch.eye(2).flip(1)
    watch = Watch(torch.eye(2))
    for look in range(1, 6):
        found = watch.unchanged(torch.stack([rest, turned if look >= 3 else rest]))
        assert found.tolist() == [False, False]
    assert watch.unchanged(torch.stack([rest, turned])).tolist() == [True, False]
    watch.keep(torch.tensor([1]))
    assert watch.unchanged(turned[None]).tolist() == [False]
    assert watch.unchanged(turned[None]).tolist() == [True]  # the eighth look: 50 steps after the third


def test_the_searches_that_go_on_keep_their_own_state() -> None:
    """Of four searches, 1 and 3 go on: each field of the batch is theirs, the generators the very same objects."""
    fields = [torch.arange(4.0)[:, None, None] + shift for shift in (0, 10, 20, 30)]
    own = [torch.Generator() for _ in range(4)]
    kept = engine._kept(Batch(*fields, own, torch.arange(4.0)[None, None]), torch.tensor([1, 3]))
    found = [x.flatten().tolist() for x in (kept.basis, kept.raw, kept.mean, kept.square)]
    assert found == [[1, 3], [11, 13], [21, 23], [31, 33]]
    assert kept.start is not None and kept.start.flatten().tolist() == [1, 3]
    assert kept.generators[0] is own[1] and kept.generators[1] is own[3]


def config(**options: object) -> SearchConfig:
    """Six searches side by side, closed form, published schedule; some come to rest early."""
    return SearchConfig(
        preset="paper",
        searches=6,
        seed=20,
        **{"batch": 6, "iterations": 285, "outer_lr": 1.0, "subsets": 1, "inner_steps": 0, "ridge": 0.01, "scale": 3.0}
        | options,
    )


def spaces() -> tuple[np.ndarray, np.ndarray]:
    """400 items of four classes, much noise."""
    rng, truth = np.random.default_rng(0), np.arange(400) % 4
    made = [rng.standard_normal((4, d))[truth] + 2 * rng.standard_normal((400, d)) for d in (10, 8)]
    return made[0].astype(np.float32), made[1].astype(np.float32)


class Count:
    """A progress bar that only counts."""

    done = 0

    def advance(self, n: int = 1, **info: str) -> None:
        self.done += n


def test_searches_that_rest_end_early_with_their_reason_and_the_others_go_on() -> None:
    labeller, judge = spaces()
    train = np.ones(400, dtype=bool)
    count = Count()
    made = replace(prepare_spaces(labeller, [judge], train, config()), dtype=torch.float64)
    stopped = run_searches(made, 4, config(), progress=count)
    full = run_searches(made, 4, config(early_stop=False))
    early = np.array(stopped.iterations) < 285
    assert early.any() and not early.all()
    assert [i for i, e in zip(stopped.iterations, early, strict=True) if not e] == [285] * int((~early).sum())
    assert all(i >= 260 and i % engine.CHECK_EVERY == 0 for i in np.array(stopped.iterations)[early])
    assert stopped.stop_reasons == [UNCHANGED if e else ALL_ITERATIONS for e in early]
    assert full.iterations == [285] * 6 and full.stop_reasons == [ALL_ITERATIONS] * 6
    assert (stopped.labellings == full.labellings).mean() >= 0.999
    np.testing.assert_allclose(stopped.objective, full.objective, rtol=0.01)  # at the same temperature
    assert count.done == 285


def test_when_all_searches_have_ended_the_loop_ends_and_the_progress_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PUBLISHED_MILESTONES", (5, 10))
    labeller, judge = spaces()
    count, options = Count(), config(outer_lr=1e-6, iterations=200)
    found = run_searches(
        prepare_spaces(labeller, [judge], np.ones(400, dtype=bool), options), 4, options, progress=count
    )
    assert found.iterations == [70] * 6  # looks at steps 20, 30, ... 70, the first after the last milestone
    assert found.stop_reasons == [UNCHANGED] * 6
    assert count.done == 200


def test_objectives_are_measured_at_the_temperature_the_schedule_ends_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smooth: searches that hardly move end at step 60 to 80, where T is still far from its last value."""
    seen: list[float] = []
    real = engine.objective

    def watched(solvers: Solvers, weights: torch.Tensor, temperature: float) -> NDArray[np.float64]:
        seen.append(temperature)
        return real(solvers, weights, temperature)

    monkeypatch.setattr(engine, "objective", watched)
    labeller, judge = spaces()
    for early_stop in (True, False):
        options = config(outer_lr=1e-6, iterations=100, schedule="smooth", temperature=1.0, early_stop=early_stop)
        found = run_searches(prepare_spaces(labeller, [judge], np.ones(400, dtype=bool), options), 4, options)
        assert (max(found.iterations) < 100) == early_stop
    assert seen[0] == seen[1] == schedule(options.settings(), 99)[1]
