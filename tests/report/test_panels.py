"""Panels over a whole number: well-formed, every value a point at its height, names escaped."""

from xml.etree import ElementTree

from hume_ssl.report.panels import panels

SVG = "{http://www.w3.org/2000/svg}"


def test_a_point_for_every_value_at_its_height() -> None:
    drawn = ElementTree.fromstring(panels("t", "k", [3, 4, 5], {"up": [0.1, 0.2, 0.4], "flat": [2.0, 2.0, 2.0]}, 4))
    points = [(float(c.get("cx")), float(c.get("cy")), c.get("fill")) for c in drawn.iter(f"{SVG}circle")]
    assert len(points) == 6
    (x3, low, _), (x4, middle, marked), (x5, high, plain) = points[:3]
    assert x4 - x3 == x5 - x4 > 0
    assert abs((low - middle) - (low - high) / 3) < 0.11  # 0.2 lies a third of the way up; places are rounded to 0.1
    assert high < middle < low
    assert marked != plain
    assert len({y for _, y, _ in points[3:]}) == 1


def test_words_are_escaped_and_many_numbers_thinned() -> None:
    text = panels("a < b & c", "k", list(range(2, 102)), {"<f>": [float(i) for i in range(100)]}, 2)
    words = [element.text for element in ElementTree.fromstring(text).iter(f"{SVG}text")]
    assert {"a < b & c", "<f>", "k"} <= set(words)
    assert len(words) < 30
