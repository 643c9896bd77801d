"""The consensus moved by answers, and names matched to classes."""

import numpy as np
import pytest

from hume_ssl.consensus import Picked, apply_answers, name_classes, people_first, vote_shares
from hume_ssl.consensus.answers import _told
from hume_ssl.errors import InputError

NONE = np.empty(0, dtype=np.int64)
# Three searches that agree: items 0-9 in class 0, 10-19 in class 1, 20-29 in class 2.
CLEAR = np.repeat(np.arange(3), 10)
SAME = np.stack([CLEAR, (CLEAR + 1) % 3, 2 - CLEAR])
ALL = np.ones(30)


def moved(index: list[int], answers: list[int]) -> list[int]:
    return apply_answers(SAME, CLEAR, ALL, np.array(index), np.array(answers), 3).labels.tolist()


def test_one_answer_speaks_for_itself_two_for_their_group() -> None:
    """All is certain: variance 0.25, noise 0.3. One answer moves its group's votes by 0.25/0.55 = 0.45 from class 0 to
    class 1, too little; two by 2 * 0.25/(2 * 0.25 + 0.3) = 0.625, enough, and by more as they foretell each other."""
    assert moved([3], [1]) == [0, 0, 0, 1, *[0] * 6, *[1] * 10, *[2] * 10]
    assert moved([3, 4], [1, 1]) == [*[1] * 20, *[2] * 10]


def test_answers_that_contradict_one_another_move_only_themselves() -> None:
    assert moved([3, 4], [1, 0]) == [0, 0, 0, 1, *[0] * 6, *[1] * 10, *[2] * 10]


def test_noise_is_less_where_answers_foretell_each_other() -> None:
    """Two answers of one kind, covariance 0.25: each leaves noise/(0.25 + noise) of the other unsaid, least at 0.03; of
    two that contradict, 0.25/(0.25 + noise) is said in vain, least at 0.3."""
    prior = np.full((2, 2), 0.25)
    for residual, noise in ((np.ones((2, 1)), 0.03), (np.array([[1.0], [-1.0]]), 0.3)):
        expected = np.linalg.solve(prior + noise * np.eye(2), residual)
        np.testing.assert_allclose(_told(prior, residual), expected)


def test_a_doubtful_group_follows_one_answer() -> None:
    """Items 0-3 lie in class 0 in 3 of 5 searches: votes 0.6 and 0.4, variance 0.25 + 0.4. An answer 1 moves them by
    0.65/0.95 * 0.6 = 0.41 each way, to 0.19 and 0.81; items 4-9, together with them 3 times of 5, stay."""
    truth = np.repeat([0, 1], [10, 10])
    odd = truth.copy()
    odd[:4] = 1
    labellings = np.stack([truth, truth, truth, odd, odd])
    agreement = (labellings == truth).mean(0)
    found = apply_answers(labellings, truth, agreement, np.array([0]), np.array([1]), 2)
    assert found.labels.tolist() == [1] * 4 + [0] * 6 + [1] * 10
    np.testing.assert_allclose(found.agreement, [0.4] * 4 + [1] * 16)


def test_without_answers_nothing_moves_whatever_the_votes_say() -> None:
    labels = CLEAR.copy()
    labels[0] = 2  # a consensus that was not voted by these searches alone
    found = apply_answers(SAME, labels, ALL, NONE, NONE, 3)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.agreement, ALL)


def test_order_of_answers_searches_and_ids_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    labellings = np.where(rng.random((7, 30)) < 0.3, rng.integers(0, 3, (7, 30)), CLEAR)
    agreement, weights = (labellings == CLEAR).mean(0), rng.random(7)
    index = rng.permutation(30)[:8]
    answers = rng.integers(0, 3, 8)
    found = apply_answers(labellings, CLEAR, agreement, index, answers, 3, weights=weights)
    turned = np.stack([rng.permutation(3)[labelling] for labelling in labellings])[::-1]
    again = apply_answers(turned, CLEAR, agreement, index[::-1], answers[::-1], 3, weights=weights[::-1])
    np.testing.assert_array_equal(found.labels, again.labels)
    np.testing.assert_allclose(found.agreement, again.agreement)


def test_a_search_without_weight_has_no_vote() -> None:
    labellings = np.vstack([SAME, np.zeros((1, 30), dtype=np.int64)])
    shares = vote_shares(labellings, CLEAR, np.array([0, 29]), 3, weights=np.array([1.0, 1, 1, 0]))
    np.testing.assert_allclose(shares, [[1, 0, 0], [0, 0, 1]])


def named(names: list[str], classes: list[int], free: list[bool] | None = None) -> dict[str, int]:
    votes = np.eye(4)[classes]
    return name_classes(names, np.array(classes), votes, np.array(free or [True] * 4))


def test_a_name_gets_the_class_of_most_of_its_items() -> None:
    assert named(["cat", "cat", "dog", "dog", "dog"], [0, 1, 1, 1, 0]) == {"cat": 0, "dog": 1}
    assert named(["cat", "cat", "cat", "dog"], [0, 0, 1, 1]) == {"cat": 0, "dog": 1}


def test_a_merged_class_gives_its_second_name_the_class_that_is_there_twice() -> None:
    """Class 0 is cats and dogs, classes 1 and 2 are birds: the dogs get one of the two, the smaller in answers."""
    names = ["cat", "cat", "dog", "bird", "bird", "bird"]
    assert named(names, [0, 0, 0, 1, 1, 2]) == {"cat": 0, "dog": 2, "bird": 1}


def test_a_name_waits_while_the_class_left_for_it_is_unknown() -> None:
    assert named(["cat", "cat", "dog"], [0, 0, 0]) == {"cat": 0}


def test_votes_decide_between_equals_and_named_classes_are_not_renamed() -> None:
    votes = np.array([[0.6, 0.4, 0, 0], [0.6, 0, 0.4, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    names = ["cat", "dog", "", ""]
    assert name_classes(names, np.array([0, 0, 1, 2]), votes, np.array([False, True, True, True])) == {
        "cat": 1,
        "dog": 2,
    }


def test_more_names_than_classes_are_refused() -> None:
    with pytest.raises(InputError, match=r"2 new names \(cat, dog\) for 1 classes"):
        named(["cat", "dog"], [0, 1], [False, True, False, False])


def test_people_come_first_in_each_class_and_no_class_grows() -> None:
    """Class 0 had 4 and 2 picked; 7 and 5 are labelled 0 by people, 5 more agreed; 2 as well keeps one row."""
    picked = Picked(np.array([4, 2, 1]), np.array([0, 0, 1]), np.array([1, 2, 1]), ["a", "b", "c"])
    answered = np.full(9, -2)
    answered[[7, 5]], answered[8] = 0, -1
    agreement = np.array([0, 0, 0, 0, 0, 0.9, 0, 0.8, 0])
    found = people_first(picked, answered, agreement, 3)
    assert found.index.tolist() == [5, 7, 4, 1]
    assert found.label.tolist() == [0, 0, 0, 1]
    assert found.rank.tolist() == [1, 2, 3, 1]
    assert found.reason == ["labelled by a person", "labelled by a person", "a", "c"]
    answered[2] = 0
    assert people_first(picked, answered, agreement, 9).index.tolist() == [5, 7, 2, 4, 1]
