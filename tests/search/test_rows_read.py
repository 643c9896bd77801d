"""What a search reads of its spaces does not grow with the number of items: they may be files larger than memory."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hume_ssl.schema import SearchConfig
from hume_ssl.search import engine, prepare_spaces, solvers
from hume_ssl.search.engine import search_batch
from hume_ssl.search.solvers import Solvers


class Counted:
    """An array that counts the rows read from it."""

    def __init__(self, array: NDArray[np.float32]) -> None:
        self.array, self.shape, self.rows = array, array.shape, 0

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        found = self.array[which]
        self.rows += len(found)
        return found


def rows_read(n: int, **settings: Any) -> list[tuple[int, int]]:
    """Rows of labeller and judge read until the end of each of four steps, on subsets of 60 of n items."""
    rng = np.random.default_rng(0)
    labeller, judge = (Counted(rng.standard_normal((n, 6), dtype=np.float32)) for _ in "ab")
    config = SearchConfig(subset_size=60, subsets=2, iterations=4, **settings)
    spaces = prepare_spaces(labeller, [judge], np.ones(n, dtype=bool), config)  # type: ignore[arg-type, list-item]
    labeller.rows = 0  # finding the centre takes one pass
    read: list[tuple[int, int]] = []
    search_batch(Solvers(spaces, 3, config.settings()), [1, 2], log=lambda *_: read.append((labeller.rows, judge.rows)))
    return [*read, (labeller.rows, judge.rows)]


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_a_step_reads_its_subsets_however_many_items_there_are(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two subsets of 60 rows a step, and before the first one the 100 rows that tell whether labels still change."""
    monkeypatch.setattr(engine, "PROBE", 100)
    for name in ("SPECTRUM_ITEMS", "HAT_ENTRIES"):
        monkeypatch.setattr(solvers, name, 100)
    few, many = (rows_read(n, preset=preset, inner_steps=3 if preset == "paper" else 0) for n in (1000, 100_000))
    assert few == many
    assert [labeller for labeller, _ in many[:4]] == [100 + 120 * (step + 1) for step in range(4)]
    assert many[-1][0] < 100 + 120 * 4 + 60 * 20 + 1  # the objective's twenty subsets
    assert max(many[-1]) < 10_000
