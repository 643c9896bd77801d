"""A batch that is killed at any step and goes on from its last state ends with the bytes it would have had."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hume_ssl.errors import InputError
from hume_ssl.schema import SearchConfig
from hume_ssl.search import midway, prepare_spaces
from hume_ssl.search.engine import UNCHANGED, BatchResult, search_batch
from hume_ssl.search.midway import Midway
from hume_ssl.search.solvers import Solvers
from hume_ssl.tensor_files import read_safetensors, write_safetensors


class Killed(Exception):
    """What stands in for kill -9."""


def solvers(**settings: object) -> Solvers:
    """Searches on 90 items of three blurred clusters."""
    rng, truth = np.random.default_rng(0), np.arange(90) % 3
    labeller, judge = (
        (3 * rng.standard_normal((3, 6))[truth] + rng.standard_normal((90, 6))).astype(np.float32) for _ in "ab"
    )
    config = SearchConfig(subset_size=50, **settings)  # type: ignore[arg-type]
    return Solvers(prepare_spaces(labeller, [judge], np.ones(90, dtype=bool), config), 3, config.settings())


def same(a: BatchResult, b: BatchResult) -> bool:
    return (
        torch.equal(a.weights, b.weights)
        and a.objective.tobytes() == b.objective.tobytes()
        and (a.iterations, a.stop_reasons) == (b.iterations, b.stop_reasons)
    )


PAPER = {"preset": "paper", "iterations": 40, "inner_steps": 4, "inner_lr": 0.5, "outer_lr": 0.1, "subsets": 2}
CASES = {
    "descent from new starts": PAPER,
    "descent from a fixed start": {**PAPER, "random_init": False},
    # The temperature stays, so that labels come to rest long before the last step.
    "closed form, with an early stop": {"iterations": 200, "outer_lr": 0.3, "schedule": "fixed", "temperature": 0.1},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("last", [0, 9, 30, 39])
def test_killed_after_a_step_and_resumed(case: str, last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midway, "EVERY", 0.0)
    path, seeds = tmp_path / "state.safetensors", [3, 4, 5, 6]

    def kill(step: int, *_: object) -> None:
        if step == last + 1:
            raise Killed

    whole = search_batch(solvers(**CASES[case]), seeds)
    keeping = Midway(None, lambda tensors, facts: write_safetensors(path, tensors, facts))
    if last < 39:
        with pytest.raises(Killed):
            search_batch(solvers(**CASES[case]), seeds, log=kill, midway=keeping)
    else:  # killed while the objective is measured, after the last step
        search_batch(solvers(**CASES[case]), seeds, midway=keeping)
    steps: list[int] = []
    resumed = search_batch(
        solvers(**CASES[case]),
        seeds,
        log=lambda step, *_: steps.append(step),
        midway=Midway(read_safetensors(path), lambda *_: None),
    )
    assert same(resumed, whole)
    assert len(steps) == max(whole.iterations) - read_safetensors(path)[1]["step"]
    if last < 39:
        assert steps[0] == last + 1


def test_killed_when_some_searches_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midway, "EVERY", 0.0)
    case, seeds, states = CASES["closed form, with an early stop"], list(range(12)), {}
    whole = search_batch(solvers(**case), seeds)
    ends = sorted(set(whole.iterations))
    assert UNCHANGED in whole.stop_reasons and len(ends) > 1  # else this test shows nothing

    def keep(tensors: dict[str, torch.Tensor], facts: dict[str, object]) -> None:
        write_safetensors(path := tmp_path / f"{facts['step']}.safetensors", tensors, facts)
        states[facts["step"]] = path

    search_batch(solvers(**case), seeds, midway=Midway(None, keep))
    for step in (ends[0], (ends[0] + ends[1]) // 2):
        state = read_safetensors(states[step])
        assert 0 < len(state[1]["running"]) < len(seeds)
        assert same(search_batch(solvers(**case), seeds, midway=Midway(state, keep)), whole)


def test_a_state_of_other_seeds_is_not_taken() -> None:
    facts = {"seeds": [1, 2], "step": 5, "running": [0], "iterations": [9, 5], "reasons": ["a", "b"]}
    state = ({}, facts)
    assert Midway(state, lambda *_: None).of([1, 2]) is state
    assert Midway(state, lambda *_: None).of([1, 3]) is None
    for change in ({"running": [2]}, {"step": None}, {"iterations": [9]}, {"reasons": "ab"}):
        with pytest.raises(InputError, match="is damaged"):
            Midway(({}, facts | change), lambda *_: None).of([1, 2])


def test_a_state_is_kept_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 0, 30, 61, 70 and 130 seconds: kept at 61, and not again before 121."""
    clock = iter([0.0, 30.0, 61.0, 61.0, 70.0, 130.0, 130.0])
    monkeypatch.setattr(midway.time, "monotonic", lambda: next(clock))
    kept: list[object] = []
    keeping = Midway(None, lambda tensors, facts: kept.append(facts["step"]))
    for step in range(1, 5):
        keeping.offer(lambda step=step: ({}, {"step": step}))
    assert kept == [2, 4]
