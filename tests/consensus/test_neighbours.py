"""Neighbour agreement by hand, with copies, with test items, against a search by sorting, and by cells."""

from pathlib import Path

import numpy as np
import pytest

from hume_ssl.config import ConsensusConfig
from hume_ssl.consensus import nearest as module
from hume_ssl.consensus.nearest import find_nearest, find_nearest_of_new
from hume_ssl.consensus.neighbours import agreement_of, agreement_of_new, chosen_spaces, neighbour_agreement
from hume_ssl.discovery import conclude
from hume_ssl.search import Searches


def plane(*degrees: float) -> np.ndarray:
    """Points on the unit circle."""
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def every(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


def test_five_points_by_hand() -> None:
    """Angles 0 10 25 100 112, two neighbours each, itself left out. 0: 10 and 25, classes 0 and 1, share 1/2 for class
    0. 10: 0 and 25, 1/2. 25 (class 1): 10 and 0, none. 100: 112 and 25, both of class 1. 112: 100 and 25, both."""
    found = neighbour_agreement([plane(0, 10, 25, 100, 112)], np.array([0, 0, 1, 1, 1]), every(5), 2)
    assert found.tolist() == [0.5, 0.5, 0, 1, 1]


def test_a_mass_of_copies_does_not_vouch_for_itself() -> None:
    """Thirty copies at 0 of class 0; at 20, 40 and 60 class 1. The copies' two nearest are 20 and 40: no vote. 20 sees
    the copies, one vote for class 0, and 40: 1/2. 40 sees 20 and 60. 60 sees 40 and 20."""
    labels = np.array([0] * 30 + [1] * 3)
    found = neighbour_agreement([plane(*[0] * 30, 20, 40, 60)], labels, every(33), 2)
    assert found.tolist() == [0] * 30 + [0.5, 1, 1]


def test_copies_in_several_classes_share_their_vote() -> None:
    """Four copies at 0 with classes 0 0 0 1; the only neighbour of 10 (class 1) is theirs: 1/4. They see 10."""
    found = neighbour_agreement([plane(0, 0, 10, 0, 0)], np.array([0, 0, 1, 0, 1]), every(5), 1)
    assert found.tolist() == [0, 0, 0.25, 0, 1]


def test_all_copies_of_one_item_have_no_witness() -> None:
    assert neighbour_agreement([plane(*[40] * 50)], np.zeros(50, dtype=int), every(50), 20).tolist() == [0] * 50


def test_copies_are_told_in_the_spaces_looked_into() -> None:
    """Items 0 and 1 are copies in the first space alone: there they are one row, in both spaces they are two."""
    first, second = plane(0, 0, 90, 95), plane(0, 5, 90, 95)
    labels = np.array([0, 0, 1, 1])
    assert neighbour_agreement([first], labels, every(4), 1).tolist() == [0, 0, 1, 1]
    assert neighbour_agreement([first, second], labels, every(4), 1).tolist() == [1, 1, 1, 1]


def test_a_zero_of_either_sign_makes_a_copy() -> None:
    space = np.array([[1.0, 0.0], [1.0, -0.0], [0.0, 1.0]])
    assert find_nearest([space], every(3), 1).row.tolist() == [0, 0, 1]


def test_test_items_look_among_train_items_and_are_nobodys_neighbours() -> None:
    """Items 2 and 5 (at 5 and 185 degrees) are test items: with one neighbour each, 0 sees 10 and not 5."""
    space, train = plane(0, 10, 5, 180, 190, 185), np.array([True, True, False, True, True, False])
    labels = np.array([0, 0, 1, 1, 1, 1])
    assert neighbour_agreement([space], labels, train, 1).tolist() == [1, 1, 0, 1, 1, 1]


def test_a_test_item_has_as_many_neighbours_as_a_train_item() -> None:
    """Two neighbours of the test item at 12: 10 and 20 (classes 0 and 1), not also 0."""
    train = np.array([True, True, True, False])
    found = neighbour_agreement([plane(0, 10, 20, 12)], np.array([1, 0, 1, 1]), train, 2)
    assert found[3] == 0.5


def test_a_copy_among_train_items_is_no_witness_for_a_test_item() -> None:
    """The test item at 0 has a copy of its class among the train items; its neighbours are 10 and 20, of class 1. The
    copy, a train item, has the same two; the test item votes for nobody, and 10 sees the copy once."""
    train = np.array([False, True, True, True])
    found = neighbour_agreement([plane(0, 0, 10, 20)], np.array([0, 0, 1, 1]), train, 2)
    assert found.tolist() == [0, 0, 0.5, 0.5]


def test_fewer_train_items_than_neighbours() -> None:
    found = neighbour_agreement([plane(0, 10, 20)], np.array([0, 0, 1]), every(3), 20)
    assert found.tolist() == [0.5, 0.5, 0]
    one = neighbour_agreement([plane(0, 10)], np.array([0, 0]), np.array([True, False]), 20)
    assert one.tolist() == [0, 1]  # the only train item has no witness; it is the test item's


def test_duplicating_items_changes_nobodys_share() -> None:
    rng = np.random.default_rng(5)
    space, labels = rng.standard_normal((90, 6)), rng.integers(0, 3, 90)
    one = neighbour_agreement([space], labels, every(90), 8)
    again = np.r_[np.arange(90), rng.integers(0, 90, 300)]
    found = neighbour_agreement([space[again]], labels[again], every(390), 8)
    np.testing.assert_allclose(found, one[again], atol=1e-12)
    scaled = space[again] * 2.0 ** rng.integers(-3, 4, (390, 1))
    assert np.array_equal(found, neighbour_agreement([scaled], labels[again], every(390), 8))


def test_the_length_of_rows_changes_nothing_and_zero_rows_are_no_error() -> None:
    rng = np.random.default_rng(0)
    space, labels = rng.standard_normal((60, 5)), rng.integers(0, 3, 60)
    one = neighbour_agreement([space], labels, every(60), 5)
    assert np.array_equal(one, neighbour_agreement([space * 2.0 ** rng.integers(-3, 4, (60, 1))], labels, every(60), 5))
    assert np.array_equal(one, neighbour_agreement([space * rng.uniform(0.1, 9, (60, 1))], labels, every(60), 5))
    space[7] = 0
    assert np.isfinite(neighbour_agreement([space], labels, every(60), 5)).all()


def test_class_ids_and_the_order_of_items_change_nothing() -> None:
    rng = np.random.default_rng(1)
    space, labels, train = rng.standard_normal((80, 4)), rng.integers(0, 3, 80), rng.random(80) < 0.8
    space[60:] = space[:20]
    order, ids = rng.permutation(80), np.array([2, 0, 1])
    one = neighbour_agreement([space], labels, train, 7)
    np.testing.assert_allclose(one, neighbour_agreement([space], ids[labels], train, 7), atol=1e-12)
    np.testing.assert_allclose(
        one[order], neighbour_agreement([space[order]], labels[order], train[order], 7), atol=1e-12
    )


def by_sorting(spaces: list[np.ndarray], labels: np.ndarray, train: np.ndarray, wanted: int) -> np.ndarray:
    """Every item against the groups of equal rows that have train items, its own group left out, in float64."""
    unit = np.hstack([s / np.linalg.norm(s, axis=1, keepdims=True) for s in spaces])
    groups: dict[tuple[float, ...], list[int]] = {}
    for i, row in enumerate(unit):
        groups.setdefault(tuple(row), []).append(i)
    share = []
    for i, row in enumerate(unit):
        others = {key: [j for j in items if train[j]] for key, items in groups.items() if key != tuple(row)}
        close = sorted((key for key in others if others[key]), key=lambda key: -np.dot(key, row))[:wanted]
        share.append(np.mean([np.mean(labels[others[key]] == labels[i]) for key in close]))
    return np.array(share)


@pytest.mark.parametrize("copies", [0, 60])
@pytest.mark.parametrize("chunk", [16_384, 33])
def test_it_is_what_sorting_all_pairs_gives(chunk: int, copies: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two spaces of other lengths side by side, each at unit norm; chunks that do not divide n; copies in both."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    rng = np.random.default_rng(2)
    pick = np.r_[np.arange(150), rng.integers(0, 30, copies)]
    spaces = [rng.standard_normal((150, 6))[pick], 50 * rng.standard_normal((150, 3))[pick]]
    labels, train = rng.integers(0, 3, 150 + copies), rng.random(150 + copies) < 0.7
    found = neighbour_agreement(spaces, labels, train, 9)
    np.testing.assert_allclose(found, by_sorting(spaces, labels, train, 9), atol=1e-12)
    assert find_nearest(spaces, train, 9).row.max() == 149


def clustered(n: int, d: int, clusters: int, seed: int) -> np.ndarray:
    """(n, d) float32 around random centres."""
    rng = np.random.default_rng(seed)
    centres = 2 * rng.standard_normal((clusters, d), dtype=np.float32)
    return centres[rng.integers(0, clusters, n)] + rng.standard_normal((n, d), dtype=np.float32)


@pytest.mark.parametrize("kind", ["float32", "copies"])
def test_beyond_the_exact_limit_the_recall_holds_for_all(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells, with a recall measured on 200 of 3,000 rows: over all of them it is at least 0.95, and fewer than all
    cells are looked into."""
    space = clustered(3000, 12, 20, 0)
    if kind == "copies":
        space = space[np.r_[np.arange(3000), np.zeros(2000, dtype=int)]]
    train = every(len(space))
    exact = find_nearest([space], train, 20)
    monkeypatch.setattr(module, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(module, "SAMPLE", 200)
    close = find_nearest([space], train, 20)
    assert np.array_equal(close.row, exact.row) and exact.how == "exact among 3,000 distinct train rows"
    assert np.mean([len(np.intersect1d(a, b)) / 20 for a, b in zip(close.near, exact.near, strict=True)]) >= 0.95
    looked, cells = (int(close.how.split()[i]) for i in (0, 2))
    assert 4 <= looked < cells and ", recall 0.9" in close.how and close.how.endswith("at 20, measured on 200")
    assert not (close.near == np.arange(3000)[:, None]).any()


def test_all_cells_at_single_precision_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows so close that half precision mixes them up: all is done again in single precision."""
    rng = np.random.default_rng(4)
    space = (1 + 0.05 * rng.standard_normal((500, 8))).astype(np.float32)
    exact = find_nearest([space], every(500), 5)
    monkeypatch.setattr(module, "EXACT_UP_TO", 100)
    monkeypatch.setattr(module, "RECALL", 0.99)
    close = find_nearest([space], every(500), 5)
    assert np.mean(np.sort(close.near, 1) == np.sort(exact.near, 1)) >= 0.99  # but for rounding
    assert float(close.how.split("recall ")[1][:5]) >= 0.99


def test_too_few_items_in_the_cells_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell of about six items, fewer than the ten neighbours wanted: the share is of those found."""
    monkeypatch.setattr(module, "EXACT_UP_TO", 100)
    monkeypatch.setattr(module, "RECALL", 0.0)
    monkeypatch.setattr(module, "_probes", lambda cells: [1])
    space = clustered(600, 4, 600, 3)
    found = find_nearest([space], every(600), 10)
    assert (found.near < 0).any()
    assert set(agreement_of(found, np.zeros(600, dtype=int), every(600))) <= {0, 1}


def test_memory_mapped_half_precision_spaces(tmp_path: Path) -> None:
    space = np.random.default_rng(6).standard_normal((200, 7)).astype(np.float16)
    np.save(tmp_path / "space.npy", space)
    labels = np.arange(200) % 3
    mapped = neighbour_agreement([np.load(tmp_path / "space.npy", mmap_mode="r")], labels, every(200), 6)
    assert np.array_equal(mapped, neighbour_agreement([space.astype(np.float64)], labels, every(200), 6))
    turned = np.asfortranarray(space)
    assert np.array_equal(mapped, neighbour_agreement([turned], labels, every(200), 6))


def test_the_spaces_looked_into() -> None:
    """Without a labeller the judges; a space that serves as both counts once."""
    a, b, c = np.zeros((1, 1)), np.zeros((1, 2)), np.zeros((1, 3))

    def widths(*chosen: object) -> list[int]:
        return [space.shape[1] for space in chosen_spaces(*chosen)]  # type: ignore[arg-type]

    assert widths("judge", a, [b, c]) == [2, 3]
    assert widths("labeller", a, [b, c]) == [1]
    assert widths("both", a, [b, c]) == [1, 2, 3]
    assert widths("both", a, [a]) == [1]
    assert [widths(choice, None, [b, c]) for choice in ("judge", "labeller", "both")] == [[2, 3]] * 3


def test_the_consensus_looks_into_the_space_its_recipe_names() -> None:
    """Classes 0 0 1 1. In the labeller 0 is near 1 and 2 near 3; in the judge 0 is near 2 and 1 near
    3. Without a labeller the judge stands in, whatever is named."""
    labeller, judge = plane(0, 10, 90, 100), plane(0, 90, 20, 110)
    labels = np.array([[0, 0, 1, 1]], dtype=np.int32)
    weights, one = np.zeros((1, 2, 2), dtype=np.float32), np.ones(1)
    searches = Searches([0], labels, one, one, [2], [1], ["done"], weights, None)

    def shares(space: str, own: np.ndarray | None) -> list[float]:
        config = ConsensusConfig(neighbours=1, neighbour_space=space)
        found = conclude(searches, [judge], every(4), 2, config, own)
        assert found.neighbour_search == "exact among 4 distinct train rows"
        return found.neighbour_agreement.tolist()

    assert shares("labeller", labeller) == [1, 1, 1, 1]
    assert shares("judge", labeller) == [0, 0, 0, 0]
    assert [shares(space, None) for space in ("judge", "labeller", "both")] == [[0, 0, 0, 0]] * 3
    assert ConsensusConfig().neighbour_space == "labeller"


def test_new_items_see_what_they_would_see_among_the_items() -> None:
    """Angles 0 10 25 100 112 of classes 0 0 1 1 1, two neighbours each. New: 5 sees 0 and 10; 60 sees 25 and 100."""
    labels, train = np.array([0, 0, 1, 1, 1]), every(5)
    nearest = find_nearest_of_new([plane(0, 10, 25, 100, 112)], [plane(5, 60)], train, 2)
    assert agreement_of_new(nearest, np.array([0, 1]), labels, train).tolist() == [1, 1]
    assert agreement_of_new(nearest, np.array([1, 0]), labels, train).tolist() == [0, 0]


def test_the_items_themselves_as_new_ones_see_what_they_saw() -> None:
    """With copies, with test items, and in two spaces: an item's own row is no witness either way."""
    rng = np.random.default_rng(0)
    spaces = [rng.standard_normal((60, 5)), rng.standard_normal((60, 3)).astype(np.float32)]
    for space in spaces:
        space[40:50] = space[:10]
    labels, train = rng.integers(0, 3, 60), rng.random(60) < 0.7
    nearest = find_nearest_of_new(spaces, [space[20:55] for space in spaces], train, 7)
    old = neighbour_agreement(spaces, labels, train, 7)
    np.testing.assert_array_equal(agreement_of_new(nearest, labels[20:55], labels, train), old[20:55])
