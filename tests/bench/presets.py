"""The `fast` preset against `paper`: `python tests/bench/presets.py [OUTPUT.json]`.

Digits and cifar10-dev.npz, for both presets 2 subsets, 300 outer steps and 32 searches, three seeds: accuracy of
the consensus on train items, and seconds of the searches. `paper` walks its inner steps to an error bound of 0.1;
the measured error of dL/dY_tr on cifar10-dev is then 0.002. Takes a quarter of an hour on two cores; run nothing
beside it. With a GPU, usps too, 100 searches with all published settings, which is hours on a CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from common import DATA, load, measure, output, table, write

SEEDS = (1, 2, 3)
COMMON = {"search.subsets": 2, "search.iterations": 300, "search.batch": 32, "search.tolerance": 0.1}


def main() -> None:
    """Measure, print, write."""
    plans: list[tuple[str, int, dict[str, object]]] = [("digits", 32, dict(COMMON))]
    if DATA.is_dir():
        plans.append(("cifar10-dev", 32, dict(COMMON)))
        if torch.cuda.is_available():
            plans.append(("usps", 100, {}))
    results: dict[str, Any] = {}
    for name, searches, settings in plans:
        data, runs = load(name), dict[str, dict[str, float]]()
        for seed in SEEDS:
            for preset in ("fast", "paper"):
                runs[f"{preset} {seed}"] = measure(data, searches, seed, preset=preset, settings=settings)[0]
            means = {
                preset: float(np.mean([run["consensus"] for key, run in runs.items() if key.startswith(preset)]))
                for preset in ("fast", "paper")
            }
            results[name] = {"runs": runs, "mean consensus": means}
            write(output("presets.json"), results)
        print(table(name, runs), f"\nmean consensus: {means}\n", flush=True)


if __name__ == "__main__":
    main()
