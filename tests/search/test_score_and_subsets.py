"""The generalization score, the best search, and the draws of subsets."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from hume_ssl.errors import InputError
from hume_ssl.search import best_search, score
from hume_ssl.search.score import generalization_scores
from hume_ssl.search.subsets import Spaces, draw, space_centre, unit_rows


def spaces(judge: np.ndarray) -> Spaces:
    return Spaces(judge, [judge], np.arange(len(judge)))


def test_best_search_by_hand() -> None:
    """The highest score of all, 0.9, has lost a class; of the others 0.8 is best, and the first of two."""
    assert best_search(np.array([0.9, 0.7, 0.8, 0.8]), [2, 3, 3, 3]) == 2
    assert best_search(np.array([0.5, 0.6]), [1, 1]) == 1


def test_score_is_one_for_separable_classes_and_chance_for_shuffled_ones() -> None:
    rng, truth = np.random.default_rng(0), np.arange(200) % 4
    judge = 8 * rng.standard_normal((4, 6))[truth] + rng.standard_normal((200, 6))
    shuffled = rng.permutation(truth)
    found = generalization_scores(spaces(judge), np.stack([truth, shuffled, np.zeros(200, int)]), 4)
    assert found[0] == 1 and found[1] < 0.45
    assert found[2] == 1  # one class for all is trivially learnt: compare only searches that found all


def test_score_does_not_depend_on_class_ids_nor_on_the_other_labellings() -> None:
    rng = np.random.default_rng(1)
    judge, labels = rng.standard_normal((80, 5)), rng.integers(0, 3, 80)
    together = generalization_scores(spaces(judge), np.stack([labels, (labels + 1) % 3, np.roll(labels, 7)]), 3)
    assert together[0] == together[1]
    assert together[2] == generalization_scores(spaces(judge), np.roll(labels, 7)[None], 3)[0]


def test_score_is_that_of_scikit_learns_ridge_on_the_same_folds() -> None:
    """Ridge minimises |Y - Xw - b|^2 + alpha |w|^2; ours divides by n, so alpha = n * penalty, the intercept free."""
    rng = np.random.default_rng(2)
    judge = rng.standard_normal((73, 6)) + 2
    labels = (judge @ rng.standard_normal((6, 3)) + rng.standard_normal((73, 3))).argmax(1)
    hits, shares = 0, []
    for learn, fold in KFold(10, shuffle=True, random_state=1).split(judge):
        squares = (judge[learn] ** 2).mean(0)
        penalty = score.RIDGE * squares.mean() + 1e-9 * max(squares.max(), 1)
        model = Ridge(alpha=len(learn) * penalty).fit(judge[learn], np.eye(3)[labels[learn]])
        right = model.predict(judge[fold]).argmax(1) == labels[fold]
        hits, shares = hits + int(right.sum()), [*shares, right.mean()]
    found = generalization_scores(spaces(judge), labels[None], 3, "ridge")
    assert found[0] == pytest.approx(np.mean(shares))
    assert 0.4 < hits / 73 < 1


def test_score_on_a_sample_of_many_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "ITEMS", 50)
    monkeypatch.setattr(score, "COLUMNS", 4)  # one labelling at a time
    rng, truth = np.random.default_rng(3), np.arange(300) % 3
    judge = 8 * rng.standard_normal((3, 4))[truth] + rng.standard_normal((300, 4))
    for method in ("logistic", "ridge"):
        assert generalization_scores(spaces(judge), np.stack([truth, truth]), 3, method).tolist() == [1, 1]


def test_a_subset_is_a_division_of_distinct_items_in_order() -> None:
    for n, size, n_tr, n_te in ((100, 40, 36, 4), (100, 80, 72, 8), (25, 10_000, 22, 3)):
        one = draw(n, size, 0.9, 0, "step", 5)
        both = np.concatenate([one.train.numpy(), one.test.numpy()])
        assert (len(one.train), len(one.test)) == (n_tr, n_te)
        assert len(set(both)) == len(both) and both.min() >= 0 and both.max() < n
        assert (np.diff(one.train) > 0).all() and (np.diff(one.test) > 0).all()


def test_draws_follow_from_seed_stream_and_number_alone() -> None:
    def drawn(*key: object) -> list[int]:
        return draw(50, 20, 0.5, *key).train.tolist()  # type: ignore[arg-type]

    assert drawn(0, "step", 3) == drawn(0, "step", 3)
    others = [(0, "step", 3), (1, "step", 3), (0, "objective", 3), (0, "pool", 3), (0, "step", 4)]
    assert len({tuple(drawn(*key)) for key in others}) == len(others)


def test_every_item_comes_up_on_either_side() -> None:
    count = np.zeros((2, 30))
    for number in range(400):
        one = draw(30, 20, 0.5, 0, "step", number)
        count[0, one.train] += 1
        count[1, one.test] += 1
    assert count.min() > 80 and count.max() < 190  # 133 expected, standard deviation 9.4


def test_a_subset_without_a_side_is_refused() -> None:
    for n, size, fraction in ((2, 10, 0.3), (1, 10, 0.9), (50, 2, 0.4)):
        with pytest.raises(InputError, match=r"leave no item on one side"):
            draw(n, size, fraction, 0, "step", 0)


def test_rows_are_centred_then_scaled_and_the_centre_is_that_of_train_items() -> None:
    labeller = np.array([[3.0, 4.0], [5.0, 4.0], [100.0, 100.0], [4.0, 4.0]], dtype=np.float32)
    centre = space_centre(labeller, np.array([0, 1, 3]))
    assert centre.tolist() == [4, 4]
    made = Spaces(labeller, [labeller, labeller[:, :1]], np.array([0, 1, 3]), centre)
    assert made.labeller_rows(np.array([0, 1, 3])).tolist() == [
        [-1, 0],
        [1, 0],
        [0, 0],
    ]  # the mean itself: no direction
    assert (made.d1, made.d2) == (2, 3)
    assert made.judge_rows(np.array([0])).tolist() == [[3, 4, 3, 1]]
    assert unit_rows(made.judge_rows(np.array([0]))[:, :2], None).tolist() == [[0.6000000238418579, 0.800000011920929]]
