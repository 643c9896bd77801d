"""Charts as SVG without dependencies: points, lines, a histogram, bars and a heat map, coloured by the page's style.

All are 340 pixels wide, what a phone shows, and scale up. Colours are the page's variables (`--fg`, `--accent` ...), so
that one picture serves light and dark; what it shows is also in its `aria-label` and in titles of its marks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 326, 12, 190  # of the frame inside
NAME = 16  # signs of a class's name beside a chart, at most
LINES = ("var(--accent)", "var(--second)", "var(--third)", "var(--fourth)")
DASHES = ("", "6 3", "2 3", "8 3 2 3")  # lines differ without colour too


@dataclass(frozen=True)
class Frame:
    """The ranges of both axes, and where a point lies in pixels."""

    x: tuple[float, float]
    y: tuple[float, float]

    def right(self, x: float) -> float:
        return LEFT + (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0) * (RIGHT - LEFT)

    def down(self, y: float) -> float:
        return BOTTOM - (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0) * (BOTTOM - TOP)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`, around `about` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round((first + i) * step, 12) for i in range(math.floor(high / step + 1e-9) - first + 1)]


def scatter(points: Sequence[tuple[float, float, str, bool]], x_name: str, y_name: str, label: str) -> str:
    """Points (x, y, title, whether it is filled); hollow ones are set apart, as searches that have no vote."""
    frame = Frame(_range([p[0] for p in points]), _range([p[1] for p in points]))
    marks = [
        f'<circle cx="{frame.right(x):.1f}" cy="{frame.down(y):.1f}" r="4" class="{"dot" if full else "hollow"}">'
        f"<title>{escape(title)}</title></circle>"
        for x, y, title, full in points
    ]
    return _svg(frame, x_name, y_name, label, marks)


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_name: str,
    y_name: str,
    label: str,
    *,
    y_range: tuple[float, float] | None = None,
    dots: bool = False,
    x_ticks: Sequence[tuple[float, str]] | None = None,
) -> str:
    """A line for each of at most four series name -> points (x, y) in ascending x, with a legend below the axis.

    `x_ticks` are places on the axis and what stands there, where x is not what is read; None: round numbers.
    """
    every = [point for points in series.values() for point in points]
    frame = Frame(_range([p[0] for p in every], 0.0), y_range or _range([p[1] for p in every]))
    marks = []
    for at, (name, points) in enumerate(series.items()):
        places = [(frame.right(x), frame.down(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        look = f'style="stroke:{LINES[at % 4]}" stroke-dasharray="{DASHES[at % 4]}"'
        marks.append(f'<polyline points="{path}" class="line" {look}><title>{escape(name)}</title></polyline>')
        if dots:
            marks += [
                f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" style="fill:{LINES[at % 4]}">'
                f"<title>{escape(name)}: {_number(x)}, {_number(y)}</title></circle>"
                for (px, py), (x, y) in zip(places, points, strict=True)
            ]
    return _svg(frame, x_name, y_name, label, marks, x_ticks) + _legend(list(series))


def histogram(bins: Sequence[tuple[str, int]], x_name: str, label: str) -> str:
    """Upright bars of how many lie in each bin (name, number), with the numbers above them."""
    most = max(1, *(number for _, number in bins))
    frame, step = Frame((0, len(bins)), (0, most * 1.12)), (RIGHT - LEFT) / len(bins)
    marks = []
    for at, (name, number) in enumerate(bins):
        top, middle = frame.down(number), LEFT + (at + 0.5) * step
        box = f'x="{middle - step * 0.4:.1f}" y="{top:.1f}" width="{step * 0.8:.1f}" height="{BOTTOM - top:.1f}"'
        marks.append(f'<rect {box} class="bar"><title>{escape(name)}: {number:,}</title></rect>')
        marks.append(_text(middle, top - 3, short(number), "small"))
        marks.append(_text(middle, BOTTOM + 13, name, "small"))
    return _svg(frame, x_name, "items", label, marks, [])


def bars(rows: Sequence[tuple[str, float, str, str]], label: str) -> str:
    """Lying bars (name, number, colour, what stands behind it), one below the other."""
    most, row = max(1e-12, *(number for _, number, _, _ in rows)), 20
    height = row * len(rows) + 8
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">']
    for at, (name, number, colour, words) in enumerate(rows):
        top, width = 4 + at * row, number / most * 150
        parts.append(_text(118, top + 14, cut(name, NAME), "end small", name))
        parts.append(f'<rect x="124" y="{top + 2}" width="{width:.1f}" height="{row - 5}" style="fill:{colour}"/>')
        parts.append(_text(128 + width, top + 14, words, "start"))
    return "".join([*parts, "</svg>"])


def heat(matrix: Sequence[Sequence[float]], names: Sequence[str], label: str) -> str:
    """A square of shares in [0, 1], rows to columns; the diagonal is left blank, and the deepest colour is the
    largest share beside it."""
    k, left = len(names), 118
    cell = (RIGHT - left) / k
    most = max([matrix[i][j] for i in range(k) for j in range(k) if i != j] + [1e-12])
    height = 8 + cell * k + 24 + 5.4 * max(len(cut(name, NAME)) for name in names)
    parts = [f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">']
    for i, name in enumerate(names):
        y = 8 + i * cell
        size = f'style="font-size:{min(9.5, cell * 0.8):.1f}px"'
        parts.append(_text(left - 6, y + cell / 2 + 4, cut(name, NAME), "end", name, size))
        x = left + (i + 0.5) * cell
        turn = f'transform="rotate(-60 {x:.1f} {8 + cell * k + 12:.1f})" {size}'
        parts.append(_text(x + 3, 8 + cell * k + 12, cut(name, NAME), "end", name, turn))
        for j, other in enumerate(names):
            if i != j:
                title = f"{name}: {matrix[i][j]:.1%} of the votes say {other}"
                parts.append(
                    f'<rect x="{left + j * cell:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" '
                    f'class="cell" style="fill-opacity:{matrix[i][j] / most:.3f}"><title>{escape(title)}</title></rect>'
                )
    return "".join([*parts, "</svg>"])


def short(number: float) -> str:
    """A count in at most five signs: 950, 1.2k, 35k, 1.3M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}" if number < limit * 1000 else f"{number / limit:.0f}{unit}"
    return f"{number:g}"


def cut(words: str, length: int) -> str:
    """At most `length` signs of a name, with "…" where there were more."""
    return words if len(words) <= length else words[: length - 1] + "…"


def _svg(
    frame: Frame,
    x_name: str,
    y_name: str,
    label: str,
    marks: Sequence[str],
    x_ticks: Sequence[tuple[float, str]] | None = None,
) -> str:
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for value in ticks(*frame.y):
        y = frame.down(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" class="grid"/>')
        parts.append(_text(LEFT - 5, y + 4, _number(value), "end"))
    for value, words in [(x, _number(x)) for x in ticks(*frame.x)] if x_ticks is None else x_ticks:
        x = frame.right(value)
        parts.append(f'<path d="M{x:.1f} {BOTTOM}v4" class="axis"/>')
        parts.append(_text(x, BOTTOM + 16, words))
    parts.append(f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" class="axis"/>')
    middle = (TOP + BOTTOM) / 2
    names = [
        _text((LEFT + RIGHT) / 2, HEIGHT - 6, x_name),
        _text(11, middle, y_name, more=f'transform="rotate(-90 11 {middle:.0f})"'),
    ]
    return "".join([*parts, *marks, *names, "</svg>"])


def _legend(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    keys = [
        f'<span><svg viewBox="0 0 24 8" class="key" aria-hidden="true"><path d="M0 4H24" class="line" '
        f'style="stroke:{LINES[at % 4]}" stroke-dasharray="{DASHES[at % 4]}"/></svg> {escape(name)}</span>'
        for at, name in enumerate(names)
    ]
    return f'<p class="legend">{"".join(keys)}</p>'


def _range(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """From the smallest to the largest with some room; a single value gets room as well."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * margin if high > low else abs(high) * 0.1 or 0.1
    return (low - room, high + room) if margin or high == low else (low, high)


def _number(value: float) -> str:
    return short(value) if abs(value) >= 1000 else f"{value:.4g}"


def _text(x: float, y: float, words: str, kind: str = "", title: str = "", more: str = "") -> str:
    inside = f"<title>{escape(title)}</title>" if title and title != words else ""
    look = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{look}{" " + more if more else ""}>{escape(words)}{inside}</text>'
