"""Logistic regression side by side: against scikit-learn one at a time, folds, line search, who is beside whom."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from hume_ssl.search.linesearch import LineSearch
from hume_ssl.search.logistic import held_out_hits
from hume_ssl.search.score import fold_numbers, generalization_scores, score_method
from hume_ssl.search.subsets import Spaces

Case = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> Case:
    """400 digits as pixels, (400, 64) at norm about 1, and labellings of three qualities."""
    images, truth = load_digits(return_X_y=True)
    rng, rows = np.random.default_rng(0), (images[:400] / 50).astype(np.float32)
    wrong = [np.where(rng.random(400) < share, rng.integers(0, 10, 400), truth[:400]) for share in (0, 0.4, 1)]
    return rows, np.stack(wrong)


def reference(x: np.ndarray, labels: np.ndarray) -> float:
    """Mean accuracy over the folds, one scikit-learn fit each."""
    shares = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 100 iterations are not enough, and the option for no penalty has two names
        for learn, fold in KFold(10, shuffle=True, random_state=1).split(x):
            model = LogisticRegression(C=np.inf, max_iter=100).fit(x[learn], labels[learn])
            shares.append(model.score(x[fold], labels[fold]))
    return float(np.mean(shares))


def spaces(judge: np.ndarray, dtype: torch.dtype = torch.float32) -> Spaces:
    return Spaces(judge, [judge], np.arange(len(judge)), dtype=dtype)


def test_folds_are_those_of_scikit_learn() -> None:
    for n in (7, 25, 403):
        folds = fold_numbers(n)
        for number, (_, left_out) in enumerate(KFold(min(10, n), shuffle=True, random_state=1).split(np.arange(n))):
            assert np.flatnonzero(folds == number).tolist() == left_out.tolist()


def test_scores_are_those_of_scikit_learn_one_fit_at_a_time(digits: Case) -> None:
    x, labellings = digits
    wanted = [reference(x, labels) for labels in labellings]
    assert wanted[0] > 0.9 and wanted[2] < 0.2  # the labellings differ
    assert generalization_scores(spaces(x), labellings, 10) == pytest.approx(wanted, abs=0.02)
    exact = generalization_scores(spaces(x.astype(np.float64), torch.float64), labellings, 10)
    assert exact == pytest.approx(wanted, abs=0.0101)


def test_a_labelling_of_fewer_classes_than_k_is_that_of_its_own_classes(digits: Case) -> None:
    """scikit-learn never hears of classes that no item has; two of them it fits as one logistic curve."""
    x, labellings = digits
    few = np.where(labellings[0] < 3, labellings[1], 7)
    assert generalization_scores(spaces(x), few[None], 10)[0] == pytest.approx(reference(x, few), abs=0.02)
    two = (labellings[0] > 4) * 5
    assert generalization_scores(spaces(x), two[None], 10)[0] == pytest.approx(reference(x, two), abs=0.03)
    assert generalization_scores(spaces(x), np.full((1, 400), 3), 10)[0] == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_alone_as_beside_others_in_any_order(digits: Case, dtype: torch.dtype) -> None:
    x = torch.from_numpy(np.hstack([digits[0], np.ones((400, 1), dtype=np.float32)]))
    x = x.double() if dtype == torch.float64 else x
    labels, folds = torch.from_numpy(digits[1].astype(np.int64)), torch.from_numpy(fold_numbers(400))
    together = held_out_hits(x, labels, folds, 10, dtype, 100)
    backwards = held_out_hits(x, labels.flip(0), folds, 10, dtype, 7)
    alone = np.concatenate([held_out_hits(x, one[None], folds, 10, dtype, 100) for one in labels])
    assert together.shape == (3, 10)
    assert together.tolist() == held_out_hits(x, labels, folds, 10, dtype, 100).tolist()
    # Products of another width may round otherwise, and a hundred steps carry that on: an item or two of 400.
    slack = 0 if dtype == torch.float64 else 4
    for other in (backwards[::-1], alone):
        assert np.abs(together.sum(1) - other.sum(1)).max() <= slack


def test_the_line_search_finds_steps_that_satisfy_the_wolfe_conditions() -> None:
    """Functions with minima at 0.1, 1, 30 and 4000, one of them not convex, all tried from step 1."""
    at = np.array([0.1, 1.0, 30.0, 4000.0, 2.0])

    def value(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u = t / at
        loss, slope = (u - 1) ** 2, 2 * (u - 1) / at
        loss[4], slope[4] = -np.sin(t[4]) - 0.1 * t[4], -np.cos(t[4]) - 0.1
        return loss, slope

    loss, slope = value(np.zeros(5))
    line, trials = LineSearch(loss, slope, np.ones(5)), 0
    while line.open.any():
        line.tell(*value(line.step))
        trials += 1
    assert trials <= 10
    new, new_slope = value(line.step)
    assert (new <= loss + 1e-3 * line.step * slope + 1e-6 * np.abs(loss)).all()
    assert (np.abs(new_slope) <= 0.9 * np.abs(slope)).all()


def test_the_closed_form_takes_over_by_size() -> None:
    assert score_method(1437, 1024, 10) == score_method(10**6, 1024, 19) == "logistic"
    assert score_method(10**6, 1024, 1000) == score_method(10**6, 1024, 20) == "ridge"
