"""`select`: what stands in labels.csv, checked against consensus.csv."""

import json
from pathlib import Path

import pandas as pd

from tests.conftest import Hume

COLUMNS = ["index", "filepath", "label", "class_name", "agreement", "neighbour_agreement", "rank", "reason"]


def test_the_label_file_holds_the_most_certain_reliable_train_items(done: Path) -> None:
    labels = pd.read_csv("hume-run/selection/per-class-2/labels.csv")
    consensus = pd.read_csv("hume-run/consensus.csv")
    assert list(labels) == COLUMNS
    rows = consensus.loc[labels["index"]]
    assert (rows["split"] == "train").all() and rows["reliable"].all()
    assert (rows["label"].to_numpy() == labels["label"]).all()
    assert (labels[["agreement", "neighbour_agreement"]] > 0.5).all(axis=None)
    assert labels["class_name"].tolist() == [f"class-{label:02d}" for label in labels["label"]]
    assert labels["rank"].tolist() == [1, 2] * 10
    candidates = consensus[consensus["reliable"] & (consensus["split"] == "train")]
    weaker = candidates[["agreement", "neighbour_agreement"]].min(axis=1)
    for label, picked in labels.groupby("label"):
        best = weaker[candidates["label"] == label].nlargest(2)
        assert sorted(picked[["agreement", "neighbour_agreement"]].min(axis=1), reverse=True) == best.tolist()


def test_allow_short_takes_what_there_is(hume: Hume, done: Path) -> None:
    answer = hume("select", "--per-class", "300", "--allow-short", "--json")
    assert answer.code == 0
    consensus = pd.read_csv("hume-run/consensus.csv").query("reliable and split == 'train'")
    assert answer.json["class_counts"] == consensus["label"].value_counts().reindex(range(10)).tolist()
    assert answer.json["n"] == len(consensus) == len(pd.read_csv("hume-run/selection/per-class-300/labels.csv"))
    assert "10 classes have fewer than 300" in answer.err


def test_the_record_has_hashes_of_what_was_written(done: Path) -> None:
    from hume_ssl.run import sha256_file

    stages = json.loads(Path("hume-run/run.json").read_text())["stages"]
    assert set(stages) == {"discover", "selection/per-class-2", "train/fixmatch-per-class-2"}
    for record in stages.values():
        assert record["status"] == "finished"
        assert record["artefacts"]
        for name, digest in record["artefacts"].items():
            assert sha256_file(Path("hume-run") / name) == digest


def test_how_many_train_items_have_which_agreement_is_said(hume: Hume, done: Path) -> None:
    """Four searches: agreement is a quarter of 1 to 4, so that only four of the seven bins can hold items."""
    train = pd.read_csv("hume-run/consensus.csv").query("split == 'train'")
    for answer in (hume("select", "--per-class", "2", "--json"), hume("select", "--per-class", "1", "--json")):
        bins = answer.json["agreement_bins"]
        assert [(row["from"], row["to"]) for row in bins][::6] == [(0, 0.5), (1, 1)]
        assert bins[0]["n"] == (train["agreement"] <= 0.5).sum() and bins[6]["n"] == (train["agreement"] == 1).sum()
        assert bins[3]["n"] == (train["agreement"] == 0.75).sum() and sum(row["n"] for row in bins) == len(train)
        lines = answer.err.splitlines()
        searches = next(line for line in lines if line.startswith("searches"))
        assert [int(word) for word in searches.split()[1:]] == [row["n"] for row in bins]
        assert any(line.startswith("weaker of both") for line in lines)
