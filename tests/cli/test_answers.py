"""What the commands print and leave: --json, --dry-run, status, recipes, paths, names of classes, warnings."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hume_ssl import __version__
from hume_ssl.config import load_recipe
from tests.conftest import DISCOVER, SELECT, TRAIN, Hume, artefacts_of, files_of


def test_version_and_help(hume: Hume) -> None:
    assert hume("--version").out == f"hume-ssl {__version__}\n"
    answer = hume("--help")
    assert answer.code == 0
    for command in ("discover", "select", "train-fixmatch", "evaluate", "status", "recipes"):
        assert command in answer.out


def test_the_first_line_says_that_digits_is_run(hume: Hume, bare: Path) -> None:
    assert "recipe digits" in hume("discover", "--dry-run").out.splitlines()[0]
    images = hume("discover", "--dry-run", "--set", "data.images=digits.npy", "--classes", "10")
    assert "recipe digits" not in images.out
    assert 'name = "images"' in images.out


@pytest.mark.parametrize("command", [DISCOVER, SELECT, TRAIN, ["status"], ["evaluate", "--truth", "truth.npy"]])
def test_json_is_one_object_alone_on_stdout(hume: Hume, done: Path, command: list[str]) -> None:
    again = ["--overwrite"] if command in (DISCOVER, SELECT, TRAIN) else []
    facts = hume(*command, *again, "--json")
    assert facts.code == 0, facts.err
    assert isinstance(facts.json, dict)
    assert len(facts.out.splitlines()) == 1
    assert facts.err


def test_json_says_the_same_of_a_finished_stage(hume: Hume, done: Path) -> None:
    for command in (DISCOVER, SELECT):
        first, second = hume(*command, "--overwrite", "--json").json, hume(*command, "--json").json
        assert {**first, "seconds": 0} == {**second, "seconds": 0}


@pytest.mark.parametrize("command", [DISCOVER, [*TRAIN, "--name", "new"]])
def test_a_dry_run_writes_nothing_and_prints_the_recipe(
    hume: Hume, done: Path, tmp_path_factory: pytest.TempPathFactory, command: list[str]
) -> None:
    before = files_of(done)
    plan, _, recipe = hume(*command, "--dry-run").out.partition("\n")
    assert plan.startswith("# would ")
    path = tmp_path_factory.mktemp("recipe") / "mine.toml"
    path.write_text(recipe)
    facts = hume(*command, "--dry-run", "--json").json
    assert load_recipe(str(path), "discover" if command is DISCOVER else "train").model_dump(mode="json") == {
        **facts["recipe"]
    }
    assert facts["dry_run"] == ("finished" if command is DISCOVER else "start")
    assert files_of(done) == before
    shutil.rmtree(done / "hume-run")
    assert hume(*DISCOVER, "--dry-run", "--json").json["dry_run"] == "start"
    assert not (done / "hume-run").exists()


def test_the_stored_recipe_repeats_the_run_from_another_folder(
    hume: Hume, done: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert hume("discover", "--recipe", str(done / "hume-run/recipe.toml"), "--run", "again").code == 0
    first = {name: data for name, data in artefacts_of(done / "hume-run").items() if "/per-class" not in name}
    first = {name: data for name, data in first.items() if not name.startswith("train/")}
    # The name of a recipe is that of its file, where the file gives none; ours gives it.
    assert artefacts_of(elsewhere / "again") == first


def test_relative_and_absolute_paths_are_one_run(hume: Hume, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (done / "deeper").mkdir()
    monkeypatch.chdir(done / "deeper")
    command = ["../digits.npy" if word == "digits.npy" else word for word in DISCOVER]
    assert "finished" in hume(*command, "--run", "../hume-run").out
    assert "finished" in hume(*command, "--run", str(done / "hume-run")).out
    assert hume(*SELECT, "--run", "../hume-run").out.endswith("--run ../hume-run\n")
    assert os.listdir() == []


def test_hand_given_names_come_to_the_label_file(hume: Hume, done: Path) -> None:
    path = done / "hume-run/classes.csv"
    path.write_text(path.read_text().replace("class-03", '"three, or é"'))
    assert "names" in hume(*SELECT).err  # another label file than the one that is there
    assert hume(*SELECT, "--overwrite").code == 0
    labels = pd.read_csv(done / "hume-run/selection/per-class-2/labels.csv")
    assert set(labels.loc[labels["label"] == 3, "class_name"]) == {"three, or é"}
    assert hume(*TRAIN, "--overwrite").code == 0
    predictions = pd.read_csv(done / "hume-run/train/fixmatch-per-class-2/predictions.csv")
    assert set(predictions.loc[predictions["label"] == 3, "class_name"]) <= {"three, or é"}


def test_class_ids_and_names_stay_when_the_consensus_changes(hume: Hume, done: Path) -> None:
    classes = done / "hume-run/classes.csv"
    classes.write_text(classes.read_text().replace("class-03", "three"))
    before = pd.read_csv(done / "hume-run/consensus.csv")["label"]
    answer = hume(*DISCOVER, "--searches", "7", "--resume")
    after = pd.read_csv(done / "hume-run/consensus.csv")["label"]
    assert not before.equals(after)
    table = pd.crosstab(before, after).to_numpy()
    assert (table.argmax(1) == np.arange(10)).sum() >= 8  # searches of seven name their classes by chance
    assert "three" in classes.read_text()
    assert "selection/per-class-2" in answer.out
    shown = hume("status").out
    assert shown.count("stale: the consensus has changed since") == 2
    assert shown.endswith("next: hume-ssl select --per-class 2 --overwrite\n")


def test_nothing_is_stale_where_the_consensus_comes_out_the_same(hume: Hume, done: Path) -> None:
    assert hume(*DISCOVER, "--seed", "3", "--overwrite").code == 0
    assert "stale" in hume("status").out
    assert hume(*DISCOVER, "--overwrite").code == 0  # ids are those of the run between, so perhaps not the same bytes
    made_from = json.loads((done / "hume-run/run.json").read_text())["stages"]["selection/per-class-2"]["identity"]
    digest = json.loads((done / "hume-run/run.json").read_text())["stages"]["discover"]["artefacts"]["consensus.csv"]
    assert ("stale" in hume("status").out) == (digest != made_from["consensus"])


def test_repeating_a_run_leaves_its_selection_as_good_as_before(hume: Hume, done: Path) -> None:
    before = artefacts_of(done / "hume-run")
    assert "stale" not in hume(*DISCOVER, "--overwrite").out
    assert {**artefacts_of(done / "hume-run"), "recipe.toml": b""} == {**before, "recipe.toml": b""}
    assert hume(*SELECT).code == 0
    assert "stale" not in hume("status").out


def test_other_images_do_not_inherit_names(hume: Hume, done: Path) -> None:
    classes = done / "hume-run/classes.csv"
    classes.write_text(classes.read_text().replace("class-03", "three"))
    np.save(done / "digits.npy", np.load(done / "digits.npy")[:300])
    assert hume(*DISCOVER, "--overwrite").code == 0
    assert "class-03" in classes.read_text()
    # What was made from the other images is passed over, and refused by name.
    np.save(done / "truth.npy", np.load(done / "truth.npy")[:300])
    figures = hume("evaluate", "--truth", "truth.npy", "--json").json
    assert "selection" not in figures and "train" not in figures
    for named in (["--per-class", "2"], ["--name", "fixmatch-per-class-2"]):
        answer = hume("evaluate", "--truth", "truth.npy", *named)
        assert answer.code == 2
        assert "older consensus" in answer.err


def test_predictions_changed_by_hand_are_not_evaluated(hume: Hume, done: Path) -> None:
    path = done / "hume-run/train/fixmatch-per-class-2/predictions.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    answer = hume("evaluate", "--truth", "truth.npy")
    assert answer.code == 2
    assert "predictions.csv" in answer.err


def test_status_says_how_to_go_on(hume: Hume, done: Path, bare: Path) -> None:
    assert hume("status").out.endswith("next: hume-ssl evaluate --truth FILE\n")
    run = done / "hume-run/run.json"
    record = json.loads(run.read_text())
    record["stages"]["discover"]["status"] = "unfinished"
    run.write_text(json.dumps(record))
    last = hume("status").out.splitlines()[-1]
    assert last == "next: hume-ssl discover --recipe hume-run/recipe.toml --resume"
    answer = hume(*last.removeprefix("next: hume-ssl ").split())
    assert answer.code == 0, answer.err
    assert answer.out.startswith("4 searches")


def test_an_unfinished_run_goes_on_to_the_searches_it_was_to_have(hume: Hume, done: Path) -> None:
    run = done / "hume-run/run.json"
    record = json.loads(run.read_text())
    record["stages"]["discover"]["status"] = "unfinished"
    run.write_text(json.dumps(record))
    at = DISCOVER.index("--searches")
    assert hume(*DISCOVER[:at], *DISCOVER[at + 2 :], "--resume").out.startswith("4 searches")


def test_set_reaches_the_number_of_searches_too(hume: Hume, done: Path) -> None:
    at = DISCOVER.index("--searches")
    without = [*DISCOVER[:at], *DISCOVER[at + 2 :]]
    answer = hume(*without, "--set", "search.searches=6", "--resume", "--json")
    assert answer.json["searches"] == 6


def test_one_encoder_gives_one_warning(hume: Hume, bare: Path) -> None:
    few = ["--classes", "10", "--searches", "2", "--set", "search.iterations=4"]
    answer = hume("discover", "--images", "digits.npy", "--encoder", "kernel:rbf?dim=32", *few)
    assert (answer.out + answer.err).count("serves as labeller and as judge") == 1
    assert answer.code == 0
    both = hume("discover", "--images", "digits.npy", *few, "--run", "both")
    assert "warning" not in both.out + both.err


def test_recipes_through_the_whole_app(hume: Hume, bare: Path) -> None:
    assert "digits" in hume("recipes", "ls").out
    assert hume("recipes", "cp", "fixmatch", "mine.toml").code == 0
    assert "[train]" in (bare / "mine.toml").read_text()
    assert hume("recipes", "show", "digits").out.startswith('name = "digits"')
