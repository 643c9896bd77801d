"""The reliability diagram: points where the figures say, and text that can be read."""

from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from hume_ssl.calibration import calibration
from hume_ssl.report.reliability import HEIGHT, WIDTH, reliability_svg

SVG = "{http://www.w3.org/2000/svg}"


def figures(n: int, times: int = 1) -> dict:
    """Figures of n random items, their counts multiplied."""
    rng = np.random.default_rng(n)
    one, two = rng.integers(30, 101, n) / 100, rng.integers(6, 21, n) / 20
    found = calibration(one, two, rng.random(n) < one)
    for value in found.values():
        for row in value["bins"]:
            row["n"] *= times
    return found


def boxes(root: ElementTree.Element) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each text, a letter taken to be 0.6 of its size wide."""
    found = {}
    for at, text in enumerate(root.iter(f"{SVG}text")):
        x, y, words = float(text.get("x", 0)), float(text.get("y", 0)), str(text.text)
        size = float(text.get("font-size", root.get("font-size", 0)))
        width = 0.6 * size * len(words)
        left = x - width * {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "middle")]
        box = (left, y - 0.8 * size, left + width, y + 0.2 * size)
        if "rotate(-90" in text.get("transform", ""):
            box = (x - 0.8 * size, y - width / 2, x + 0.2 * size, y + width / 2)
        found[f"{at}: {words}"] = box
    return found


@pytest.mark.parametrize(("n", "times"), [(0, 1), (1, 1), (500, 1), (5000, 2000)])
def test_no_two_texts_overlap_and_all_lie_inside(n: int, times: int) -> None:
    found = boxes(ElementTree.fromstring(reliability_svg(figures(n, times))))
    assert len(found) == 1 + 3 + 12 + 2 + 1 + 14
    for name, (left, top, right, bottom) in found.items():
        assert left >= 0 and right <= WIDTH and top >= 0 and bottom <= HEIGHT, name
    for one, other in combinations(found, 2):
        (a, b, c, d), (e, f, g, h) = found[one], found[other]
        assert c <= e or g <= a or d <= f or h <= b, f"{one!r} over {other!r}"


def test_points_lie_where_the_figures_say() -> None:
    """Searches: two items at 0.4, one right; four at 1, all right. The frame is 398 wide and 250 high."""
    shares = np.array([0.4, 0.4, 1, 1, 1, 1])
    root = ElementTree.fromstring(
        reliability_svg(calibration(shares, shares, np.array([True, False, True, True, True, True])))
    )
    circles = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in root.iter(f"{SVG}circle")]
    points = [point for point in circles if point[1] > 60]  # the others are the legend's
    assert points == [(pytest.approx(64 + 0.4 * 398, abs=0.1), 187.0), (462.0, 62.0)]
    assert root.findtext(f"{SVG}text") == "Agreement and truth: 6 items with a known truth"


def test_without_truth_there_is_a_picture_without_points() -> None:
    picture = reliability_svg(figures(0))
    assert "ECE -" in picture and "nan" not in picture.lower() and "None" not in picture
    assert len(list(ElementTree.fromstring(picture).iter(f"{SVG}circle"))) == 1  # the legend's


def test_text_is_escaped() -> None:
    picture = reliability_svg(figures(50), title="<script>&")
    assert ElementTree.fromstring(picture).findtext(f"{SVG}title") == "<script>&"
    assert "<script>" not in picture
