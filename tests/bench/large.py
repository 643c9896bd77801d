"""Long and large: a million made items from discover to export, and 2,000 searches of digits in one process.

python tests/bench/large.py [million | soak] [FILE]: seconds and peak memory of each command, a process each; of the
soak the memory in use after every 100 searches.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import load, output, write

N, D, K = 1_000_000, 64, 10
SOAK, EVERY = 2000, 100
COMMANDS = {
    "discover": "discover --labeller labeller.npy --judge judge.npy --classes 10 --searches 4",
    "select": "select --per-class 4",
    "export": "export --to csv",
}


def make(folder: Path) -> None:
    """Two spaces of the same classes, Gaussian clusters that overlap a little; written chunk by chunk."""
    for seed, name in enumerate(("labeller", "judge")):
        generator = np.random.default_rng(seed)
        centres = generator.normal(size=(K, D)).astype(np.float32)
        out = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype=np.float32, shape=(N, D))
        for start in range(0, N, 100_000):
            noise = generator.normal(size=(100_000, D)).astype(np.float32)
            out[start : start + 100_000] = centres[np.arange(start, start + 100_000) % K] + noise


def million() -> dict[str, Any]:
    """Seconds and GiB of each command, and the share of items in their class."""
    figures: dict[str, Any] = {"items": N, "width": D, "searches": 4}
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        for command, arguments in COMMANDS.items():
            began = time.monotonic()
            process = subprocess.Popen([sys.executable, "-m", "hume_ssl", *arguments.split()], cwd=name)
            peak = watch(process)
            figures[command] = {"seconds": round(time.monotonic() - began, 1), "peak_gib": round(peak, 2)}
        import pandas as pd

        labels = pd.read_csv(Path(name) / "hume-run/consensus.csv", usecols=["label"])["label"].to_numpy()
        table = np.bincount(labels * K + np.arange(N) % K, minlength=K * K)
        figures["items_in_their_class"] = float(table.reshape(K, K).max(1).sum() / N)
    return figures


def watch(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process to end well; the most memory it had, GiB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 2**20


def soak() -> dict[str, Any]:
    """MiB in use, after every 100 of 2,000 searches of digits, all in this process; and the seconds of the whole."""
    from hume_ssl.config import SearchConfig
    from hume_ssl.search import prepare_spaces, run_searches

    data = load("digits")
    began, used = time.monotonic(), []
    for start in range(0, SOAK, EVERY):
        config = SearchConfig(searches=EVERY, seed=start)
        spaces = prepare_spaces(data.spaces[0], data.spaces[1:], data.train, config, "cpu")
        assert len(run_searches(spaces, K, config)) == EVERY
        used.append(round(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20))
        print(f"{start + EVERY} searches: {used[-1]} MiB, {time.monotonic() - began:.0f} s", flush=True)
    return {"searches": SOAK, "mib_after_each_100": used, "seconds": round(time.monotonic() - began)}


def main() -> None:
    """Measure what is asked for, print, and add it to the results."""
    wanted = {"million": million, "soak": soak}
    asked = [name for name in wanted if name in sys.argv[1:]] or list(wanted)
    sys.argv = [sys.argv[0], *(word for word in sys.argv[1:] if word not in wanted)]
    path = output("large.json")
    figures = json.loads(path.read_text()) if path.is_file() else {}
    for name in asked:
        figures[name] = wanted[name]()
        print(figures[name])
        write(path, figures)


if __name__ == "__main__":
    main()
