"""The reliability diagram: how many items with a given agreement are right, as an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from hume_ssl.calibration import NAMES, WITNESSES

WIDTH, HEIGHT = 480, 500
LEFT, RIGHT = 64, 462  # of both panels
TOP, BOTTOM = 62, 312  # of the diagram
BARS_TOP, BARS_BOTTOM = 384, 456  # of the bars below it
COLOURS = ("#1b6ca8", "#d1495b", "#4d7c4f")  # one a witness; dark enough on white, apart in lightness too
MARKS = ("circle", "square", "diamond")
LEGEND = (24, 168, 316)  # where each begins
SIZE = 11  # pixels of the font


def reliability_svg(calibration: dict[str, Any], title: str = "Agreement and truth") -> str:
    """The figures of `hume_ssl.calibration.calibration` as a picture, 480 by 500 pixels, on white.

    Above, for each witness and each bin that holds items, the mean share to the right and the share of right items
    upwards; on the dashed line a share means what it says, above it the consensus is better than its agreement.
    Below, how many items lie in each bin of the searches' agreement.
    """
    bins = next(iter(calibration.values()))["bins"]
    total = sum(row["n"] for row in bins)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="{SIZE}" text-anchor="middle" fill="black">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, 20, f"{title}: {total:,} items with a known truth"),
        *_axes(),
    ]
    for at, (name, colour, mark) in enumerate(zip(calibration, COLOURS, MARKS, strict=True)):
        points = [
            (row["mean_agreement"], row["accuracy"]) for row in calibration[name]["bins"] if row["accuracy"] is not None
        ]
        parts += _series([_place(*point) for point in points], colour, mark)
        ece = calibration[name]["ece"]
        left = LEGEND[at]
        parts.append(_mark(left, 40, colour, mark))
        words = f"{WITNESSES[name]}, ECE {'-' if ece is None else f'{ece:.3f}'}"
        parts.append(_text(left + 9, 44, words, 'text-anchor="start" font-size="10"'))
    return "\n".join([*parts, *_bars([row["n"] for row in bins]), "</svg>", ""])


def _axes() -> list[str]:
    """Frame, dashed diagonal, ticks and names of the diagram."""
    parts = []
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = _place(tick, tick)
        parts.append(f'<path d="M{x:.1f} {TOP}V{BOTTOM}M{LEFT} {y:.1f}H{RIGHT}" stroke="#dddddd"/>')
        parts.append(_text(x, BOTTOM + 15, f"{tick:.1f}"))
        parts.append(_text(LEFT - 6, y + 4, f"{tick:.1f}", 'text-anchor="end"'))
    middle = (TOP + BOTTOM) / 2
    return [
        *parts,
        f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" fill="none" stroke="black"/>',
        f'<path d="M{LEFT} {BOTTOM}L{RIGHT} {TOP}" stroke="#666666" stroke-dasharray="4 4"/>',
        _text((LEFT + RIGHT) / 2, BOTTOM + 34, "mean share who agree, in each bin"),
        _text(18, middle, "share of right items", f'transform="rotate(-90 18 {middle:.0f})"'),
    ]


def _series(points: Sequence[tuple[float, float]], colour: str, mark: str) -> list[str]:
    """The points of one witness, joined by a line."""
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-opacity="0.6"/>',
        *(_mark(x, y, colour, mark) for x, y in points),
    ]


def _bars(counts: Sequence[int]) -> list[str]:
    """How many items lie in each bin: bars with their numbers above and their bins below."""
    step, most = (RIGHT - LEFT) / len(counts), max(1, *counts)
    parts = [_text((LEFT + RIGHT) / 2, HEIGHT - 10, "items in each bin of the searches' agreement")]
    for at, (count, name) in enumerate(zip(counts, NAMES, strict=True)):
        left, height = LEFT + at * step, count / most * (BARS_BOTTOM - BARS_TOP)
        top = BARS_BOTTOM - height
        size = f'width="{step - 12:.1f}" height="{height:.1f}"'
        parts.append(f'<rect x="{left + 6:.1f}" y="{top:.1f}" {size} fill="{COLOURS[0]}"/>')
        parts.append(_text(left + step / 2, top - 4, f"{count:,}", 'font-size="10"'))
        parts.append(_text(left + step / 2, BARS_BOTTOM + 14, name, 'font-size="10"'))
    return [*parts, f'<path d="M{LEFT} {BARS_BOTTOM}H{RIGHT}" stroke="black"/>']


def _place(share: float, accuracy: float) -> tuple[float, float]:
    """Where a point of the diagram lies; both in [0, 1]."""
    return LEFT + share * (RIGHT - LEFT), BOTTOM - accuracy * (BOTTOM - TOP)


def _mark(x: float, y: float, colour: str, mark: str) -> str:
    if mark == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if mark == "diamond" else ""
    return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"{turn}/>'


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{" " + more if more else ""}>{escape(words)}</text>'
