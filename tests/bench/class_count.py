"""Which number of classes `discover --classes LOW:HIGH` would take: `python tests/bench/class_count.py [FILE]`.

10 searches for each number, as the command runs them, on the digits (ten classes; seeds 1 to 5), on two choices of five
and seven of them, and on usps.npz and cifar10-dev.npz (ten classes; seed 1), where the development data is there.
Prints a table a data set and writes FILE, by default tests/bench/results/class_count.json: the rows of the command's
table, beside each the mean ARI of its searches with the truth, which the command cannot know, and what it would take.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from common import DATA, Data, load, output, table, write

from hume_ssl.class_count import SEARCHES, choose, figures, quick, settings_for
from hume_ssl.metrics import ari
from hume_ssl.schema import SearchConfig
from hume_ssl.search import prepare_spaces, run_searches

# Data set, the classes that are kept of it (none: all), numbers tried, seeds.
PLANS: tuple[tuple[str, tuple[int, ...], range, tuple[int, ...]], ...] = (
    ("digits", (), range(5, 16), (1, 2, 3, 4, 5)),
    ("digits", (0, 2, 4, 6, 8), range(2, 16), (1,)),
    ("digits", (0, 1, 3, 4, 6, 7, 9), range(2, 16), (1,)),
    ("usps", (), range(5, 16), (1,)),
    ("cifar10-dev", (), range(5, 16), (1,)),
)


def some(data: Data, classes: tuple[int, ...]) -> Data:
    """The data set with the train items of these true classes alone; of all where none are named."""
    return replace(data, train=data.train & np.isin(data.truth, classes)) if classes else data


def tried(data: Data, counts: range, seed: int) -> dict[str, Any]:
    """What the command would print, and the truth beside it."""
    began = time.monotonic()
    config = quick(SearchConfig(searches=SEARCHES, seed=seed))
    spaces = prepare_spaces(data.spaces[0], data.spaces[1:], data.train, config)
    pool: dict[Any, Any] = {}
    rows, truths = [], []
    for k in counts:
        found = run_searches(spaces, k, settings_for(k, config, "cpu"), pool=pool)
        rows.append(figures(found, k, data.train))
        truths.append(float(np.mean([ari(one[data.train], data.truth[data.train]) for one in found.labellings])))
    told = [
        {**asdict(row), "support": row.support, "ari_with_truth": truth}
        for row, truth in zip(rows, truths, strict=True)
    ]
    return {"k": choose(rows), "rows": told, "seconds": time.monotonic() - began}


def main() -> None:
    """Measure, print, write."""
    results: dict[str, Any] = {}
    for name, classes, counts, seeds in PLANS:
        if name != "digits" and not DATA.is_dir():
            continue
        data = some(load(name), classes)
        title = f"{name} {' '.join(map(str, classes))}".strip()
        results[title] = {f"seed {seed}": tried(data, counts, seed) for seed in seeds}
        for seed, run in results[title].items():
            columns = {str(row["k"]): {key: row[key] for key in row if key != "k"} for row in run["rows"]}
            print(
                table(f"{title}, {seed}: takes {run['k']} in {run['seconds']:.0f} s", columns), end="\n\n", flush=True
            )
        write(output("class_count.json"), results)


if __name__ == "__main__":
    main()
