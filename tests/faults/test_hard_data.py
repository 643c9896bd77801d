"""Data at the edges: a sensible result or a refusal in a line, and no NaN in anything that is written."""

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from hume_ssl.files import read_csv
from hume_ssl.metrics import acc
from tests.conftest import Answer, Hume

RUN = Path("hume-run")
FAST = ["--set", "search.iterations=40"]
PAPER = ["--preset", "paper", "--set", "search.iterations=3", "--set", "search.subsets=2"]
TURTLE = ["--set", "search.objective=turtle", "--set", "search.iterations=30"]
WAYS = {"fast": FAST, "paper": PAPER, "turtle": TURTLE}
Rows = NDArray[Any]


def clusters(n: int, k: int, d: int, seed: int, spread: float = 0.3) -> Rows:
    """(n, d) points around k centres, item i in class i % k."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(k, d))
    return (centres[np.arange(n) % k] + spread * generator.normal(size=(n, d))).astype(np.float32)


LABELLER, JUDGE = clusters(300, 5, 16, 0), clusters(300, 5, 12, 1)
TRUTH = np.arange(300) % 5


def discover(hume: Hume, labeller: Rows, judge: Rows, k: int, *more: str) -> Answer:
    np.save("a.npy", labeller)
    np.save("b.npy", judge)
    return hume(
        "discover", "--labeller", "a.npy", "--judge", "b.npy", "--classes", str(k), "--searches", "4",
        "--overwrite", *more,
    )  # fmt: skip


def labels() -> NDArray[np.int64]:
    return read_csv(RUN / "consensus.csv")["label"].to_numpy(dtype=np.int64)


def check_no_nan(run: Path = RUN) -> None:
    """No NaN and no infinity in any array, tensor, table or JSON of a run; a cell may be empty where none is known."""
    for path in run.rglob("*"):
        if path.suffix == ".npy":
            arrays = {path.name: np.load(path)}
        elif path.suffix == ".safetensors":
            arrays = load_file(path)
        else:
            arrays = {}
        for name, array in arrays.items():
            assert array.dtype.kind != "f" or np.isfinite(array).all(), f"{path} {name}"
        if path.suffix == ".csv":
            with open(path, encoding="utf-8", newline="") as file:
                cells = {cell.lower() for row in csv.reader(file) for cell in row}
            assert not cells & {"nan", "inf", "-inf", "infinity"}, path
            table = read_csv(path)
            for column in table.columns.difference(["generalization_score", "label"]):
                assert not table[column].isna().any(), f"{path} {column}"
        if path.suffix in (".json", ".jsonl"):
            for line in [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines():
                json.loads(line, parse_constant=pytest.fail)


def go_on(hume: Hume) -> None:
    """What a user does next; a class without a reliable item is no failure."""
    answer = hume("select", "--per-class", "1", "--allow-short")
    assert answer.code == 0 or "no item is reliable" in answer.err
    for command in (["report"], ["export", "--to", "csv"], ["status"]):
        answer = hume(*command)
        assert answer.code == 0, answer.err
    check_no_nan()


@pytest.mark.parametrize("way", WAYS)
def test_constant_columns(bare: Path, hume: Hume, way: str) -> None:
    labeller = LABELLER.copy()
    labeller[:, :5] = 1
    assert discover(hume, labeller, JUDGE, 5, *WAYS[way]).code == 0
    if way == "fast":
        assert acc(labels(), TRUTH, 5) > 0.95
    go_on(hume)


def refused(answer: Answer, *words: str) -> None:
    assert answer.code == 2 and len(answer.err.splitlines()) == 1, answer
    for word in words:
        assert word in answer.err
    assert not RUN.exists()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("constant", [0, 1])
def test_a_space_without_a_difference_is_refused(bare: Path, hume: Hume, way: str, constant: int) -> None:
    spaces = [LABELLER, JUDGE]
    spaces[constant] = np.full_like(spaces[constant], 3)
    refused(discover(hume, *spaces, 5, *WAYS[way]), f"{'ab'[constant]}.npy", "all 300 rows are the same")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n", [5, 6])
def test_hardly_more_items_than_classes(bare: Path, hume: Hume, way: str, n: int) -> None:
    assert discover(hume, LABELLER[:n], JUDGE[:n], 5, *WAYS[way]).code == 0
    assert len(labels()) == n and labels().max() < 5
    go_on(hume)


def test_fewer_items_than_classes(bare: Path, hume: Hume) -> None:
    refused(discover(hume, LABELLER[:4], JUDGE[:4], 5), "5", "4")


@pytest.mark.parametrize("prior", ["uniform", "free"])
def test_a_class_of_one_item(bare: Path, hume: Hume, prior: str) -> None:
    labeller, judge = LABELLER.copy(), JUDGE.copy()
    labeller[0], judge[0] = labeller[0] + 30, judge[0] - 30
    assert discover(hume, labeller, judge, 6, *FAST, "--prior", prior).code == 0
    assert acc(labels()[1:], TRUTH[1:], 6) > 0.8  # it takes no other class apart
    go_on(hume)


@pytest.mark.parametrize("prior", ["uniform", "free"])
def test_one_to_a_thousand(bare: Path, hume: Hume, prior: str) -> None:
    generator, which = np.random.default_rng(3), np.r_[np.zeros(1000, dtype=int), 1]
    spaces = [3 * generator.normal(size=(2, d))[which] + 0.3 * generator.normal(size=(1001, d)) for d in (16, 12)]
    assert discover(hume, *spaces, 2, *FAST, "--prior", prior).code == 0
    go_on(hume)


def test_everything_twice(bare: Path, hume: Hume) -> None:
    assert discover(hume, np.repeat(LABELLER, 2, 0), np.repeat(JUDGE, 2, 0), 5, *FAST).code == 0
    found = labels()
    assert (found[::2] == found[1::2]).all()
    assert acc(found, np.repeat(TRUTH, 2), 5) > 0.95
    go_on(hume)


def test_everything_fifty_times(bare: Path, hume: Hume) -> None:
    """Copies are no witnesses of one another: of 20 different items, 4 a class, most others are of other classes."""
    assert discover(hume, np.repeat(LABELLER[:20], 50, 0), np.repeat(JUDGE[:20], 50, 0), 5, *FAST).code == 0
    table = read_csv(RUN / "consensus.csv")
    assert (table["neighbour_agreement"] <= 0.5).all()
    assert (table.groupby(np.arange(1000) // 50)["label"].nunique() == 1).all()
    assert discover(
        hume, np.repeat(LABELLER[:20], 50, 0), np.repeat(JUDGE[:20], 50, 0), 5, *FAST, "--neighbours", "3"
    ).code == 0  # fmt: skip
    assert read_csv(RUN / "consensus.csv")["reliable"].all()
    go_on(hume)


@pytest.mark.parametrize("way", WAYS)
def test_rows_of_zeros(bare: Path, hume: Hume, way: str) -> None:
    labeller, judge = LABELLER.copy(), JUDGE.copy()
    labeller[7] = 0
    refused(discover(hume, labeller, JUDGE, 5, *WAYS[way]), "a.npy", "row 7")
    judge[7] = 0
    assert discover(hume, LABELLER, judge, 5, *WAYS[way]).code == 0  # a judge's rows are taken as they are
    check_no_nan()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: np.where(np.arange(x.size).reshape(x.shape) == 50, np.inf, x).astype(np.float16), ("inf", "row")),
        (lambda x: np.where(np.arange(x.size).reshape(x.shape) == 50, np.nan, x), ("nan", "row")),
        (lambda x: x * np.float32(1e38) / np.abs(x).max(), ("row", "standard deviation")),
        (lambda x: x.astype(np.float64) * 1e300, ("row", "standard deviation")),
        (lambda x: x * np.float32(1e-41), ("next to nothing", "standard deviation")),
    ],
    ids=["float16 overflow", "nan", "1e38", "1e300", "subnormal"],
)
@pytest.mark.parametrize("place", [0, 1])
def test_values_that_numbers_do_not_hold(bare: Path, hume: Hume, change: Any, words: Any, place: int) -> None:
    spaces = [LABELLER, JUDGE]
    spaces[place] = change(spaces[place])
    refused(discover(hume, *spaces, 5, *FAST), "ab"[place] + ".npy", *words)


@pytest.mark.parametrize("scale", [65504, 1e-4, 1e14])
def test_values_that_numbers_just_hold(bare: Path, hume: Hume, scale: float) -> None:
    form = np.float16 if scale == 65504 else np.float32
    spaces = [(space / np.abs(space).max() * scale).astype(form) for space in (LABELLER, JUDGE)]
    assert discover(hume, *spaces, 5, *FAST).code == 0
    assert acc(labels(), TRUTH, 5) > 0.95
    go_on(hume)


def photos(images: list[Rows]) -> None:
    """Images as files in the folder photos."""
    Path("photos").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(f"photos/{i:03d}.png")


def noise(*shape: int) -> Rows:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


IMAGES = {
    "8x8": [noise(8, 8) + np.uint8(i) for i in range(40)],
    "1x1": [np.full((1, 1), 6 * i, np.uint8) for i in range(40)],
    "strips": [noise(*((1, 2000 + i) if i % 2 else (2000 + i, 1))) for i in range(40)],
    "one colour": [np.full((8, 8, 3), (6 * i, 255 - 6 * i, i % 3), np.uint8) for i in range(40)],
    "all sizes": [noise(4 + 3 * i, 130 - 3 * i, 3) for i in range(40)],
}
DISCOVER = ["discover", "--images", "photos", "--classes", "3", "--searches", "3", "--encoder", "kernel:rbf?dim=32"]


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_every_shape(bare: Path, hume: Hume, name: str) -> None:
    photos(IMAGES[name])
    answer = hume(*DISCOVER, *FAST, "--neighbours", "1")
    assert answer.code == 0, answer.err
    assert hume("assign", "--images", "photos").code == 0
    go_on(hume)
    train = hume("train-fixmatch", "--steps", "2", "--set", "train.batch=4")
    assert train.code == 0 or "no selection" in train.err, train.err
    check_no_nan()


def test_images_that_are_all_the_same(bare: Path, hume: Hume) -> None:
    photos([np.full((8, 8), 7, np.uint8)] * 30)
    refused(hume(*DISCOVER, *FAST), "kernel:rbf", "look the same")


@pytest.mark.slow
def test_images_of_36_million_pixels(bare: Path, hume: Hume) -> None:
    photos([np.kron(noise(60, 60 + i, 3)[:, :60], np.ones((100, 100, 1), np.uint8)) for i in range(6)])
    assert hume(*DISCOVER, *FAST).code == 0
    assert hume("report").code == 0
    check_no_nan()


@pytest.mark.slow
def test_a_thousand_classes_of_five_items(bare: Path, hume: Hume) -> None:
    began = time.monotonic()
    spaces = [clusters(5000, 1000, d, seed) for d, seed in ((1024, 0), (64, 1))]
    assert discover(hume, *spaces, 1000, "--set", "search.iterations=10").code == 0
    go_on(hume)
    assert time.monotonic() - began < 600
