"""What evaluate reports, worked out by hand on small cases."""

import numpy as np
import pytest

from hume_ssl import evaluation


def blobs(n: int = 60, k: int = 3, d: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """k directions with little noise: every method must get them right."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    return np.eye(k, d)[truth] * rng.uniform(1, 9, (n, 1)) + rng.normal(0, 0.02, (n, d)), truth


def test_consensus_is_matched_on_train_items_only() -> None:
    """On train items 0 -> 1 and 1 -> 0 get 4 of 5 right; test items, under that matching, 1 of 2 with a known truth."""
    labels = np.array([0, 0, 1, 1, 1, 0, 0, 1])
    truth = np.array([1, 1, 0, 0, 1, 0, 1, -1])
    train = np.array([1, 1, 1, 1, 1, 0, 0, 0], dtype=bool)
    figures, mapping = evaluation.evaluate_consensus(labels, truth, train, 2)
    assert mapping.tolist() == [1, 0]
    assert figures["acc"] == 4 / 5 and figures["test_acc"] == 1 / 2
    assert list(figures) == ["acc", "ari", "nmi", "test_acc"]


def test_test_acc_is_absent_without_test_truth() -> None:
    labels, train = np.array([0, 1, 0]), np.array([True, True, False])
    assert "test_acc" not in evaluation.evaluate_consensus(labels, np.array([0, 1, -1]), train, 2)[0]
    assert "test_acc" not in evaluation.evaluate_predictions(labels, np.array([0, 1, 0]), train | True, np.arange(2))


def test_selection_by_hand() -> None:
    """Items 5, 1, 3, 0 are truly 2, 0, unknown, 1; under 0 -> 2, 1 -> 0, 2 -> 1 the labels say 2, 0, 1, 2."""
    truth = np.array([1, 0, 0, -1, 0, 2])
    figures = evaluation.evaluate_selection(
        np.array([0, 1, 2, 0]), np.array([5, 1, 3, 0]), truth, np.array([2, 0, 1]), 3
    )
    assert figures == {"n": 3, "correct": 2, "accuracy": pytest.approx(2 / 3), "per_class": [1, 1, 0]}


def test_selection_without_truth() -> None:
    figures = evaluation.evaluate_selection(np.array([0]), np.array([0]), np.array([-1]), np.array([-1, -1]), 2)
    assert figures["n"] == 0 and np.isnan(figures["accuracy"]) and figures["per_class"] == [0, 0]


def test_kmeans_finds_directions_whatever_the_lengths_and_leaves_out_test_items() -> None:
    space, truth = blobs()
    train = np.arange(60) < 45
    space[~train] = np.nan  # an error if they were looked at
    assert evaluation.kmeans_baseline([space, space[:, ::-1]], train, truth, 3) == 1
    unknown = np.where(np.arange(60) % 2 == 0, truth, -1)
    assert evaluation.kmeans_baseline([space], train, unknown, 3) == 1


def test_kmeans_scales_each_space_by_itself() -> None:
    """A second space that says nothing and is a thousand times longer must not drown the first."""
    space, truth = blobs()
    constant = np.full((60, 5), 1000.0)
    assert evaluation.kmeans_baseline([space, constant], np.ones(60, dtype=bool), truth, 3) == 1


def test_linear_probe_scores_test_items_or_cross_validates() -> None:
    space, truth = blobs()
    train = np.arange(60) < 45
    assert evaluation.linear_probe(space, truth, train) == 1
    assert evaluation.linear_probe(space, truth, np.ones(60, dtype=bool)) == 1
    wrong = np.where(train, truth, (truth + 1) % 3)
    assert evaluation.linear_probe(space, wrong, train) == 0  # so it is the test items that are counted
    noise = np.random.default_rng(0).normal(size=(600, 5))
    chance = evaluation.linear_probe(noise, np.arange(600) % 3, np.ones(600, dtype=bool))
    assert chance is not None and 0.2 < chance < 0.45  # fitted and scored on the same items it would be higher


def test_linear_probe_with_rare_classes() -> None:
    space, truth = blobs()
    rare = truth.copy()
    rare[0], rare[1:4] = 7, 8
    everything = np.ones(60, dtype=bool)
    assert evaluation.linear_probe(space, rare, everything) is not None
    assert evaluation.linear_probe(space, np.zeros(60, int), everything) is None
    assert evaluation.linear_probe(space, np.full(60, -1), everything) is None
    assert evaluation.linear_probe(space, np.where(truth == 0, 0, -1), np.arange(60) < 45) is None


def test_objective_correlation_by_hand() -> None:
    """Errors 1 - acc = 0.1, 0.2, 0.4 for objectives 1, 2, 4: a straight line."""
    result = evaluation.objective_correlation([1, 2, 4], [0.9, 0.8, 0.6])
    assert result is not None and result["rho"] == pytest.approx(1) and 0 <= result["p"] < 1e-6
    opposite = evaluation.objective_correlation([4, 2, 1], [0.9, 0.8, 0.7])
    assert opposite is not None and opposite["rho"] < -0.9


@pytest.mark.parametrize(
    ("objective", "acc"),
    [([1, 2], [0.5, 0.6]), ([1, 1, 1], [0.5, 0.6, 0.7]), ([1, 2, 3], [0.5] * 3), ([1, 2, np.nan], [0.5, 0.6, 0.7])],
)
def test_objective_correlation_is_absent_where_it_means_nothing(objective: list[float], acc: list[float]) -> None:
    assert evaluation.objective_correlation(objective, acc) is None


def test_history_of_three_evaluations() -> None:
    """Items 1, 3 and 4 with truth 0, 1 and unknown; found class 0 stands for 1 and 1 for 0."""
    truth, train = np.array([9, 0, 9, 1, -1]), np.array([True, False, True, False, False])
    evaluations = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]])  # 1, 2 and 0 of 2 right
    mapping = np.array([1, 0])
    figures = evaluation.evaluate_history(evaluations, np.array([1, 3, 4]), truth, train, mapping)
    mean, std = pytest.approx(0.5), pytest.approx(np.sqrt(1 / 6))
    assert figures == {"n": 3, "items": 2, "split": "test", "mean": mean, "std": std, "last": 0.0}
    assert evaluation.evaluate_history(evaluations, np.array([0, 2, 4]), truth, train, mapping)["split"] == "train"
