"""`select`: what stands in labels.csv, checked against consensus.csv."""

import json
from pathlib import Path

import pandas as pd

from tests.conftest import Hume, files_of

COLUMNS = ["index", "filepath", "label", "class_name", "agreement", "neighbour_agreement", "rank", "reason"]


def test_the_label_file_holds_reliable_train_items(done: Path) -> None:
    labels = pd.read_csv("hume-run/selection/per-class-2/labels.csv")
    consensus = pd.read_csv("hume-run/consensus.csv")
    assert list(labels) == COLUMNS
    rows = consensus.loc[labels["index"]]
    assert (rows["split"] == "train").all() and rows["reliable"].all()
    assert (rows["label"].to_numpy() == labels["label"]).all()
    assert (labels[["agreement", "neighbour_agreement"]] > 0.5).all(axis=None)
    assert labels["class_name"].tolist() == [f"class-{label:02d}" for label in labels["label"]]
    assert labels["rank"].tolist() == [1, 2] * 10
    assert labels["reason"].str.contains(r"of \d+ by certainty: .* of searches and .* of neighbours agree$").all()


def test_another_strategy_asks_for_overwrite(hume: Hume, done: Path) -> None:
    """The strategy is part of what a selection is; each says how it picked, and the Python API picks the same."""
    from hume_ssl.consensus import DEFAULT_STRATEGY, pick
    from hume_ssl.run import RunFolder
    from hume_ssl.stages.table import every_space, load_found

    file, before = Path("hume-run/selection/per-class-2/labels.csv"), files_of(done / "hume-run")
    assert hume("select", "--per-class", "2", "--strategy", DEFAULT_STRATEGY).code == 0
    found, spaces = load_found(RunFolder(Path("hume-run"))), every_space(RunFolder(Path("hume-run")))
    for strategy in {"certain", "cover", "random"} - {DEFAULT_STRATEGY}:
        refused = hume("select", "--per-class", "2", "--strategy", strategy)
        assert refused.code == 2 and "strategy" in refused.err and "--overwrite" in refused.err
        assert files_of(done / "hume-run") == before
        answer = hume("select", "--per-class", "2", "--strategy", strategy, "--overwrite", "--json")
        assert answer.code == 0 and answer.json["strategy"] == strategy
        before = files_of(done / "hume-run")
        shares = (found.labels, found.agreement, found.neighbour_agreement, found.train)
        picked = pick(*shares, 2, 10, strategy=strategy, spaces=spaces)
        assert pd.read_csv(file)["index"].tolist() == picked.index.tolist()
        assert pd.read_csv(file)["reason"].tolist() == picked.reason


def test_spaces_that_are_gone_are_told(hume: Hume, done: Path) -> None:
    Path("hume-run/spaces/spaces.json").unlink()
    answer = hume("select", "--per-class", "3")
    assert answer.code == 2 and "spaces.json is gone" in answer.err
    assert not Path("hume-run/selection/per-class-3").exists()


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
    kernels = {name for name in stages if name.startswith("spaces/kernel-rbf-")}
    assert len(kernels) == 2
    assert stages.keys() - kernels == {"discover", "selection/per-class-2", "train/fixmatch-per-class-2"}
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
