"""Whole calls of `run_searches`: what must not change what is found, and the edges of k and temperature."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hume_ssl.errors import InputError
from hume_ssl.metrics import ari
from hume_ssl.schema import SearchConfig
from hume_ssl.search import Searches, assign_labels, prepare_spaces, run_searches, steps_to_do

N, D1, D2, K = 60, 10, 8, 4

CLOSED_FORM = {"preset": "fast", "iterations": 40, "subsets": 1, "batch": 4}
DESCENT = {"preset": "paper", "iterations": 12, "subsets": 2, "inner_steps": 8, "inner_lr": 0.5, "outer_lr": 0.05} | {
    "batch": 4
}
DRAWN = {**DESCENT, "subset_size": 40, "random_init": False}


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labeller, judge and train mask: blobs, every fifth item a test item."""
    rng, truth = np.random.default_rng(seed), np.arange(N) % K
    made = [3 * rng.standard_normal((K, d))[truth] + rng.standard_normal((N, d)) for d in (D1, D2)]
    return made[0].astype(np.float32), made[1].astype(np.float32), np.arange(N) % 5 != 0


def search(options: dict, searches: int = 5, k: int = K, **changed: np.ndarray) -> Searches:
    labeller, judge, train = data()
    labeller, judge, train = (
        changed.get("labeller", labeller),
        changed.get("judge", judge),
        changed.get("train", train),
    )
    config = SearchConfig(searches=searches, seed=3, **options)
    return run_searches(prepare_spaces(labeller, [judge], train, config), k, config)


def assert_same(one: Searches, other: Searches) -> None:
    """Bitwise."""
    for name, mine in one.__dict__.items():
        theirs = getattr(other, name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs), name
        else:
            assert mine == theirs, name


@pytest.mark.parametrize("options", [CLOSED_FORM, DESCENT, DRAWN], ids=["closed-form", "descent", "drawn"])
def test_the_same_seeds_give_the_same_bits_and_others_do_not(options: dict) -> None:
    one = search(options)
    assert_same(one, search(options))
    assert (
        one.seeds == [300_000 + i for i in range(5)]
        and one.labellings.shape == (5, N)
        and one.weights.shape == (5, K, D1)
    )
    assert len({row.tobytes() for row in one.weights}) == 5


@pytest.mark.parametrize("options", [CLOSED_FORM, DRAWN], ids=["closed-form", "drawn"])
def test_five_searches_and_then_twelve_are_twelve_at_once(options: dict) -> None:
    """Batches of four: of the five, four are kept and the fifth is run again in its full batch."""
    labeller, judge, train = data()
    five, twelve = (SearchConfig(searches=r, seed=3, **options) for r in (5, 12))
    made = prepare_spaces(labeller, [judge], train, five)
    first = run_searches(made, K, five)
    kept: list[int] = []
    joined = run_searches(made, K, twelve, done=first, keep=lambda found: kept.append(len(found)))
    assert_same(joined, run_searches(prepare_spaces(labeller, [judge], train, twelve), K, twelve))
    assert_same(joined.first(5), first)
    assert kept == [8, 12]
    assert_same(run_searches(made, K, five, done=joined), first)  # fewer than are there: the first of them
    iterations = twelve.settings().iterations
    assert steps_to_do(12, 5, K, twelve) == 2 * iterations and steps_to_do(12, 0, K, twelve) == 3 * iterations


@pytest.mark.parametrize("options", [CLOSED_FORM, DRAWN], ids=["closed-form", "drawn"])
def test_test_items_do_not_influence_the_searches(options: dict) -> None:
    labeller, judge, train = data()
    other_labeller, other_judge = labeller.copy(), judge.copy()
    other_labeller[~train], other_judge[~train] = 100, -50
    one, other = search(options), search(options, labeller=other_labeller, judge=other_judge)
    assert np.array_equal(one.labellings[:, train], other.labellings[:, train])
    assert not np.array_equal(one.labellings, other.labellings)  # the changed rows themselves are labelled anew
    for name in ("objective", "generalization_score", "weights", "centre"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_test_items_are_labelled_by_the_encoders_stored() -> None:
    """argmax of weights @ (row - centre): the length of the row does not matter."""
    labeller = data()[0]
    found = search(CLOSED_FORM)
    assert found.centre is not None
    expected = np.einsum("rkd,nd->rnk", found.weights.astype(float), labeller - found.centre.astype(float)).argmax(2)
    assert np.array_equal(found.labellings, expected)


@pytest.mark.parametrize("options", [CLOSED_FORM, DESCENT], ids=["closed-form", "descent"])
def test_a_constant_on_the_labeller_changes_nothing(options: dict) -> None:
    """Bitwise by a power of two; by any other number up to rounding, so there in float64: in float32 Adam makes whole
    steps of gradients that are nothing but rounding."""
    labeller, judge, train = data()
    assert np.array_equal(search(options).labellings, search(options, labeller=labeller * np.float32(64)).labellings)
    config = SearchConfig(searches=5, seed=3, **options)
    one, other = (
        run_searches(replace(prepare_spaces(x, [judge], train, config), dtype=torch.float64), K, config)
        for x in (labeller, labeller.astype(np.float64) * 0.3)
    )
    assert (one.labellings == other.labellings).mean() > 0.99


def test_a_constant_on_each_row_of_the_labeller_changes_nothing_where_nothing_is_centred() -> None:
    labeller = data()[0]
    factors = np.float32(2.0) ** (np.arange(N, dtype=np.float32) % 7 - 3)
    one, other = search(DESCENT), search(DESCENT, labeller=labeller * factors[:, None])
    assert np.array_equal(one.labellings, other.labellings)
    assert np.array_equal(one.weights, other.weights)


def test_two_judges_are_one_judge_of_both_side_by_side() -> None:
    labeller, judge, train = data()
    config = SearchConfig(searches=2, seed=3, **CLOSED_FORM)
    split = run_searches(prepare_spaces(labeller, [judge[:, :3], judge[:, 3:]], train, config), K, config)
    assert_same(split, search(CLOSED_FORM, searches=2))


def test_memory_mapped_half_precision_spaces_give_what_arrays_in_memory_give(tmp_path: Path) -> None:
    labeller, judge, _ = data()
    for name, space in (("labeller", labeller), ("judge", judge)):
        np.save(tmp_path / f"{name}.npy", space.astype(np.float16))
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("labeller", "judge")]
    whole = [np.asarray(space) for space in mapped]
    assert_same(
        search(CLOSED_FORM, labeller=mapped[0], judge=mapped[1]), search(CLOSED_FORM, labeller=whole[0], judge=whole[1])
    )


@pytest.mark.filterwarnings("error")
def test_a_read_only_space_draws_no_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "labeller.npy", data()[0])
    mapped = np.load(tmp_path / "labeller.npy", mmap_mode="r")
    assert assign_labels(mapped, torch.eye(D1)[None, :, :K], None).shape == (1, N)


@pytest.mark.parametrize("options", [CLOSED_FORM, DESCENT], ids=["closed-form", "descent"])
def test_very_hard_labels_from_the_start(options: dict) -> None:
    """At T = 0.001 hardly any row is soft: figures stay finite and labels in range."""
    found = search({**options, "temperature": 1e-3, "final_temperature": 1e-3})
    assert np.isfinite(found.objective).all() and np.isfinite(found.weights).all()
    assert found.labellings.min() >= 0 and found.labellings.max() < K


@pytest.mark.parametrize("options", [CLOSED_FORM, DESCENT], ids=["closed-form", "descent"])
def test_without_the_entropy_term_classes_die_and_are_counted(options: dict) -> None:
    """Labeller rows that nearly all point one way: one class has them. The count is of train items alone."""
    train = data()[2]
    narrow = 1 + np.random.default_rng(9).normal(scale=0.05, size=(N, D1)).astype(np.float32)
    found = search({**options, "entropy_weight": 0.0, "centre": False, "temperature": 0.01}, labeller=narrow)
    assert found.classes_found == [len(set(row[train])) for row in found.labellings]
    assert min(found.classes_found) < K
    assert np.isfinite(found.objective).all() and np.isfinite(found.weights).all()


@pytest.mark.parametrize("options", [CLOSED_FORM, DESCENT], ids=["closed-form", "descent"])
@pytest.mark.parametrize("k", [2, D1])
def test_two_classes_and_as_many_as_the_labeller_has_directions(options: dict, k: int) -> None:
    found = search(options, k=k)
    assert np.isfinite(found.objective).all()
    gram = found.weights @ found.weights.transpose(0, 2, 1)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(k), gram.shape), atol=1e-5)


@pytest.mark.parametrize("options", [CLOSED_FORM, DESCENT], ids=["closed-form", "descent"])
def test_as_many_classes_as_items(options: dict) -> None:
    train = np.isin(np.arange(N), np.arange(D1))
    found = search(options, k=D1, train=train)
    assert np.isfinite(found.objective).all() and np.isfinite(found.generalization_score).all()
    assert max(found.classes_found) <= D1


def test_impossible_numbers_of_classes_are_refused() -> None:
    few = np.arange(N) < 5
    for k, train, message in (
        (1, None, "--classes 1 is too few: give 2 or more"),
        (6, few, "--classes 6 is more than the 5 train items: give at most 5"),
        (D1 + 1, None, f"--classes {D1 + 1} is more than the {D1} directions of the labeller space"),
    ):
        with pytest.raises(InputError, match=message):
            search(CLOSED_FORM, k=k, **({} if train is None else {"train": train}))


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_blobs_are_found(preset: str) -> None:
    """End to end: three blobs far apart; the search with the best objective has them."""
    rng, truth = np.random.default_rng(5), np.arange(150) % 3
    labeller, judge = (6 * rng.standard_normal((3, d))[truth] + rng.standard_normal((150, d)) for d in (9, 7))
    small = {"inner_steps": 20, "inner_lr": 0.05, "outer_lr": 0.02, "iterations": 260, "subsets": 1}
    config = SearchConfig(preset=preset, searches=4, batch=4, **(small if preset == "paper" else {}))
    train = np.arange(150) >= 30
    found = run_searches(prepare_spaces(labeller, [judge], train, config), 3, config)
    best = int(found.objective.argmin())
    assert ari(found.labellings[best][train], truth[train]) == 1
    assert ari(found.labellings[best][~train], truth[~train]) == 1
    assert found.generalization_score[best] == 1


def test_searches_that_diverge_say_so_instead_of_voting() -> None:
    with pytest.raises(InputError, match=r"not a number: give a smaller search\.outer_lr than 1e\+30"):
        search({**CLOSED_FORM, "outer_lr": 1e30})
