"""The report's parts: which items are shown, confusions counted by hand, pictures, charts, and what is escaped."""

import base64
import io
import re
import time

import numpy as np
import pytest
from PIL import Image

from hume_ssl.items import load_items
from hume_ssl.report import charts
from hume_ssl.report.confused import confused_pairs, confusion, second_choice
from hume_ssl.report.document import document, table, text
from hume_ssl.report.gallery import Card, Tile, colour, gallery
from hume_ssl.report.shown import galleries, map_items, plane, tiles_a_class
from hume_ssl.report.thumbnails import fitting, thumbnail, thumbnails

HOSTILE = "</script><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>\u2028"

# Three searches of six items, two classes; the second has its ids swapped, the third has no vote.
LABELLINGS = np.array([[0, 0, 0, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
MATCHING = np.array([[0, 1], [1, 0], [0, 1]])
WEIGHTS = np.array([1.0, 0.5, 0.0])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_confusion_by_hand() -> None:
    """Of class 0's items the third gets half a vote for class 1: 0.5 of 4.5; of class 1 nothing goes astray."""
    train = np.ones(6, dtype=bool)
    found = confusion(LABELLINGS, MATCHING, WEIGHTS, LABELS, train, 2)
    np.testing.assert_allclose(found, [[4 / 4.5, 0.5 / 4.5], [0, 1]])
    assert confused_pairs(found, 5) == [(0, 1, pytest.approx(0.5 / 4.5))]
    train[2] = False
    np.testing.assert_allclose(confusion(LABELLINGS, MATCHING, WEIGHTS, LABELS, train, 2), np.eye(2))


def test_confusion_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = confusion(LABELLINGS, MATCHING, WEIGHTS, LABELS, np.ones(6, dtype=bool), 2)
    monkeypatch.setattr("hume_ssl.report.confused.CHUNK", 2)
    np.testing.assert_allclose(confusion(LABELLINGS, MATCHING, WEIGHTS, LABELS, np.ones(6, dtype=bool), 2), whole)


def test_what_else_an_item_may_be() -> None:
    rival, share = second_choice(LABELLINGS, MATCHING, WEIGHTS, LABELS, np.array([0, 2, 5]), 2)
    assert rival.tolist() == [-1, 1, -1]
    np.testing.assert_allclose(share, [0, 1 / 3, 0])


def test_the_gallery_shows_the_surest_and_the_most_doubtful() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1, -1])
    agreement = np.array([0.9, 1.0, 0.4, 0.8, 0.7, 1.0, 1.0])
    first, second, none = galleries(labels, agreement, np.ones(7), 3, np.array([3]), 2)
    assert first.certain.tolist() == [3, 1]  # the selected one first
    assert first.doubtful.tolist() == [2, 4]
    assert second.certain.tolist() == [5] and second.doubtful.tolist() == []
    assert none.certain.tolist() == [] and none.doubtful.tolist() == []


def test_no_item_is_shown_twice() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 7, 300)
    shares = generator.random(300)
    shown = galleries(labels, shares, shares, 7, generator.permutation(300)[:20], 24)
    every = np.concatenate([np.concatenate([one.certain, one.doubtful]) for one in shown])
    assert len(every) == len(np.unique(every))
    for label, one in enumerate(shown):
        assert (labels[one.certain] == label).all() and (labels[one.doubtful] == label).all()


def test_room_for_many_classes() -> None:
    assert [tiles_a_class(k) for k in (2, 10, 125, 1000, 100_000)] == [24, 24, 24, 3, 1]


def test_the_map_keeps_some_of_every_class() -> None:
    labels = np.concatenate([np.zeros(100_000, np.int64), np.full(20, 1), np.full(1, 2)])
    rows = map_items(labels, 3, 3000)
    counts = np.bincount(labels[rows], minlength=3)
    assert len(rows) <= 3000 and (np.diff(rows) > 0).all()
    assert counts.tolist()[1:] == [20, 1] and counts[0] > 1500
    assert map_items(labels, 3, 3000).tolist() == rows.tolist()


def test_the_map_is_that_of_two_principal_directions() -> None:
    """Against scikit-learn's PCA of the same unit rows, up to the sign of each axis."""
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=(50, 6)) * (5, 3, 1, 1, 1, 1)
    places = plane(x, np.arange(50))
    unit = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    expected = PCA(2).fit_transform(unit)
    for axis in (0, 1):
        assert abs(np.corrcoef(places[:, axis], expected[:, axis])[0, 1]) == pytest.approx(1, abs=1e-4)
    assert places.min() == 0 and places.max() == 1
    assert np.isfinite(plane(np.ones((4, 3)), np.arange(4))).all()
    assert plane(np.random.default_rng(0).normal(size=(3, 9)), np.arange(3)).shape == (3, 2)
    assert plane(np.arange(5.0)[:, None] - 2.5, np.arange(5)).shape == (5, 2)


def pixels_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_small_pictures_keep_their_pixels_and_large_ones_are_made_small() -> None:
    small = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    assert (pixels_of(thumbnail(Image.fromarray(small))) == small).all()
    large = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    uri = thumbnail(Image.fromarray(large))
    assert pixels_of(uri).shape == (96, 64, 3) and len(uri) < 6000


def test_pictures_of_items_and_how_many_fit() -> None:
    items = load_items("digits")
    made = thumbnails(items, [5, 17])
    assert sorted(made) == [5, 17] and (pixels_of(made[17]) == items.pixels()[17]).all()
    fits = fitting(items, range(1797), 100_000)
    mean = sum(map(len, thumbnails(items, range(0, 1797, 30)).values())) / 60
    assert fits == pytest.approx(100_000 / mean, rel=0.1)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.48, 0.52, [0.48, 0.49, 0.5, 0.51, 0.52]), (3, 3, [3]), (0, 1e6, None)],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float] | None) -> None:
    found = charts.ticks(low, high)
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    if expected is not None:
        assert found == pytest.approx(expected)
    assert 1 <= len(found) <= 11


def test_charts_of_hardly_anything() -> None:
    """One point, equal values, no item: a picture without NaN."""
    made = [
        charts.scatter([(0.5, 0.5, "one", True)], "x", "y", "l"),
        charts.scatter([], "x", "y", "l"),
        charts.lines({"a": [(1, 2), (2, 2)]}, "x", "y", "l"),
        charts.histogram([("a", 0), ("b", 0)], "x", "l"),
        charts.bars([("a", 0, "red", "0")], "l"),
        charts.heat([[1.0]], ["a"], "l"),
        charts.heat([[1.0, 0.0], [0.0, 1.0]], ["a", "b"], "l"),
    ]
    for chart in made:
        assert "nan" not in chart.lower() and "inf" not in chart


def test_short_counts() -> None:
    assert [charts.short(n) for n in (0, 999, 1190, 35_000, 1_280_000)] == ["0", "999", "1.19k", "35k", "1.28M"]


def test_nothing_from_outside_is_markup() -> None:
    """Names of files and classes stand in the page as text only, in its data too."""
    tile = Tile(3, None, HOSTILE, 0.5, 0.5, 0, 0.2, True)
    card = Card(0, HOSTILE, True, 1, 0, 1, 1.0, 0, 0.1, [tile], [])
    body = gallery([card], [HOSTILE], HOSTILE, HOSTILE) + table([HOSTILE], [[HOSTILE]], HOSTILE)
    body += charts.bars([(HOSTILE, 1, "red", HOSTILE)], HOSTILE) + charts.heat(
        [[1, 0], [0, 1]], [HOSTILE, "b"], HOSTILE
    )
    body += charts.scatter([(0, 0, HOSTILE, True)], HOSTILE, HOSTILE, HOSTILE)
    page = document(HOSTILE, body, {"run-data": {"names": [HOSTILE]}})
    assert "<script>alert" not in page and "<img src=x" not in page and "onerror=alert(2)>" not in page
    assert page.count("<script") == 2 and page.count("</script>") == 2
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'", page)


def test_names_that_are_no_unicode() -> None:
    assert text("a\udcffb<") == "a\ufffdb&lt;"
    document("a\udcff", text("\udcff"), {"run-data": {"names": ["\udcff"]}}).encode("utf-8")


def test_colours_differ() -> None:
    for k in (2, 10, 11, 100):
        assert len({colour(label, k) for label in range(k)}) == k


def test_a_million_items_are_counted_in_seconds() -> None:
    """Confusions of 8 searches of 500,000 items, in time that grows with searches and items alone."""
    generator = np.random.default_rng(0)
    labellings = generator.integers(0, 10, (8, 500_000), dtype=np.int32)
    began = time.perf_counter()
    found = confusion(
        labellings,
        np.tile(np.arange(10), (8, 1)),
        np.ones(8),
        labellings[0].astype(np.int64),
        np.ones(500_000, bool),
        10,
    )
    assert time.perf_counter() - began < 5
    np.testing.assert_allclose(found.sum(1), 1)
