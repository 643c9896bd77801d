"""`assign` by the searches: the run's own items get what they have; new ones what the task encoders vote."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image

from tests.conftest import Hume, files_of

COLUMNS = ["index", "filepath", "split", "label", "agreement", "neighbour_agreement", "reliable"]
SMALL = ["--searches", "6", "--set", "search.iterations=30", "--seed", "3"]


def tables(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_csv(f"hume-run/assign/{name}.csv"), pd.read_csv("hume-run/consensus.csv")


def same(new: pd.DataFrame, old: pd.DataFrame) -> None:
    """Exactly the same labels; shares within a vote that a rounding of the features may turn."""
    assert list(new) == list(old) == COLUMNS
    assert new["label"].tolist() == old["label"].tolist()
    for column in ("agreement", "neighbour_agreement"):
        np.testing.assert_allclose(new[column], old[column], atol=1e-9, err_msg=column)
    assert new["reliable"].tolist() == old["reliable"].tolist()


def test_the_runs_own_images_get_their_consensus(hume: Hume, done: Path) -> None:
    answer = hume("assign", "--images", "digits.npy", "--json")
    assert answer.code == 0, answer.err
    new, old = tables("digits")
    same(new, old)
    assert answer.json["class_counts"] == np.bincount(old["label"], minlength=10).tolist()
    assert answer.json["reliable_items"] == old["reliable"].sum()
    again = hume("assign", "--images", "digits.npy")
    assert again.code == 0 and "nothing to do" in again.out


@pytest.mark.parametrize(
    "settings",
    [
        ["--set", "consensus.neighbour_space=both", "--set", "consensus.align=reference"],
        ["--set", "consensus.neighbour_space=judge", "--set", "search.preset=paper", "--set", "search.inner_steps=5"],
        ["--set", "search.objective=turtle", "--set", "search.subset_size=100"],
    ],
)
def test_whatever_the_searches_were(hume: Hume, made: Path, bare: Path, settings: list[str]) -> None:
    flags = ["--images", "digits.npy", "--classes", "10", "--split", "0.2", *SMALL, *settings]
    assert hume("discover", *flags, "--encoder", "kernel:rbf?dim=32", "--encoder", "kernel:rbf?dim=48").code == 0
    answer = hume("assign", "--images", "digits.npy")
    assert answer.code == 0, answer.err
    same(*tables("digits"))


def test_networks_and_files(hume: Hume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a network whose weights lie in a file; the file gone, or another one, is told."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("images").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(f"images/{i:02d}.png")
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), "w.pth")
    encoder = "torchvision:squeezenet1_1@w.pth?size=32"
    flags = ["--images", "images", "--classes", "3", "--encoder", encoder, "--encoder", "kernel:rbf?dim=16"]
    assert hume("discover", *flags, "--searches", "3", "--set", "search.iterations=5").code == 0
    assert hume("assign", "--images", "images").code == 0
    same(*tables("images"))
    Path("images/00.png").rename("new.png")
    Path("one").mkdir()
    Path("new.png").rename("one/00.png")
    assert hume("assign", "--images", "one").code == 0
    new, old = tables("one")
    assert new[COLUMNS[3:]].iloc[0].tolist() == old[COLUMNS[3:]].iloc[0].tolist()
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), "w.pth")
    before = files_of(Path("hume-run"))
    answer = hume("assign", "--images", "one", "--overwrite")
    assert answer.code == 2 and "its weights_sha256 is another" in answer.err
    Path("w.pth").unlink()
    assert "w.pth" in hume("assign", "--images", "one", "--overwrite").err
    assert files_of(Path("hume-run")) == before


def test_rows_where_the_spaces_were_given(hume: Hume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((3, 12)) * 3
    rows = (centres[rng.integers(0, 3, 60)] + rng.standard_normal((60, 12))).astype(np.float32)
    np.save("a.npy", rows)
    np.save("b.npy", rows[:, ::-1] + 1)
    assert hume("discover", "--labeller", "a.npy", "--judge", "b.npy", "--classes", "3", *SMALL).code == 0
    assert hume("assign", "--labeller", "a.npy").code == 0
    same(*tables("a"))
    np.save("new.npy", rows[5:9])
    assert hume("assign", "--labeller", "new.npy", "--judge", "new.npy").code == 0
    assert tables("new")[0]["label"].tolist() == tables("a")[1]["label"].tolist()[5:9]
    np.save("wide.npy", np.ones((4, 13), np.float32))
    for flags, message in (
        ([], "--images"),
        (["--judge", "new.npy"], "the labeller space"),
        (["--labeller", "wide.npy"], "13 columns"),
        (["--labeller", "new.npy", "--judge", "new.npy", "--judge", "new.npy"], "has no judge-2"),
        (["--labeller", "new.npy", "--from", "train"], "labels images"),
        (["--labeller", "new.npy", "--name", "x", "--from", "searches"], "--from train"),
    ):
        answer = hume("assign", *flags, "--overwrite")
        assert answer.code == 2 and message in answer.err, answer.err


def test_after_a_persons_answers(hume: Hume, done: Path) -> None:
    """New items move with the groups that answers moved; the run's own get the corrected consensus."""
    assert hume("select", "--ask", "12").code == 0
    asked = pd.read_csv("hume-run/selection/ask-12/labels.csv")
    truth = np.load("truth.npy") if Path("truth.npy").is_file() else None
    asked["label"] = asked["index"] % 10 if truth is None else truth[asked["index"]]
    asked.to_csv("answers.csv", index=False)
    answer = hume("select", "--answers", "answers.csv")
    assert answer.code == 0, answer.err
    assert hume("assign", "--images", "digits.npy").code == 0
    new, old = tables("digits")
    answered = set(pd.read_csv("hume-run/answers.csv")["index"])
    others = [i for i in range(len(old)) if i not in answered]
    assert (new["label"][others] == old["label"][others]).mean() > 0.99
    facts = json.loads(Path("hume-run/run.json").read_text())["stages"]["assign/digits"]
    assert facts["status"] == "finished"


@pytest.mark.slow
def test_a_held_back_fifth_of_the_digits(hume: Hume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New digits get the right class as often as those that the searches learned from, within two points."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.datasets import load_digits

    from hume_ssl.items import load_items
    from hume_ssl.metrics import confusion

    monkeypatch.chdir(tmp_path)
    images, truth = load_items("digits").pixels(), load_digits().target
    order = np.random.default_rng(0).permutation(len(truth))
    old, new = np.sort(order[:1438]), np.sort(order[1438:])
    np.save("old.npy", images[old])
    np.save("new.npy", images[new])
    assert hume("discover", "--images", "old.npy", "--classes", "10", "--searches", "64").code == 0
    assert hume("assign", "--images", "new.npy").code == 0
    found, assigned = pd.read_csv("hume-run/consensus.csv")["label"], pd.read_csv("hume-run/assign/new.csv")["label"]
    _, classes = linear_sum_assignment(-confusion(found.to_numpy(), truth[old], 10, 10))
    right = [(classes[found] == truth[old]).mean(), (classes[assigned] == truth[new]).mean()]
    assert right[0] > 0.9 and abs(right[0] - right[1]) < 0.02, right
