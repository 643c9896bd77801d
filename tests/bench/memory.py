"""Memory and time of an outer step on spaces as large as ImageNet's: `python tests/bench/memory.py [FOLDER [OUTPUT]]`.

Makes a labeller and a judge of 1.28 million rows, 1,024 wide, in float16 (5.2 GB in FOLDER, by default a temporary
folder, removed at the end) and runs a few outer steps of k = 1,000 classes on their first 0.128 and 1.28
million rows, one subset a step, with the subsets and the inner learning rate of recipe imagenet1k, each case in a
process of its own. Prints a table and writes the figures with machine and versions; ends with 1 if a bound is missed:

- the time of an outer step at 1.28 million items is at most 1.2 times that at 0.128 million;
- anonymous memory (RssAnon: what a process allocates; pages of mapped files can be dropped, so they do not count)
  stays under 3 GiB with one search, and every further search costs the same.

Inner steps are few, since a step of 100 takes minutes. A whole batch of two outer steps, with all that comes after
them, and one pair of outer steps with all 100 inner ones are measured at the largest size.
Takes about 20 minutes on two cores; run nothing beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, write

WIDTH, CLASSES = 1024, 1000
SIZES = (128_000, 1_280_000)
SEARCHES = (1, 2, 4)
STEPS = 3  # outer steps timed, after the first
PRESETS = {"paper": 2, "fast": 0}  # inner steps
HUNDRED = ("paper", 1_280_000, 1, 100, 1)
GIB = 1 << 30


def make_spaces(folder: Path, n: int) -> None:
    """Two (n, WIDTH) float16 spaces of a thousand blurred clusters, the same ones in both, written in pieces."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((65_536, WIDTH), dtype=np.float32)
    labels = rng.integers(0, CLASSES, n)
    for name in ("labeller", "judge"):
        out = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float16, shape=(n, WIDTH))
        centres = 2 * rng.standard_normal((CLASSES, WIDTH), dtype=np.float32)
        for start in range(0, n, len(noise)):
            rows = out[start : start + len(noise)]
            # The same noise for every piece, shifted by a column: cheap, and no two rows alike.
            rows[:] = np.roll(noise[: len(rows)], start // len(noise), 1) + centres[labels[start : start + len(rows)]]


class Peak(threading.Thread):
    """Samples this process's RssAnon; `start` at the first outer step counts what went before as well."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.ended = 0, threading.Event()

    def run(self) -> None:
        """Look every five milliseconds."""
        while not self.ended.wait(0.005):
            self.most = max(self.most, rss_anon())


def rss_anon() -> int:
    """Bytes of anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon: this benchmark needs Linux")


class Enough(Exception):
    """So many steps were timed."""


def measure(folder: Path, preset: str, n: int, r: int, inner_steps: int, steps: int) -> dict[str, Any]:
    """Run `steps` outer steps after a first one, in this process; with 0, a whole batch of two steps instead: then
    the objective over its 20 subsets, the labels of all items and the generalization score are in the memory too."""
    import torch

    from hume_ssl.config import load_recipe
    from hume_ssl.schema import SearchConfig
    from hume_ssl.search import prepare_spaces
    from hume_ssl.search.engine import search_batch
    from hume_ssl.search.runner import batch_runner
    from hume_ssl.search.solvers import Solvers

    config = load_recipe("imagenet1k", "discover").search
    if preset == "fast":  # the preset's own settings, on the recipe's subsets
        config = SearchConfig(subset_size=config.subset_size, train_fraction=config.train_fraction)
    config = config.model_copy(update={"inner_steps": inner_steps, "subsets": 1, "batch": r})
    before, peak = rss_anon(), Peak()
    peak.start()
    labeller, judge = (np.load(folder / f"{name}.npy", mmap_mode="r")[:n] for name in ("labeller", "judge"))
    spaces = prepare_spaces(labeller, [judge], np.ones(n, dtype=bool), config)
    began, wall, busy = time.monotonic(), [time.monotonic()], [time.process_time()]

    def log(step: int, *_: object) -> None:
        wall.append(time.monotonic())
        busy.append(time.process_time())
        if step == steps:
            raise Enough

    if steps:
        with suppress(Enough):
            search_batch(Solvers(spaces, CLASSES, config.settings()), list(range(r)), log=log)
    else:
        config = config.model_copy(update={"iterations": 2})
        batch_runner(spaces, CLASSES, config)(0, None, None)
    ended = time.monotonic()
    peak.ended.set()
    peak.join()
    return {
        "preset": preset,
        "n": n,
        "r": r,
        "inner_steps": inner_steps,
        "what": f"{steps} steps" if steps else "whole batch",
        "seconds": round(ended - began, 2),
        "step_seconds": round(float(np.median(np.diff(wall[1:]))), 3) if steps else None,
        "step_processor_seconds": round(float(np.median(np.diff(busy[1:]))), 3) if steps else None,
        "rss_anon_gib": round(max(peak.most, rss_anon()) / GIB, 3),
        "rss_anon_before_gib": round(before / GIB, 3),
        "threads": torch.get_num_threads(),
    }


def cases_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row a case."""
    keys = ("preset", "n", "r", "inner_steps", "what", "step_seconds", "step_processor_seconds", "rss_anon_gib")
    lines = ["| " + " | ".join(keys) + " |", "|---" * len(keys) + "|"]
    return "\n".join(lines + ["| " + " | ".join(str(row[key]) for key in keys) + " |" for row in rows])


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """The bounds that were not kept, in words."""
    faults = [
        f"{row['preset']}, {row['inner_steps']} inner steps, {row['what']}: one search takes {row['rss_anon_gib']} GiB"
        for row in rows
        if row["r"] == 1 and row["rss_anon_gib"] >= 3
    ]
    for preset, inner in PRESETS.items():
        found = {
            (row["n"], row["r"]): row
            for row in rows
            if (row["preset"], row["inner_steps"]) == (preset, inner) and row["step_seconds"] is not None
        }
        few, most = SIZES[0], SIZES[-1]
        ratio = found[most, 1]["step_seconds"] / found[few, 1]["step_seconds"]
        if ratio > 1.2:
            faults.append(f"{preset}: an outer step takes {ratio:.2f} times as long at {most} items as at {few}")
        one, two, four = (found[most, r]["rss_anon_gib"] for r in SEARCHES)
        if four - one > 1.25 * 3 * (two - one):
            faults.append(f"{preset}: memory grows faster than the number of searches: {one}, {two}, {four} GiB")
    return faults


def main() -> None:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--measure"]:
        folder, preset, *numbers = sys.argv[2:]
        print(json.dumps(measure(Path(folder), preset, *map(int, numbers))))
        return
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else RESULTS / "memory.json"
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        make_spaces(Path(name), SIZES[-1])
        cases = [(preset, n, 1, inner, STEPS) for preset, inner in PRESETS.items() for n in SIZES]
        cases += [(preset, SIZES[-1], r, inner, 2) for preset, inner in PRESETS.items() for r in SEARCHES[1:]]
        cases += [(preset, SIZES[-1], 1, inner, 0) for preset, inner in PRESETS.items()] + [HUNDRED]
        rows = []
        for case in cases:
            command = [sys.executable, __file__, "--measure", name, *map(str, case)]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            write(path, {"cases": rows})
    print(cases_table(rows), end="\n\n")
    faults = missed(rows)
    print("\n".join(faults) or "all bounds kept")
    write(path, {"cases": rows, "missed": faults})
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
