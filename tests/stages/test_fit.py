"""What training knows of class sizes."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from hume_ssl.config import DiscoverRecipe
from hume_ssl.stages.fit import known_shares


def found() -> Any:
    """Class 1 is the largest among train items; with the test items class 0 would be."""
    labels = np.array([1, 1, 1, 0, 2, 2, 0, 0, 0])
    return SimpleNamespace(labels=labels, train=np.arange(9) < 6, names=["a", "b", "c"])


def recipe(**tables: Any) -> DiscoverRecipe:
    return DiscoverRecipe.model_validate({"name": "mine", **tables})


def test_nothing_is_known_unless_somebody_says_so() -> None:
    assert known_shares(recipe(), found()) is None
    assert known_shares(recipe(search={"prior": "uniform"}), found()) is None
    assert known_shares(recipe(search={"prior": "free"}), found()) is None


def test_balanced_classes_and_shares_by_rank() -> None:
    assert known_shares(recipe(data={"balanced": True}), found()) == [1.0, 1.0, 1.0]
    shares = known_shares(recipe(search={"prior": (0.5, 0.3, 0.2)}, data={"balanced": True}), found())
    assert shares == [0.2, 0.5, 0.3]
