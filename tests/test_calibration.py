"""Bins of agreement and what they say of the truth, by hand."""

import numpy as np
import pytest

from hume_ssl import calibration as c


def test_each_share_lies_in_its_bin() -> None:
    shares = [0, 0.5, 0.5001, 0.6, 0.61, 0.7, 0.8, 0.9, 0.99, 1]
    assert c.bin_of(np.array(shares)).tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 5, 6]
    assert [(row["from"], row["to"]) for row in c.agreement_bins(np.array(shares))] == list(c.BINS)


def test_shares_of_any_number_of_searches_keep_to_the_edges() -> None:
    """6 of 10 is 30 of 50 is a mean of equal weights: rounding in the last place moves no item to another bin."""
    for r in (10, 20, 50, 100):
        for tenth in range(5, 11):
            weights = np.full(r, 1 / r)
            share = weights[: r * tenth // 10].sum()
            assert c.bin_of(np.array([share, r * tenth // 10 / r])).tolist() == [[0, 1, 2, 3, 4, 6][tenth - 5]] * 2


def test_reliability_by_hand() -> None:
    """Two items at 0.4, one right; one at 0.8, wrong; three at 1, all right. ECE: |1 - 0.8| + 0.8 + 0, over six."""
    found = c.reliability(np.array([0.4, 0.4, 0.8, 1, 1, 1]), np.array([True, False, False, True, True, True]))
    assert [row["n"] for row in found["bins"]] == [2, 0, 0, 1, 0, 0, 3]
    assert [row["right"] for row in found["bins"]] == [1, 0, 0, 0, 0, 0, 3]
    assert [row["accuracy"] for row in found["bins"]] == [0.5, None, None, 0, None, None, 1]
    assert found["bins"][0]["mean_agreement"] == 0.4 and found["bins"][1]["mean_agreement"] is None
    assert found["ece"] == pytest.approx((0.2 + 0.8) / 6)


def test_nothing_to_count_is_none() -> None:
    found = c.reliability(np.zeros(0), np.zeros(0, dtype=bool))
    assert found["ece"] is None and {row["accuracy"] for row in found["bins"]} == {None}
    assert len(c.calibration_table(c.calibration(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool)))) == 10


def test_a_share_that_means_what_it_says_has_no_error() -> None:
    """100,000 items right with the probability of their share: each figure near nought, by the law of large numbers."""
    rng = np.random.default_rng(0)
    shares = rng.integers(0, 101, 100_000) / 100
    assert c.reliability(shares, rng.random(100_000) < shares)["ece"] < 0.01
    assert c.reliability(shares, np.ones(100_000, dtype=bool))["ece"] == pytest.approx(1 - shares.mean())


def test_order_of_items_changes_nothing_and_weaker_is_the_smaller_share() -> None:
    rng = np.random.default_rng(1)
    one, two, right = rng.integers(0, 11, 300) / 10, rng.integers(0, 21, 300) / 20, rng.random(300) < 0.6
    order = rng.permutation(300)
    first, second = c.calibration(one, two, right), c.calibration(one[order], two[order], right[order])
    assert [row["n"] for row in first["weaker"]["bins"]] == [row["n"] for row in second["weaker"]["bins"]]
    assert first["weaker"]["ece"] == pytest.approx(second["weaker"]["ece"])
    assert first["weaker"] == c.reliability(np.minimum(one, two), right)


def test_tables_are_short_and_say_the_counts() -> None:
    shares = np.array([0.4, 0.8, 1.0, 1.0])
    lines = c.bins_table(shares, np.ones(4))
    assert len(lines) == 4 and lines[1].split() == ["searches", "1", "0", "0", "1", "0", "0", "2"]
    assert lines[2].split() == ["neighbours", "0", "0", "0", "0", "0", "0", "4"]
    lines = c.calibration_table(c.calibration(shares, np.ones(4), np.array([True, False, True, True])))
    assert len(lines) == 10 and max(map(len, lines)) <= 80
    assert lines[2].split() == ["up", "to", "0.5", "1", "1.0000", "0", "-", "1", "1.0000"]
    assert lines[8].split() == ["exactly", "1", "2", "1.0000", "4", "0.7500", "2", "1.0000"]
