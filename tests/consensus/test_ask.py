"""Which items a person is asked about: typical ones first, then large, uncertain groups."""

import numpy as np
import pytest

from hume_ssl.consensus import Asked, ask
from hume_ssl.consensus.together import covariance, together
from hume_ssl.errors import InputError

# Four searches, two classes: 0-39 and 40-69 are clear, 70-89 and 90-94 are in either class in half of the searches.
SURE = np.repeat([0, 1], [40, 30])
LARGE, SMALL = np.arange(70, 90), np.arange(90, 95)
LABELLINGS = np.array(
    [np.concatenate([SURE, np.full(20, large), np.full(5, small)]) for large, small in ((0, 0), (0, 1), (1, 0), (1, 1))]
)
LABELS = np.concatenate([SURE, np.zeros(25, dtype=np.int64)])
AGREEMENT = (LABELLINGS == LABELS).mean(0)


def asked(count: int, **how: object) -> Asked:
    return ask(LABELLINGS, LABELS, AGREEMENT, 2, count, **how)  # type: ignore[arg-type]


def test_together_and_covariance_are_as_computed_by_hand() -> None:
    """Items 0 and 70 are in one class in 2 of 4 searches; their variances are 0.25 and 0.25 + 1 - 0.5."""
    rows, columns = np.array([0, 70]), np.array([1, 40, 70, 90])
    np.testing.assert_allclose(together(LABELLINGS, rows, columns), [[1, 0, 0.5, 0.5], [0.5, 0.5, 1, 0.5]])
    expected = [0.25, 0, 0.5**4 * np.sqrt(0.25 * 0.75), 0.5**4 * np.sqrt(0.25 * 0.75)]
    np.testing.assert_allclose(covariance(LABELLINGS, AGREEMENT, rows, columns)[0], expected, rtol=1e-6)


def test_typical_items_come_first_the_largest_class_first() -> None:
    found = asked(2)
    assert found.index.tolist() == [0, 40]  # of items that are alike the first
    assert found.prototype.all()
    assert asked(1).index.tolist() == [0]


def test_then_comes_the_large_uncertain_group() -> None:
    found = asked(3)
    assert found.index[2] in LARGE
    assert not found.prototype[2]
    assert found.rival[2] == 1
    assert found.settles.tolist() == [40, 30, 20]


def test_what_is_answered_is_not_asked_again() -> None:
    """Six answers in the large group leave less to be learned there than one in the small one."""
    before = np.concatenate([[0, 40], LARGE[:12], [1, 2, 3, 4, 5, 6, 41, 42, 43, 44]])
    found = asked(1, answered=before)
    assert found.index[0] in SMALL
    assert not found.prototype.any()


def test_only_train_items_are_asked_and_no_item_twice() -> None:
    train = np.arange(95) % 2 == 1
    found = asked(200, train=train)
    assert sorted(found.index.tolist()) == np.flatnonzero(train).tolist()
    assert found.settles.sum() >= len(found.index)


def test_ids_of_the_classes_of_a_search_do_not_matter() -> None:
    renamed = LABELLINGS.copy()
    renamed[1] = 1 - renamed[1]
    np.testing.assert_array_equal(ask(renamed, LABELS, AGREEMENT, 2, 10).index, asked(10).index)


@pytest.mark.parametrize(("count", "answered", "told"), [(0, None, "--ask 0"), (3, np.arange(95), "nothing left")])
def test_nothing_to_ask_is_refused(count: int, answered: np.ndarray | None, told: str) -> None:
    with pytest.raises(InputError, match=told):
        asked(count, answered=answered)
