"""`select --names`: names that a person gives the classes, and classes that become one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hume_ssl.run import RunFolder
from hume_ssl.stages.naming import load_named
from hume_ssl.stages.table import first_of_name, load_found
from hume_ssl.stages.votes import stored_votes
from tests.conftest import Hume, files_of

RUN = Path("hume-run")


def given(names: dict[int, str]) -> str:
    """A file of names."""
    pd.DataFrame({"class": names.keys(), "name": names.values()}).to_csv("names.csv", index=False)
    return "names.csv"


def test_the_first_class_of_a_name() -> None:
    assert first_of_name(["a", "b", "a", "c", "b", "a"]).tolist() == [0, 1, 0, 3, 1, 0]


def test_names_reach_the_label_file_and_stay(hume: Hume, done: Path) -> None:
    answer = hume("select", "--names", given({3: "cat", 0: " a  dog "}), "--per-class", "2", "--overwrite", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["names"]["renamed"] == 2
    classes = pd.read_csv(RUN / "classes.csv")
    assert classes["name"].tolist()[:4] == ["a dog", "class-01", "class-02", "cat"]
    labels = pd.read_csv(RUN / "selection/per-class-2/labels.csv")
    assert set(labels["class_name"][labels["label"] == 3]) == {"cat"}
    again = hume("select", "--names", "names.csv", "--per-class", "2")
    assert again.code == 0 and "no new name" in again.err + again.out


def test_two_classes_of_one_name_are_one(hume: Hume, done: Path) -> None:
    """Labels of both, agreement of the votes for either, and neighbours of either; other classes are as before."""
    run = RunFolder(RUN)
    before = load_found(run)
    answer = hume("select", "--names", given({2: "round", 5: "round"}), "--json")
    assert answer.code == 0, answer.err
    assert answer.json["merged"] == [[2, 5]]
    assert (RUN / "consensus.csv").read_bytes() == (done / "hume-run/consensus.csv").read_bytes()
    merged = load_named(run, nearby=True)
    both = np.isin(before.labels, (2, 5))
    assert (merged.labels[both] == 2).all() and (merged.labels[~both] == before.labels[~both]).all()
    assert (merged.agreement[both] >= before.agreement[both]).all()
    assert (merged.neighbour_agreement[both] >= before.neighbour_agreement[both]).all()
    for mine in (merged.agreement[~both] == before.agreement[~both],):
        assert mine.all()
    votes = stored_votes(run, before)
    item = int(np.flatnonzero(both)[7])
    said = [votes.matching[s][votes.labellings[s][item]] in (2, 5) for s in range(len(votes.weights))]
    assert merged.agreement[item] == pytest.approx(votes.weights[said].sum() / votes.weights.sum())


def test_a_merged_run_is_selected_trained_and_evaluated(hume: Hume, done: Path) -> None:
    answer = hume("select", "--names", given({2: "round", 5: "round"}), "--per-class", "3", "--json")
    assert answer.code == 0, answer.err
    labels = pd.read_csv(RUN / "selection/per-class-3/labels.csv")
    assert sorted(labels["label"].unique()) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert (labels.groupby("label").size() == 3).all()
    train = hume("train-fixmatch", "--steps", "4", "--set", "train.checkpoint_every=4", "--per-class", "3")
    assert train.code == 0, train.err
    assert "nothing teaches" not in train.err + train.out
    evaluated = hume("evaluate", "--truth", "truth.npy", "--json")
    assert evaluated.code == 0, evaluated.err
    assert 0 < evaluated.json["selection"]["accuracy"] <= 1
    assert evaluated.json["selection"]["n"] == 27
    # A label file from before the names is read by them too.
    old = hume("train-fixmatch", "--steps", "4", "--set", "train.checkpoint_every=4", "--per-class", "2", "--name", "b")
    assert old.code == 0, old.err
    assert "nothing teaches" not in old.err + old.out
    # Another name, and the class is one of its own again.
    assert hume("select", "--names", given({5: "five"}), "--per-class", "3", "--overwrite").code == 0
    assert 5 in set(pd.read_csv(RUN / "selection/per-class-3/labels.csv")["label"])


def test_names_and_answers_in_one_call(hume: Hume, done: Path) -> None:
    found = load_found(RunFolder(RUN))
    item = int(np.flatnonzero(found.train)[0])
    Path("answers.csv").write_text(f"index,filepath,label\n{item},,-1\n")
    call = ["select", "--names", given({1: "one"}), "--answers", "answers.csv", "--per-class", "2", "--overwrite"]
    answer = hume(*call, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["names"]["renamed"] == 1 and answer.json["answers"]["wrong"] == 1
    assert item not in set(pd.read_csv(RUN / "selection/per-class-2/labels.csv")["index"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("label,name\n0,a\n", "no column 'class'"),
        ("class,name\n0,a\n10,b\n", "row 2: 10 is no class from 0 to 9"),
        ("class,name\n-1,a\n", "row 1: -1 is no class"),
        ("class,name\nx,a\n", "row 1: x is no class"),
        ("class,name\n0,a\n0,b\n", "row 2: class 0 stands in row 1 too"),
        (f"class,name\n0,{'a' * 201}\n", "row 1: the name has 201 signs"),
        ('class,name\n0,"a\x07"\n', "has the sign"),
    ],
)
def test_what_cannot_be(hume: Hume, done: Path, text: str, told: str) -> None:
    """Exit code 2, one line, nothing written."""
    Path("names.csv").write_text(text)
    before = files_of(RUN)
    answer = hume("select", "--names", "names.csv", "--per-class", "2", "--overwrite")
    assert answer.code == 2
    assert told in answer.err and len(answer.err.strip().splitlines()) == 1
    assert files_of(RUN) == before


def test_nothing_is_named_where_the_selection_is_refused(hume: Hume, done: Path) -> None:
    before = files_of(RUN)
    answer = hume("select", "--names", given({0: "zero"}), "--per-class", "4000", "--overwrite")
    assert answer.code == 2
    assert files_of(RUN) == before


def test_other_commands_take_names_too(hume: Hume, done: Path) -> None:
    answer = hume("export", "--to", "csv", "--names", given({1: "one"}), "--json")
    assert answer.code == 0, answer.err
    table = pd.read_csv(RUN / "export/csv/labels.csv")
    assert set(table["class_name"][table["label"] == 1]) == {"one"}
    answer = hume("assign", "--images", "digits.npy", "--names", given({2: "two"}), "--json")
    assert answer.code == 0, answer.err
    table = pd.read_csv(answer.json["path"])
    assert set(table["class_name"][table["label"] == 2]) == {"two"}
    answer = hume("train-fixmatch", "--steps", "4", "--set", "train.checkpoint_every=4", "--names", given({3: "three"}),
                  "--name", "named")  # fmt: skip
    assert answer.code == 0, answer.err
    assert "three" in set(pd.read_csv(RUN / "train/named/predictions.csv")["class_name"])
    for command in (["export", "--to", "csv", "--overwrite"], ["assign", "--images", "digits.npy"], ["train-fixmatch"]):
        before = files_of(RUN)
        answer = hume(*command, "--names", given({11: "x"}))
        assert answer.code == 2 and "11 is no class" in answer.err and files_of(RUN) == before
