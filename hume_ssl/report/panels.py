"""Figures over one whole number as an SVG without dependencies: a panel a figure, one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, EDGE, TOP = 520, 170, 60, 30  # of a panel in pixels; TOP is the title's
COLOUR, MARK = "#1b6ca8", "#d1495b"


def panels(title: str, x_name: str, x: Sequence[int], figures: Mapping[str, Sequence[float]], marked: int) -> str:
    """An SVG with a line and points for each figure over `x`, on its own scale, and `marked` set off in all of them.

    Args:
        x: (m,) at least two different numbers, ascending.
        figures: name -> (m,) values.
        marked: the x that is pointed out.
    """
    height = TOP + HEIGHT * len(figures) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="11" text-anchor="middle">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(WIDTH / 2, 18, title),
    ]
    for number, (name, values) in enumerate(figures.items()):
        parts += _panel(TOP + HEIGHT * number, name, x, values, marked)
    parts += [_text(_right(x, value), height - 22, str(value)) for value in x[:: max(1, len(x) // 15)]]
    return "\n".join([*parts, _text(WIDTH / 2, height - 6, x_name), "</svg>", ""])


def _panel(top: float, name: str, x: Sequence[int], values: Sequence[float], marked: int) -> list[str]:
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    bottom, room = top + HEIGHT - 15, HEIGHT - 50

    def down(value: float) -> float:
        return bottom - 10 - (value - low) / span * room

    points = [(_right(x, at), down(value)) for at, value in zip(x, values, strict=True)]
    path = "L".join(f"{right:.1f} {height:.1f}" for right, height in points)
    mark = _right(x, marked)
    parts = [
        f'<path d="M{mark:.1f} {top + 22:.1f}V{bottom:.1f}" stroke="{MARK}" stroke-dasharray="4 3"/>',
        f'<path d="M{EDGE} {top + 22:.1f}V{bottom:.1f}H{WIDTH - EDGE / 2:.1f}" fill="none" stroke="black"/>',
        f'<path d="M{path}" fill="none" stroke="{COLOUR}" stroke-width="1.5"/>',
        _text(EDGE, top + 14, name, 'text-anchor="start"'),
    ]
    for (right, height), at in zip(points, x, strict=True):
        parts.append(f'<circle cx="{right:.1f}" cy="{height:.1f}" r="3" fill="{MARK if at == marked else COLOUR}"/>')
    for value in dict.fromkeys((low, high)):
        parts.append(_text(EDGE - 6, down(value) + 4, f"{value:.3f}", 'text-anchor="end"'))
    return parts


def _right(x: Sequence[int], at: int) -> float:
    return EDGE + 15 + (at - x[0]) / (x[-1] - x[0]) * (WIDTH - 1.5 * EDGE - 30)


def _text(right: float, down: float, words: str, more: str = "") -> str:
    return f'<text x="{right:.1f}" y="{down:.1f}" {more}>{escape(words)}</text>'
