"""`--set search.objective=turtle` through the command line and the API: with judges alone, on real features."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hume_ssl
from hume_ssl.config import PRESETS, identity, load_recipe, override
from hume_ssl.errors import InputError
from hume_ssl.schema import TURTLE, SearchConfig
from tests.conftest import Hume, artefacts_of

N = 400
TURTLE_FLAG = ["--set", "search.objective=turtle"]
SMALL = shlex.split("--classes 10 --searches 2 --set search.iterations=15 --set search.batch=2")


@pytest.fixture
def spaces(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new working folder with both spaces of the first 400 items of cifar10-dev, and their truth."""
    file = shared / "cifar10-dev.npz"
    if not file.is_file():
        pytest.skip("no cifar10-dev.npz")
    with np.load(file, allow_pickle=False) as data:
        for name in ("mobilenetv2", "resnet50s3", "truth"):
            np.save(tmp_path / f"{name}.npy", data[name][:N])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_judges_alone_are_enough_from_discover_to_evaluate(spaces: Path, hume: Hume) -> None:
    judges = ["--judge", "mobilenetv2.npy", "--judge", "resnet50s3.npy"]
    answer = hume("discover", *judges, *SMALL, *TURTLE_FLAG, "--split", "0.2", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["searches"] == 2 and answer.json["train_items"] == 320
    run = spaces / "hume-run"
    assert sorted(path.name for path in (run / "spaces").iterdir()) == ["judge-2.npy", "judge.npy", "spaces.json"]
    assert hume("select", "--per-class", "2", "--allow-short").code == 0
    figures = hume("evaluate", "--truth", "truth.npy", "--json").json
    assert 0.2 < figures["consensus"]["acc"] <= 1 and "test_acc" in figures["consensus"]
    assert {"kmeans", "linear_probe"} == set(figures["baselines"])
    assert hume("discover", *judges, *SMALL, *TURTLE_FLAG, "--split", "0.2").code == 0  # the same run: finished
    np.save("mine.npy", np.load(run / "searches" / "labellings.npy")[0])
    scored = hume("score", "--labels", "mine.npy", "--json").json
    table = pd.read_csv(run / "searches" / "searches.csv")  # in both judges, as the run's own
    assert scored["generalization_score"] == pytest.approx(table["generalization_score"][0], abs=0.01)
    np.save("random.npy", np.random.default_rng(0).integers(0, 10, N))
    assert scored["objective"] < hume("score", "--labels", "random.npy", "--json").json["objective"]
    other = hume("discover", *judges, *SMALL, *TURTLE_FLAG, "--split", "0.2", "--set", "search.inner_lr=0.5")
    assert other.code == 2 and "search.inner_lr" in other.err

    # More searches later are the same as all at once; the new columns of old searches too.
    assert hume("discover", *judges, *SMALL, *TURTLE_FLAG, "--split", "0.2", "--searches", "3", "--resume").code == 0
    at_once = hume("discover", *judges, *SMALL, *TURTLE_FLAG, "--split", "0.2", "--searches", "3", "--run", "other")
    assert at_once.code == 0, at_once.err
    resumed, whole = artefacts_of(run), artefacts_of(spaces / "other")
    for name in ("searches/labellings.npy", "searches/searches.csv", "searches/encoders.safetensors"):
        assert resumed[name] == whole[name], name


def test_the_encoders_stored_label_the_test_items_and_new_ones(spaces: Path) -> None:
    arrays = [np.load(spaces / f"{name}.npy") for name in ("mobilenetv2", "resnet50s3")]
    settings: dict[str, object] = {"search.objective": "turtle", "search.iterations": 20, "search.batch": 2}
    train = np.arange(N) % 4 != 0
    found = hume_ssl.discover(judges=arrays, classes=10, searches=2, train=train, settings=settings)
    labels, agreement = hume_ssl.assign(found, arrays)
    assert np.array_equal(labels[~train], found.labels[~train]) and agreement.shape == (N,)
    with pytest.raises(InputError, match=r"2 space.*256, 256"):
        hume_ssl.assign(found, arrays[0])
    with pytest.raises(InputError, match="rows"):
        hume_ssl.assign(found, [arrays[0], arrays[1][:5]])
    three = hume_ssl.discover(
        labeller=arrays[0][:, :99].copy(), judges=arrays, classes=10, searches=2, train=train, settings=settings
    )
    assert three.searches.widths == [99, 256, 256]  # a labeller is one more space


def test_hume_still_asks_for_a_labeller_and_names_the_way_out(spaces: Path, hume: Hume) -> None:
    answer = hume("discover", "--judge", "mobilenetv2.npy", *SMALL)
    assert answer.code == 2 and "--labeller" in answer.err and "search.objective=turtle" in answer.err
    assert not (spaces / "hume-run").exists()


def test_the_closed_form_is_refused_before_anything_is_written(spaces: Path, hume: Hume) -> None:
    answer = hume("discover", "--judge", "mobilenetv2.npy", *SMALL, *TURTLE_FLAG, "--set", "search.inner_steps=0")
    assert answer.code == 2 and "search.inner_steps" in answer.err
    assert not (spaces / "hume-run").exists()


def test_no_space_at_all_is_refused(spaces: Path, hume: Hume) -> None:
    answer = hume("discover", "--recipe", "images", *SMALL, *TURTLE_FLAG)
    assert answer.code == 2 and "--judge" in answer.err
    with pytest.raises(InputError, match="judges"):
        hume_ssl.discover(classes=3, settings={"search.objective": "turtle"})


def test_more_classes_than_a_space_is_wide_are_no_matter(spaces: Path) -> None:
    narrow = np.load("mobilenetv2.npy")[:, :4]
    settings: dict[str, object] = {"search.objective": "turtle", "search.iterations": 5, "search.batch": 1}
    assert hume_ssl.discover(judges=[narrow], classes=6, searches=1, settings=settings).classes == 6


def test_open_keys_take_the_published_values_of_turtle() -> None:
    """The defaults of the published code: T 6000, M 10, both learning rates 0.001, gamma 10, batches of 10,000."""
    paper = SearchConfig(objective="turtle", preset="paper").settings()
    assert (paper.iterations, paper.inner_steps, paper.subset_size) == (6000, 10, 10_000)
    assert (paper.outer_lr, paper.inner_lr, paper.entropy_weight) == (0.001, 0.001, 10.0)
    assert (paper.schedule, paper.random_init, paper.centre, paper.early_stop) == ("fixed", True, False, False)
    for preset, values in TURTLE.items():
        assert values.keys() <= PRESETS[preset].keys()
        SearchConfig.model_validate({"preset": preset, **values})
        assert SearchConfig(objective="turtle", preset=preset).settings().inner_steps > 0


def test_the_objective_is_part_of_a_run_and_replaces_what_the_other_wrote_out() -> None:
    hume = override(load_recipe("digits", "discover"), {"search.ridge": 0.7}).resolved()
    turtle = override(hume, {"search.objective": "turtle"}).resolved()
    assert turtle.search.iterations == TURTLE["fast"]["iterations"]
    assert turtle.search.inner_steps == TURTLE["fast"]["inner_steps"]
    assert turtle.search.ridge == 0.7  # accepted, without a part in it
    assert override(turtle, {"search.objective": "hume"}).resolved() == hume
    assert json.dumps(identity(hume, {})) != json.dumps(identity(turtle, {}))
    assert identity(turtle, {})["search.objective"] == "turtle"
