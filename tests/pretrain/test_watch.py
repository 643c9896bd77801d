"""The figures on cases whose values are known, and lightly's own measure of collapse."""

import pytest
import torch

from hume_ssl.pretrain.watch import COLLAPSED, effective_rank, figures, found_again, spread


def gaussian(n=4000, d=32, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_spread_is_one_of_even_directions_and_nothing_after_a_collapse():
    assert spread(gaussian()) == pytest.approx(1, abs=0.02)
    constant = torch.ones(100, 8) + 1e-4 * gaussian(100, 8)
    assert spread(constant) < COLLAPSED / 10
    assert spread(3 * constant) == pytest.approx(spread(constant), rel=1e-3)  # scale is no matter


def test_spread_is_lightlys_measure_in_other_units():
    debug = pytest.importorskip("lightly.utils.debug")
    z = gaussian(50, 6) + 1
    assert spread(z) == pytest.approx(float(debug.std_of_l2_normalized(z)) * 6**0.5, rel=1e-5)


def test_effective_rank_counts_directions():
    axes = torch.eye(4).repeat(10, 1)
    assert effective_rank(torch.cat([axes, -axes])) == pytest.approx(4)  # evenly in four directions
    line = torch.tensor([[1.0, 0.0, 0.0]]).repeat(10, 1)
    assert effective_rank(torch.cat([line, -line])) == pytest.approx(1)
    assert effective_rank(line) == 1.0  # all the same


def test_found_again_by_hand():
    """Three items at 0, 90 and 180 degrees; the second views of the first two are exchanged: one of three is found."""
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert found_again(first, first) == 1
    assert found_again(first, first[[1, 0, 2]]) == pytest.approx(1 / 3)
    large = gaussian(2500, 16)  # more than one chunk
    assert found_again(large, large) == 1
    assert found_again(large, gaussian(2500, 16, seed=1)) < 0.01


def test_figures_of_equal_views():
    z = gaussian(200, 8)
    told = figures(z, z)
    assert told["alignment"] == pytest.approx(1) and told["found_again"] == 1
