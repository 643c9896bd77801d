"""The number of classes: the rule by hand, the figures of made searches, and searches of clear groups."""

from dataclasses import replace

import numpy as np
import pytest

from hume_ssl.class_count import ITERATIONS, Tried, choose, figures, quick, try_counts
from hume_ssl.schema import SearchConfig
from hume_ssl.search import Searches, prepare_spaces, run_searches

ROW = Tried(
    k=2, generalization_score=0.9, stability=0.5, stability_better_half=0.5, objective=1.0, searches=4, collapsed=0
)


def groups(n: int, k: int) -> np.ndarray:
    """(n, 8) of k far-apart groups, in turn."""
    rng = np.random.default_rng(0)
    return (4 * np.eye(8)[np.arange(n) % k] + 0.3 * rng.standard_normal((n, 8))).astype(np.float32)


def test_the_rule_by_hand() -> None:
    """Means 0.8, 0.5 and 0.4 times roots of log 2, 7 and 16 = 2 to the fourth: 0.666, 0.697 and 0.666; nothing else
    has a part in it."""
    two = replace(ROW, stability=0.9, stability_better_half=0.7)
    seven = replace(ROW, k=7, stability=0.4, stability_better_half=0.6, generalization_score=0.1)
    sixteen = replace(ROW, k=16, stability=0.4, stability_better_half=0.4, objective=0.1)
    assert [round(one.support, 3) for one in (two, seven, sixteen)] == [0.666, 0.697, 0.666]
    assert sixteen.support == pytest.approx(two.support)
    assert choose([two, seven, sixteen]) == 7
    assert choose([sixteen, replace(ROW, k=9, stability=0.1)]) == 16


def test_a_number_at_which_most_searches_lose_classes_is_not_taken() -> None:
    """Equal items are one partition at any number, stability 1; half of the searches may collapse, more may not."""
    two, three = replace(ROW, stability=0.9, collapsed=2), replace(ROW, k=3, stability=1.0, collapsed=3)
    assert three.support > two.support
    assert choose([two, three]) == 2
    assert choose([replace(two, collapsed=4), replace(three, collapsed=4)]) == 2  # none: the fewest classes tried


def test_figures_by_hand() -> None:
    """Searches 0 and 2 are the better half and the same partition (ARI 1); every other pair is at -1/2."""
    labellings = np.array([[0, 0, 1, 1, 9], [0, 1, 0, 1, 9], [1, 1, 0, 0, 9], [0, 1, 1, 0, 9]], dtype=np.int32)
    found = Searches(
        seeds=[0, 1, 2, 3],
        labellings=labellings,
        objective=np.array([0.1, 0.5, 0.2, 0.4]),
        generalization_score=np.array([1.0, 0.5, 0.8, 0.7]),
        classes_found=[2, 2, 2, 1],
        iterations=[1] * 4,
        stop_reasons=[""] * 4,
        weights=np.zeros((4, 2, 2), dtype=np.float32),
        centre=None,
    )
    train = np.array([True, True, True, True, False])
    assert figures(found, 2, train) == Tried(2, 0.75, round((1 - 5 / 2) / 6, 6), 1.0, 0.3, 4, 1)


def test_clear_groups_are_counted_and_rows_are_those_of_searches_run_alone() -> None:
    space = groups(120, 4)
    config = SearchConfig(searches=4, iterations=60, seed=1)
    spaces = prepare_spaces(space, [space], np.ones(120, dtype=bool), config)
    tried = list(try_counts(spaces, range(2, 7), config, 120))
    assert [one.k for one in tried] == [2, 3, 4, 5, 6]
    assert choose(tried) == 4
    assert tried[2].stability == pytest.approx(1.0)
    # The subsets solved for the numbers before change nothing.
    alone = run_searches(spaces, 5, config.model_copy(update={"batch": 4}))
    assert figures(alone, 5, np.ones(120, dtype=bool)) == tried[3]
    assert list(try_counts(spaces, [6], config, 120)) == tried[4:]


def test_steps_only_where_the_recipe_leaves_them_open() -> None:
    assert quick(SearchConfig()).iterations == ITERATIONS
    assert quick(SearchConfig(iterations=7)).iterations == 7
    assert quick(SearchConfig(preset="paper")).iterations is None
    assert quick(SearchConfig(objective="turtle")).iterations is None
