"""Time of the neighbour agreement on made data: `python tests/bench/neighbours.py [OUTPUT [N [D]]]`.

By default N = 200,000 train items, the most that are compared exactly, D = 256 wide: a thousand blurred clusters, one
item in a hundred a copy of another. To be done in three minutes on two cores. Half as many again go through cells with
a measured recall: run it with N above 200,000. Writes seconds, processor seconds and memory with machine and versions;
ends with 1 if the bound is missed. Takes about two minutes on two cores; run nothing beside it.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
from common import output, table, write
from numpy.typing import NDArray

from hume_ssl.consensus import agreement_of, find_nearest

ITEMS, WIDTH, CLUSTERS = 200_000, 256, 1000
BOUND = 180.0  # seconds, at the default size


def made(n: int, d: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A space (n, d) of clusters, a hundredth of it copies, and the cluster of each item (n,)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLUSTERS, n)
    space = rng.standard_normal((n, d), dtype=np.float32)
    space += 0.5 * rng.standard_normal((CLUSTERS, d), dtype=np.float32)[labels]
    copies, originals = rng.permutation(n)[: 2 * (n // 100)].reshape(2, -1)
    space[copies], labels[copies] = space[originals], labels[originals]
    return space, labels


def main() -> None:
    """Measure, print, write."""
    path = output("neighbours.json")
    n, d = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((2, ITEMS), (3, WIDTH)))
    space, labels = made(n, d)
    train = np.ones(n, dtype=bool)
    began, busy = time.monotonic(), time.process_time()
    nearest = find_nearest([space], train)
    found = time.monotonic()
    share = agreement_of(nearest, labels, train)
    ended = time.monotonic()
    figures = {
        "n": n,
        "d": d,
        "neighbours": nearest.how,
        "distinct_rows": len(nearest.near),
        "seconds": round(ended - began, 1),
        "seconds_of_votes": round(ended - found, 1),
        "processor_seconds": round(time.process_time() - busy, 1),
        "mean_agreement": float(share.mean()),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20), 2),  # of the process
    }
    print(table("neighbour agreement", {"figures": figures}), end="\n\n")
    write(path, {"cases": [figures], "bound_seconds": BOUND})
    sys.exit((n, d) == (ITEMS, WIDTH) and figures["seconds"] > BOUND)


if __name__ == "__main__":
    main()
