"""Damaged files of every kind: a right read or an InputError, in ten seconds and a GiB; nothing else, ever.

CASES=10000 python -m pytest -m slow -n 0 tests/faults/test_damaged_input.py         (as many for each reader)
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from hume_ssl.errors import InputError
from tests.faults.damage import Seeds, damaged, in_time, within_limits
from tests.faults.readers import READERS, Reader


def try_out(reader: Reader, cases: int) -> None:
    """Read so many damaged files."""
    seeds = Seeds(reader.seeds())
    path = Path(reader.name)
    for seed in seeds:  # warm up, and see that they are sound: else there would be nothing to damage
        path.write_bytes(seed)
        try:
            reader.read(path)
        except InputError as error:
            assert "npz" in str(error) or "exist" in str(error), error

    @settings(
        max_examples=cases,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(data=damaged(seeds))
    def one(data: bytes) -> None:
        path.write_bytes(data)
        with in_time(), within_limits():
            try:
                reader.read(path)
            except InputError as error:
                assert len(str(error).splitlines()) <= 1 and str(error)

    one()


@pytest.mark.parametrize("name", READERS)
def test_some_damage(done: Path, name: str) -> None:
    try_out(READERS[name], 40)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", READERS)
def test_much_damage(done: Path, name: str) -> None:
    try_out(READERS[name], int(os.environ.get("CASES", "10000")))
