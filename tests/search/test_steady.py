"""Sums, softmax and products in a fixed order: the right values, in every shape."""

from __future__ import annotations

import pytest
import torch

from hume_ssl.search.steady import log_softmax, mean_over_rows, one_thread, product, product_of_rows, softmax, sum_over


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 100])
def test_a_sum_has_every_number_once(size: int) -> None:
    """Powers of two, so that a number left out, or taken twice, shows."""
    powers = 2.0 ** (torch.arange(size) % 50)
    expected = float(powers.double().sum())
    assert sum_over(powers.double().view(1, size, 1), 1).tolist() == [[[expected]]]
    x = drawn(3, size, 4)
    torch.testing.assert_close(sum_over(x, 1), x.sum(1, keepdim=True), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(mean_over_rows(x.mT), x.mT.mean(0), rtol=1e-12, atol=1e-12)


def test_a_sum_leaves_what_it_adds_up() -> None:
    x = drawn(2, 5, 3)
    before = x.clone()
    sum_over(x, 1).add_(1)
    assert torch.equal(x, before)


def test_short_numbers_are_added_up_in_float32() -> None:
    """In bfloat16, 256 + 1 is 256."""
    x = torch.tensor([256.0, 1, 1, 1, 1, 1, 1, 2]).bfloat16().view(1, 8, 1)
    assert sum_over(x, 1).item() == 264


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_softmax_is_torchs(scale: float) -> None:
    scores = scale * drawn(6, 5, 4)
    torch.testing.assert_close(softmax(scores), scores.softmax(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(log_softmax(scores), scores.log_softmax(1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("columns", [1, 31, 32, 33])
def test_a_narrow_product_is_a_product(columns: int) -> None:
    a, b = drawn(6, 5), drawn(5, columns)
    torch.testing.assert_close(product(a, b), a @ b, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(product_of_rows(b.T, a.T), b.T @ a.T, rtol=1e-12, atol=1e-12)
    assert product(a, b).is_contiguous()


def test_threads_come_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
