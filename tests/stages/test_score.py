"""`score`: a labelling of the user's, end to end on a small run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.test_bad_input import refused
from tests.conftest import Hume, files_of


def test_a_search_of_the_run_gets_its_own_figures(hume: Hume, done: Path) -> None:
    """Its soft labels were measured, ours are hard: the objective is close, the generalization score the same."""
    table = pd.read_csv("hume-run/searches/searches.csv")
    labellings = np.load("hume-run/searches/labellings.npy")
    before = files_of(done)
    for search, row in table.iterrows():
        np.save("mine.npy", labellings[search])
        facts = hume("score", "--labels", "mine.npy", "--json").json
        (done / "mine.npy").unlink()
        assert facts["generalization_score"] == pytest.approx(row["generalization_score"], abs=0.008)
        assert facts["objective"] == pytest.approx(row["objective"], rel=0.1)
        assert facts["rank"]["searches"] == 4
    assert files_of(done) == before


def test_the_truth_beats_labels_at_random(hume: Hume, done: Path) -> None:
    np.save("random.npy", np.random.default_rng(0).integers(0, 10, 400))
    facts = hume("score", "--labels", "truth.npy", "--json").json
    random = hume("score", "--labels", "random.npy", "--json").json
    train = (pd.read_csv("hume-run/items.csv")["split"] == "train").to_numpy()
    assert set(facts) == {
        "labels", "n", "classes", "objective", "generalization_score", "rank", "agreement_with_consensus",
    }  # fmt: skip
    assert (facts["labels"], facts["n"], facts["classes"]) == ("truth.npy", train.sum(), 10)
    assert facts["objective"] < random["objective"]
    assert facts["generalization_score"] > 0.8 > 0.3 > random["generalization_score"]
    assert random["rank"] == {"objective": 5, "generalization_score": 5, "searches": 4}
    assert random["agreement_with_consensus"]["ari"] < 0.1 < facts["agreement_with_consensus"]["ari"]
    lines = hume("score", "--labels", "random.npy").out
    assert "rank 5 of 4" in lines and "random.npy" in lines


def test_the_consensus_agrees_with_itself_whatever_its_ids(hume: Hume, done: Path) -> None:
    labels = pd.read_csv("hume-run/consensus.csv")["label"].to_numpy()
    np.save("mine.npy", 7 - labels)
    facts = hume("score", "--labels", "mine.npy", "--json").json
    assert facts["agreement_with_consensus"] == {"acc": 1, "ari": 1}


def test_items_without_a_label_are_left_out_and_classes_are_its_own(hume: Hume, done: Path) -> None:
    truth = np.load("truth.npy")
    np.save("mine.npy", np.where(truth < 3, truth + 40, -1))
    answer = hume("score", "--labels", "mine.npy")
    assert answer.code == 0, answer.err
    assert "without a label are left out" in answer.out and "fewer are easier" in answer.out
    facts = hume("score", "--labels", "mine.npy", "--json").json
    train = (pd.read_csv("hume-run/items.csv")["split"] == "train").to_numpy()
    assert (facts["n"], facts["classes"]) == (np.count_nonzero(train & (truth < 3)), 3)


def test_labels_that_cannot_be_scored(hume: Hume, done: Path) -> None:
    np.save("short.npy", np.zeros(399, dtype=np.int64))
    np.save("one.npy", np.full(400, 3))
    refused(hume, done, "score", "--labels", "short.npy", says=("short.npy", "399", "400"))
    refused(hume, done, "score", "--labels", "one.npy", says=("one.npy", "1 classes", "two or more"))
    refused(hume, done, "score", "--labels", "absent.npy", says=("absent.npy",))
    refused(hume, done, "score", "--labels", "truth.npy", "--run", "other", says=("other", "discover"))
