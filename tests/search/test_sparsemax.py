"""Sparsemax by hand, its defining properties, and its derivative."""

import pytest
import torch
from torch import Tensor

from hume_ssl.search.sparsemax import sparsemax, sparsemax_backward


def rows(*values: list[float]) -> Tensor:
    """Rows over k of one search: (n, k, 1)."""
    return torch.tensor(values, dtype=torch.float64)[:, :, None]


def test_three_numbers_by_hand() -> None:
    """scores (0.8, 0.5, -0.5): were all three kept, tau = (0.8 - 1)/3 = -0.0667, but -0.5 lies below it. With two,
    tau = (1.3 - 1)/2 = 0.15 and the labels are 0.65, 0.35, 0. scores (2, 0.5, 0): with two, tau = 0.75 is above 0.5;
    with one, tau = 1 and the label is hard. (0.2, 0.1, 0): tau = -0.7/3, and all three stay."""
    found = sparsemax(rows([0.8, 0.5, -0.5], [2, 0.5, 0], [0.2, 0.1, 0.0]))
    expected = rows([0.65, 0.35, 0], [1, 0, 0], [0.2 + 0.7 / 3, 0.1 + 0.7 / 3, 0.7 / 3])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def test_derivative_by_hand() -> None:
    """Labels (0.65, 0.35, 0), gradient (3, 1, 7): the mean on the support is 2, so (1, -1, 0). A hard label moves with
    nothing."""
    found = sparsemax_backward(rows([0.65, 0.35, 0], [1, 0, 0]), rows([3, 1, 7], [5, 2, 1]))
    assert torch.equal(found, rows([1, -1, 0], [0, 0, 0]))


def test_a_constant_added_to_a_row_of_the_gradient_changes_nothing() -> None:
    source = torch.Generator().manual_seed(0)
    labels = sparsemax(torch.randn(50, 6, 3, generator=source, dtype=torch.float64))
    gradient = torch.randn(50, 6, 3, generator=source, dtype=torch.float64)
    shift = torch.randn(50, 1, 3, generator=source, dtype=torch.float64)
    one, other = sparsemax_backward(labels, gradient), sparsemax_backward(labels, gradient + shift)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


def test_a_constant_added_to_the_scores_changes_nothing_and_searches_do_not_mix() -> None:
    scores = torch.randn(40, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(sparsemax(scores + 3), sparsemax(scores), rtol=0, atol=1e-14)
    alone = torch.cat([sparsemax(scores[:, :, [i]]) for i in range(4)], 2)
    torch.testing.assert_close(alone, sparsemax(scores), rtol=0, atol=1e-14)


@pytest.mark.parametrize("k", [2, 3, 10, 200])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_it_is_the_projection_onto_the_simplex(k: int, scale: float) -> None:
    """The projection y of z is marked by z - y being a constant tau on the support, and z at most tau off it."""
    scores = scale * torch.randn(60, k, 2, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
    labels = sparsemax(scores)
    assert (labels >= 0).all()
    torch.testing.assert_close(labels.sum(1), torch.ones(60, 2, dtype=torch.float64), rtol=0, atol=1e-9)
    support = labels > 0
    tau = torch.where(support, scores - labels, -torch.inf).amax(1, keepdim=True)
    assert ((scores - labels - tau)[support] > -1e-9).all()
    assert (torch.where(support, -torch.inf, scores) <= tau + 1e-9).all()


def test_equal_scores_share_and_a_tie_for_the_first_place_is_split() -> None:
    found = sparsemax(rows([3, 3, 3, 3], [1000, 1000, 0, 0]))
    torch.testing.assert_close(found, rows([0.25] * 4, [0.5, 0.5, 0, 0]), rtol=0, atol=1e-12)


def test_float32_scores_of_a_very_low_temperature_still_sum_to_one() -> None:
    """Rows of unit norm against orthonormal columns at T = 0.001: scores up to 1000."""
    unit = torch.nn.functional.normalize(torch.randn(500, 32, generator=torch.Generator().manual_seed(2)), dim=1)
    labels = sparsemax((unit / 1e-3).view(500, 32, 1))
    torch.testing.assert_close(labels.sum(1), torch.ones(500, 1), rtol=0, atol=1e-3)
    assert torch.equal(labels.argmax(1)[:, 0], unit.argmax(1))


def test_scores_so_large_that_one_is_lost_beside_them_give_labels_all_the_same() -> None:
    """100,000,000 - 1 is 100,000,000 in float32: labels have to be (1, 0) and (0.5, 0.5), not infinite."""
    found = sparsemax(torch.tensor([[3e8, 1e8], [1e8, 1e8]])[:, :, None])
    torch.testing.assert_close(found[:, :, 0], torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
