"""How good the consensus of the `fast` preset is: `python tests/bench/consensus.py [FOLDER]`.

100 searches on the digits, split and spaces as in their recipe, for seeds 1 to 5, and 50 on usps.npz (the spaces that
`discover` makes by default) and cifar10-dev.npz (its two networks) for seeds 1 to 3, where the development data is
there. Prints a table a data set and writes to FOLDER, by default tests/bench/results, consensus.json with machine and
versions and, for each data set, consensus-NAME.svg: the objective of every search against its accuracy. The seconds
are those of searches and consensus with the spaces given. Run nothing beside it.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, RESULTS, load, measure, table, write
from numpy.typing import NDArray

from hume_ssl.evaluation import kmeans_baseline

PLANS = {"digits": (100, (1, 2, 3, 4, 5)), "cifar10-dev": (50, (1, 2, 3)), "usps": (50, (1, 2, 3))}  # searches, seeds
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#6c4f8c")  # one a seed


def scatter(name: str, runs: dict[int, dict[str, Any]]) -> str:
    """An SVG: every search a point, its objective to the right and its accuracy upwards, one colour a seed."""
    width, height, edge = 480, 360, 50
    x = np.concatenate([run["objective"] for run in runs.values()])
    y = np.concatenate([run["acc"] for run in runs.values()])
    lows, spans = (x.min(), y.min()), (max(float(np.ptp(x)), 1e-9), max(float(np.ptp(y)), 1e-9))

    def place(objective: float, accuracy: float) -> tuple[float, float]:
        right = edge + (objective - lows[0]) / spans[0] * (width - 2 * edge)
        return right, height - edge - (accuracy - lows[1]) / spans[1] * (height - 2 * edge)

    def text(at: tuple[float, float], words: str, more: str = "") -> str:
        return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" {more}>{escape(words)}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="11" text-anchor="middle">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<path d="M{edge} {edge / 2}V{height - edge}H{width - edge / 2}" fill="none" stroke="black"/>',
        text((width / 2, 16), f"{name}: {len(x)} searches, correlation of objective and error {rho(x, y):.2f}"),
        text((width / 2, height - 12), "objective (nats, lower is better)"),
        text((14, height / 2), "accuracy on train items", f'transform="rotate(-90 14 {height / 2:.0f})"'),
    ]
    for share in (0, 0.5, 1):
        at = (lows[0] + share * spans[0], lows[1] + share * spans[1])
        right, down = place(*at)
        parts.append(text((right, height - edge + 15), f"{at[0]:.3f}"))
        parts.append(text((edge - 18, down + 4), f"{at[1]:.2f}"))
    for (seed, run), colour in zip(runs.items(), COLOURS, strict=False):
        for objective, accuracy in zip(run["objective"], run["acc"], strict=True):
            right, down = place(objective, accuracy)
            parts.append(f'<circle cx="{right:.1f}" cy="{down:.1f}" r="2.5" fill="{colour}" fill-opacity="0.6"/>')
        at = (width - edge, 40 + 14 * list(runs).index(seed))
        parts.append(text(at, f"seed {seed}", f'fill="{colour}"'))
    return "\n".join([*parts, "</svg>", ""])


def rho(objective: NDArray[Any], accuracy: NDArray[Any]) -> float:
    """Pearson correlation of objective and 1 - accuracy: 1 = the objective orders searches as the truth does."""
    return float(np.corrcoef(objective, 1 - accuracy)[0, 1])


def main() -> None:
    """Measure, print, write."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for name, (searches, seeds) in PLANS.items():
        if name != "digits" and not DATA.is_dir():
            continue
        data = load(name)
        kmeans = kmeans_baseline(data.spaces, data.train, data.truth, 10)
        rows, runs = {}, {}
        for seed in seeds:
            figures, runs[seed] = measure(data, searches, seed, device="cpu")
            rows[f"seed {seed}"] = {"kmeans": kmeans, **figures}
        print(table(f"{name}, {searches} searches", rows), end="\n\n", flush=True)
        results[name] = {"searches": searches, **rows}
        (folder / f"consensus-{name}.svg").write_text(scatter(name, runs))
        write(folder / "consensus.json", results)


if __name__ == "__main__":
    main()
