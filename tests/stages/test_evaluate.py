"""`evaluate --json`: every key of the contract, NaN as null, absent stages absent, any truth."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hume_ssl.metrics import match_classes
from hume_ssl.run import RunFolder, sha256_file
from tests.conftest import Hume

CONSENSUS = {"acc", "ari", "nmi", "test_acc"}


def evaluate(hume: Hume, truth: Path | str, *arguments: str) -> Any:
    answer = hume("evaluate", "--truth", str(truth), "--json", *arguments)
    assert answer.code == 0, answer.err
    return json.loads(answer.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_keys_and_ranges(hume: Hume, done: Path) -> None:
    figures = evaluate(hume, "truth.npy")
    assert {key: set(value) for key, value in figures.items()} == {
        "consensus": CONSENSUS,
        "searches": {"acc", "objective", "generalization_score"},
        "best_search": {"acc"},
        "calibration": {"agreement", "neighbour_agreement", "weaker"},
        "selection": {"path", "n", "correct", "accuracy", "per_class"},
        "train": {"name", "acc", "test_acc", "last_evaluations"},
        "baselines": {"kmeans", "linear_probe"},
        "objective_correlation": {"rho", "p"},
    }
    assert all(set(value) == {"acc"} and 0 <= value["acc"] <= 1 for value in figures["baselines"].values())
    assert all(0 <= value <= 1 for value in figures["consensus"].values())
    assert [len(values) for values in figures["searches"].values()] == [4, 4, 4]
    assert figures["best_search"]["acc"] in figures["searches"]["acc"]
    selection = figures["selection"]
    assert selection["path"] == "hume-run/selection/per-class-2/labels.csv"
    assert (selection["n"], len(selection["per_class"])) == (20, 10)
    assert sum(selection["per_class"]) == selection["correct"] == round(20 * selection["accuracy"])
    assert figures["train"]["name"] == "fixmatch-per-class-2"
    assert figures == json.loads((done / "hume-run/evaluation.json").read_text())


def test_figures_follow_from_the_files(hume: Hume, done: Path) -> None:
    """Recomputed from the CSV files alone, with the matching made on train items by scipy."""
    figures = evaluate(hume, "truth.npy")
    truth, table = np.load("truth.npy"), pd.read_csv("hume-run/consensus.csv")
    train = (table["split"] == "train").to_numpy()
    from scipy.optimize import linear_sum_assignment

    counts = pd.crosstab(table["label"][train], truth[train]).reindex(index=range(10), columns=range(10), fill_value=0)
    mapping = linear_sum_assignment(counts.to_numpy(), maximize=True)[1]
    right = mapping[table["label"]] == truth
    assert figures["consensus"]["acc"] == pytest.approx(right[train].mean())
    assert figures["consensus"]["test_acc"] == pytest.approx(right[~train].mean())
    labels = pd.read_csv("hume-run/selection/per-class-2/labels.csv")
    assert figures["selection"]["correct"] == (mapping[labels["label"]] == truth[labels["index"]]).sum()
    predictions = mapping[pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")["label"]] == truth
    assert figures["train"]["acc"] == pytest.approx(predictions[train].mean())
    assert figures["train"]["test_acc"] == pytest.approx(predictions[~train].mean())


def test_stages_that_were_not_run_are_absent(hume: Hume, done: Path) -> None:
    shutil.rmtree("hume-run/train")
    shutil.rmtree("hume-run/selection")
    record = json.loads(Path("hume-run/run.json").read_text())
    record["stages"] = {"discover": record["stages"]["discover"]}
    Path("hume-run/run.json").write_text(json.dumps(record))
    figures = evaluate(hume, "truth.npy")
    assert set(figures) == {"consensus", "searches", "best_search", "calibration", "baselines", "objective_correlation"}


def test_unknown_truth_is_left_out_and_no_known_item_is_null(hume: Hume, done: Path) -> None:
    truth, whole = np.load("truth.npy"), evaluate(hume, "truth.npy")
    picked = pd.read_csv("hume-run/selection/per-class-2/labels.csv")["index"].to_numpy()
    truth[picked] = -1
    np.save("some.npy", truth)
    figures = evaluate(hume, "some.npy")
    assert figures["selection"]["n"] == 0
    assert figures["selection"]["accuracy"] is None
    assert figures["selection"]["per_class"] == [0] * 10
    assert figures["consensus"]["acc"] != whole["consensus"]["acc"]
    test = (pd.read_csv("hume-run/items.csv")["split"] == "test").to_numpy()
    truth[test] = -1
    np.save("none-of-test.npy", truth)
    figures = evaluate(hume, "none-of-test.npy")
    assert "test_acc" not in figures["consensus"]
    assert "test_acc" not in figures["train"]
    assert "linear_probe" in figures["baselines"]  # then by cross-validation


@pytest.mark.parametrize("classes", [2, 20])
def test_truth_with_another_number_of_classes(hume: Hume, done: Path, classes: int) -> None:
    truth = np.load("truth.npy")
    other = truth % 2 if classes == 2 else truth + 10 * (np.arange(400) % 2)
    np.save("other.npy", other)
    figures = evaluate(hume, "other.npy")
    assert 0 < figures["consensus"]["acc"] < evaluate(hume, "truth.npy")["consensus"]["acc"]
    assert len(figures["selection"]["per_class"]) == 10  # in label order


def test_the_names_of_true_classes_do_not_matter(hume: Hume, done: Path) -> None:
    words = np.array([f"digit {label}" for label in np.load("truth.npy")])
    np.save("words.npy", words)
    pd.DataFrame({"label": words}).to_csv("words.csv", index=False)
    assert evaluate(hume, "words.npy") == evaluate(hume, "truth.npy") == evaluate(hume, "words.csv")


def test_the_selection_and_training_that_are_named(hume: Hume, done: Path) -> None:
    assert hume("select", "--per-class", "1").code == 0
    assert evaluate(hume, "truth.npy")["selection"]["n"] == 10  # the latest
    assert evaluate(hume, "truth.npy", "--per-class", "2")["selection"]["n"] == 20
    assert hume("train-fixmatch", "--steps", "2", "--name", "short").code == 0
    assert evaluate(hume, "truth.npy")["train"]["name"] == "short"
    assert evaluate(hume, "truth.npy", "--name", "fixmatch-per-class-2")["train"]["name"] == "fixmatch-per-class-2"


def test_the_curve(hume: Hume, done: Path) -> None:
    curve = evaluate(hume, "truth.npy", "--per-class-curve")["per_class_curve"]
    assert list(curve) == ["1", "4", "15", "25", "100", "400"]
    assert curve["1"]["n"] == 10
    reliable = pd.read_csv("hume-run/consensus.csv").query("reliable and split == 'train'")
    assert curve["400"]["n"] == len(reliable)  # short classes give what they have
    assert all(set(row) == {"n", "correct", "accuracy", "short"} for row in curve.values())
    sizes = reliable["label"].value_counts().reindex(range(10), fill_value=0)
    assert [row["short"] for row in curve.values()] == [(sizes < int(wanted)).sum() for wanted in curve]
    said = hume("evaluate", "--truth", "truth.npy", "--per-class-curve").out
    assert "10 classes have fewer" in next(line for line in said.splitlines() if line.startswith(" 400 a class"))


def test_the_curve_where_nothing_is_reliable(hume: Hume, done: Path) -> None:
    table = pd.read_csv("hume-run/consensus.csv")
    table["agreement"] = 0.5
    table.to_csv("hume-run/consensus.csv", index=False)
    record = json.loads(Path("hume-run/run.json").read_text())
    record["stages"]["discover"]["artefacts"]["consensus.csv"] = sha256_file(Path("hume-run/consensus.csv"))
    Path("hume-run/run.json").write_text(json.dumps(record))
    curve = evaluate(hume, "truth.npy", "--per-class-curve")["per_class_curve"]
    assert curve["4"] == {"n": 0, "correct": 0, "accuracy": None, "short": 10}


def test_calibration_follows_from_the_files(hume: Hume, done: Path) -> None:
    """Counted again by pandas from consensus.csv, with unknown truth left out; the matching from the accuracy."""
    truth = np.load("truth.npy")
    truth[::7] = -1
    np.save("some.npy", truth)
    figures = evaluate(hume, "some.npy")
    table = pd.read_csv("hume-run/consensus.csv")
    known = (table["split"] == "train") & (truth >= 0)
    table, truth = table[known], truth[known]
    table["weaker"] = table[["agreement", "neighbour_agreement"]].min(axis=1)
    table["right"] = match_classes(table["label"].to_numpy(), truth, 10)[table["label"]] == truth
    for name, value in figures["calibration"].items():
        gaps = 0.0
        for row in value["bins"]:
            low, high, shares = row["from"], row["to"], table[name]
            some = shares == 1 if low == 1 else (shares > low) & (shares <= high) & (shares < 1)
            inside = table[some | (shares == 0) if low == 0 else some]
            assert (row["n"], row["right"]) == (len(inside), inside["right"].sum())
            if inside.empty:
                assert row["accuracy"] is None and row["mean_agreement"] is None
                continue
            assert row["accuracy"] == pytest.approx(inside["right"].mean())
            assert row["mean_agreement"] == pytest.approx(inside[name].mean())
            gaps += len(inside) * abs(inside["right"].mean() - inside[name].mean())
        assert sum(row["n"] for row in value["bins"]) == len(table)
        assert sum(row["right"] for row in value["bins"]) == round(figures["consensus"]["acc"] * len(table))
        assert value["ece"] == pytest.approx(gaps / len(table))


def test_the_picture_is_an_artefact_and_the_same_each_time(hume: Hume, done: Path) -> None:
    evaluate(hume, "truth.npy")
    path = done / "hume-run/reliability.svg"
    first = path.read_bytes()
    record = json.loads((done / "hume-run/run.json").read_text())["stages"]["evaluate"]
    assert set(record["artefacts"]) == {"evaluation.json", "reliability.svg"}
    answer = hume("evaluate", "--truth", "truth.npy")
    assert path.read_bytes() == first and "reliability.svg" in answer.out
    RunFolder(done / "hume-run").remove_stage("evaluate")
    assert not path.exists() and not (done / "hume-run/evaluation.json").exists()
