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
