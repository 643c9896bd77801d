"""Class shares that a user knows."""

import pytest

from hume_ssl.class_shares import matched_shares


def test_shares_go_to_classes_by_rank() -> None:
    assert matched_shares([0.5, 0.3, 0.2], [10, 40, 20]) == [0.2, 0.5, 0.3]
    assert matched_shares([0.5, 0.3, 0.2], [7, 7, 1]) == [0.5, 0.3, 0.2]
    with pytest.raises(ValueError, match="argument"):
        matched_shares([0.5, 0.5], [1, 2, 3])
