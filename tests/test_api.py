"""The Python API: the commands' results on arrays, without a run folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hume_ssl
from hume_ssl.consensus.reliable import TooFewReliable
from hume_ssl.errors import InputError
from hume_ssl.train_config import TrainConfig
from tests.conftest import Hume

ENCODERS = ("kernel:rbf?width=0.5&dim=64", "kernel:rbf?dim=96")
SETTINGS: dict[str, object] = {"search.iterations": 40, "search.batch": 2}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """(400, 8, 8) images and their truth."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.rint(data.images[:400] * (255 / 16)).astype(np.uint8), data.target[:400]


def blobs(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) points of three well separated kinds, and which."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    return (rng.normal(size=(3, d))[kind] * 4 + rng.normal(size=(n, d))).astype(np.float32), kind


def test_equal_to_the_commands(hume: Hume, done: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, truth = digits
    table = pd.read_csv("hume-run/consensus.csv")
    train = (table["split"] == "train").to_numpy()
    found = hume_ssl.discover(
        images, classes=10, encoders=ENCODERS, train=train, searches=4, settings=SETTINGS, device="cpu"
    )
    np.testing.assert_array_equal(found.labels, table["label"])
    np.testing.assert_array_equal(found.agreement, table["agreement"])
    np.testing.assert_array_equal(found.neighbour_agreement, table["neighbour_agreement"])
    np.testing.assert_array_equal(found.reliable, table["reliable"])
    picked = hume_ssl.select(found, 2)
    labels = pd.read_csv("hume-run/selection/per-class-2/labels.csv")
    assert picked.index.tolist() == labels["index"].tolist()
    assert picked.reason == labels["reason"].tolist()
    config = TrainConfig(steps=12, batch=16, checkpoint_every=4, flip=False)
    trained = hume_ssl.train_fixmatch(
        images, picked.index, picked.label, classes=10, train=train, config=config, device="cpu"
    )
    predictions = pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")
    np.testing.assert_array_equal(trained.predictions, predictions["label"])
    spaces = [np.load(f"hume-run/spaces/{name}.npy") for name in ("labeller", "judge")]
    figures = hume_ssl.evaluate(found, truth, selection=picked, predictions=trained.predictions, spaces=spaces)
    said = hume("evaluate", "--truth", "truth.npy", "--json").json
    del said["selection"]["path"], said["train"]["name"], said["train"]["last_evaluations"]
    assert figures == said


def test_assign_labels_known_items_as_the_discovery_did() -> None:
    space, kind = blobs(300, 8, 0)
    train = np.arange(300) < 200
    found = hume_ssl.discover(labeller=space, classes=3, train=train, searches=4, settings={"search.iterations": 60})
    labels, agreement = hume_ssl.assign(found, space[200:])
    np.testing.assert_array_equal(labels, found.labels[200:])
    np.testing.assert_array_equal(agreement, found.agreement[200:])
    assert hume_ssl.evaluate(found, kind)["consensus"]["test_acc"] > 0.95


@pytest.mark.parametrize("align", ["reference", "stable"])
def test_assign_reads_ties_and_classes_as_the_discovery_did(align: str) -> None:
    """Searches cut short, of noise, with a vote each: many ties."""
    space = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    train = np.arange(300) < 200
    settings = {"search.iterations": 3, "consensus.weights": "equal", "consensus.align": align}
    found = hume_ssl.discover(labeller=space, classes=3, train=train, searches=4, settings=settings)
    assert 0.5 in found.agreement[200:]
    labels, agreement = hume_ssl.assign(found, space[200:])
    np.testing.assert_array_equal(labels, found.labels[200:])
    np.testing.assert_array_equal(agreement, found.agreement[200:])


def test_spaces_come_from_arrays_files_and_encoders_alike(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    space, _ = blobs(400, 8, 0)
    other, _ = blobs(400, 6, 1)
    np.save(tmp_path / "a.npy", space)
    few: dict[str, object] = {"search.iterations": 5}
    one = hume_ssl.discover(labeller=space, judges=[other], classes=3, searches=2, settings=few)
    two = hume_ssl.discover(labeller=tmp_path / "a.npy", judges=[other], classes=3, searches=2, settings=few)
    np.testing.assert_array_equal(one.labels, two.labels)
    # An encoder beside given spaces is a further judge, as on the command line.
    three = hume_ssl.discover(
        digits[0], labeller=space, judges=[other], encoders=["kernel:rbf?dim=16"], classes=3, searches=2, settings=few
    )
    assert three.searches.objective.tolist() != one.searches.objective.tolist()
    assert three.searches.weights.shape == one.searches.weights.shape


def test_what_cannot_be_used_is_refused() -> None:
    space, _ = blobs(30, 8, 0)
    with pytest.raises(InputError, match="images"):
        hume_ssl.discover(classes=3)
    with pytest.raises(InputError, match="30 and 31 rows"):
        hume_ssl.discover(labeller=space, judges=[blobs(31, 8, 0)[0]], classes=3)
    with pytest.raises(InputError, match="train has shape"):
        hume_ssl.discover(labeller=space, classes=3, train=np.ones(29, dtype=bool))
    with pytest.raises(InputError, match="0 train items"):
        hume_ssl.discover(labeller=space, classes=3, train=np.zeros(30, dtype=bool))
    with pytest.raises(InputError, match="8 directions"):
        hume_ssl.discover(labeller=space, classes=9)
    with pytest.raises(InputError, match=r"'search.iterations'"):
        hume_ssl.discover(labeller=space, classes=3, settings={"search.iteration": 3})
    found = hume_ssl.discover(labeller=space, classes=3, searches=2, settings={"search.iterations": 20})
    with pytest.raises(TooFewReliable) as caught:
        hume_ssl.select(found, 30)
    assert "class-00" in caught.value.table
    with pytest.raises(InputError, match=r"\(29,\)"):
        hume_ssl.evaluate(found, np.zeros(29))
