"""`discover`: the files of the contract, and the kinds of input it takes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from hume_ssl.stages.outcome import warnings_of
from hume_ssl.tensor_files import read_safetensors
from tests.conftest import DISCOVER, Hume, artefacts_of

QUICK = ["--classes", "4", "--searches", "2", "--set", "search.iterations=4"]

SMALL = ["--encoder", "kernel:rbf?dim=32", "--encoder", "kernel:rbf?width=0.5&dim=48"]


def colour_images(folder: Path, n: int) -> None:
    """Files in folders, of three kinds, grey and colour, with names that are easily lost."""
    rng = np.random.default_rng(0)
    names = ["b/NA.png", "a/007.jpg", "a/x,y.webp", 'c/"q".png', "c/é.PNG", "z.jpeg"]
    names += [f"a/{i:03d}.png" for i in range(n - len(names))]
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (9, 12) if name.endswith("5.png") else (9, 12, 3)
        pixels = 60 * (i % 4) + rng.integers(0, 30, shape)  # four levels of brightness to find
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def test_the_files_of_the_contract(done: Path) -> None:
    run = Path("hume-run")
    consensus = pd.read_csv(run / "consensus.csv")
    assert list(consensus) == ["index", "filepath", "split", "label", "agreement", "neighbour_agreement", "reliable"]
    assert consensus["index"].tolist() == list(range(400))
    assert (consensus["split"] == "test").sum() == 80
    both = (consensus["agreement"] > 0.5) & (consensus["neighbour_agreement"] > 0.5)
    assert consensus["reliable"].equals(both)
    assert pd.read_csv(run / "items.csv").columns.tolist() == ["index", "filepath", "split"]
    assert pd.read_csv(run / "classes.csv").to_dict("list") == {
        "class": list(range(10)),
        "name": [f"class-{label:02d}" for label in range(10)],
    }
    searches = pd.read_csv(run / "searches/searches.csv")
    assert searches["seed"].tolist() == [0, 1, 2, 3]
    columns = ["seed", "objective", "generalization_score", "classes_found", "iterations", "stop_reason"]
    columns += ["stability", "weight", "left_out"]
    assert list(searches) == columns
    labellings = np.load(run / "searches/labellings.npy")
    assert (labellings.dtype, labellings.shape) == (np.int32, (4, 400))
    spaces = [np.load(run / f"spaces/{name}.npy") for name in ("labeller", "judge")]
    assert [space.shape for space in spaces] == [(400, 64), (400, 96)]
    assert set(json.loads((run / "spaces/spaces.json").read_text())) == {"labeller", "judge"}


def test_the_stored_encoders_give_the_stored_labellings(done: Path) -> None:
    """The largest of W (x - centre), in float64 and by the definition alone, test items too."""
    stored = load_file("hume-run/searches/encoders.safetensors")
    rows = np.load("hume-run/spaces/labeller.npy").astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labellings = np.load("hume-run/searches/labellings.npy")
    raw = np.load("hume-run/spaces/labeller.npy").astype(np.float64) - stored["centre"]
    agree = [((raw @ weights.T.astype(np.float64)).argmax(1) == found).mean() for weights, found in
             zip(stored["weights"], labellings, strict=True)]  # fmt: skip
    assert min(agree) > 0.99


def test_a_folder_and_a_list_of_the_same_images(hume: Hume, bare: Path) -> None:
    colour_images(bare / "pics", 40)
    assert hume("discover", "--images", "pics", *QUICK, "--neighbours", "5", "--run", "a").code == 0
    names = [str(path.relative_to(bare / "pics")) for path in (bare / "pics").rglob("*.*")]
    items = pd.read_csv("a/items.csv", keep_default_na=False, dtype=str)
    assert items["filepath"].tolist() == sorted(names)
    backwards = sorted(names, reverse=True)
    pd.DataFrame({"filepath": [f"pics/{name}" for name in backwards]}).to_csv("list.csv", index=False)
    assert hume("discover", "--images", "list.csv", *QUICK, "--run", "b").code == 0
    rows = pd.read_csv("b/items.csv", keep_default_na=False, dtype=str)["filepath"]
    assert rows.tolist() == [f"pics/{name}" for name in backwards]
    assert hume("select", "--per-class", "1", "--allow-short", "--run", "a").code == 0
    answer = hume("train-fixmatch", "--steps", "2", "--run", "a", "--set", "train.batch=4")
    assert answer.code == 0, answer.err
    truth = pd.DataFrame({"filepath": names, "label": [name[0] for name in names]})
    truth.to_csv("truth.csv", index=False)
    assert hume("evaluate", "--truth", "truth.csv", "--run", "a").code == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("with_images", [False, True])
def test_given_spaces_with_and_without_images(
    hume: Hume, bare: Path, dtype: type[np.floating], with_images: bool
) -> None:
    rng = np.random.default_rng(1)
    np.save("a.npy", rng.normal(size=(400, 12)).astype(dtype))
    np.save("b.npy", rng.normal(size=(400, 9)).astype(dtype))
    images = ["--images", "digits.npy"] if with_images else []
    answer = hume("discover", *images, "--labeller", "a.npy", "--judge", "b.npy", "--judge", "a.npy", *QUICK)
    assert answer.code == 0, answer.err
    assert "warning" not in answer.out
    stored = np.load("hume-run/spaces/labeller.npy")
    assert stored.dtype == (np.float32 if dtype is np.float64 else dtype)
    np.testing.assert_array_equal(stored, np.load("a.npy").astype(stored.dtype))
    assert Path("hume-run/spaces/judge-2.npy").is_file()
    assert hume("select", "--per-class", "1", "--allow-short").code == 0
    trained = hume("train-fixmatch", "--steps", "2", "--set", "train.batch=4")
    assert trained.code == 0, trained.err
    assert ("(small-cnn)" if with_images else "(head)") in trained.err


def test_a_judge_alone_beside_images_gets_a_labeller_from_them(hume: Hume, bare: Path) -> None:
    np.save("b.npy", np.random.default_rng(1).normal(size=(400, 9)))
    assert hume("discover", "--images", "digits.npy", "--judge", "b.npy", *QUICK).code == 0
    record = json.loads(Path("hume-run/spaces/spaces.json").read_text())
    assert record["labeller"]["encoder"].startswith("kernel:rbf")
    assert np.load("hume-run/spaces/judge.npy").shape == (400, 9)


@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_a_split_file(hume: Hume, bare: Path, kind: str) -> None:
    words = np.array(["train", "train", "test", "train"] * 100)
    np.save("split.npy", words)
    pd.DataFrame({"split": words}).to_csv("split.csv", index=False)
    command = ["discover", "--images", "digits.npy", *QUICK, *SMALL, "--split", f"split.{kind}"]
    answer = hume(*command)
    assert answer.code == 0, answer.err
    assert pd.read_csv("hume-run/items.csv")["split"].tolist() == words.tolist()
    np.save("split.npy", words[::-1])
    pd.DataFrame({"split": words[::-1]}).to_csv("split.csv", index=False)
    changed = hume(*command)
    assert changed.code == 2
    assert "data.split" in changed.err


def test_the_share_of_test_items_is_drawn_with_its_own_seed(hume: Hume, bare: Path) -> None:
    command = ["discover", "--images", "digits.npy", *QUICK, *SMALL, "--split", "0.3"]
    runs = {"a": [], "b": ["--seed", "9"], "c": ["--set", "data.split_seed=1"]}
    for run, more in runs.items():
        assert hume(*command, *more, "--run", run).code == 0
    splits = {run: pd.read_csv(f"{run}/items.csv")["split"].tolist() for run in runs}
    assert splits["a"] == splits["b"] != splits["c"]
    assert splits["a"].count("test") == 120


def test_the_same_command_twice_gives_equal_bytes(hume: Hume, made: Path, bare: Path) -> None:
    from tests.conftest import DISCOVER, SELECT, TRAIN

    for command in (DISCOVER, SELECT, TRAIN):
        assert hume(*command).code == 0
    ours, theirs = artefacts_of(bare / "hume-run"), artefacts_of(made / "hume-run")
    # The recipe names the images by their absolute path, which is another here.
    assert ours.pop("recipe.toml") != theirs.pop("recipe.toml")
    assert ours == theirs


def test_a_finished_run_that_gets_more_searches_keeps_those_it_has(
    hume: Hume, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the first new batch, the four old searches must not be run again."""
    from hume_ssl.stages import discover as stage

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "run_searches", killed)
        assert hume(*DISCOVER, "--searches", "8", "--resume").code == 130
    _, facts = read_safetensors(Path("hume-run/searches/checkpoint.safetensors"))
    assert facts["searches"]["seeds"] == [0, 1, 2, 3]
    assert hume(*DISCOVER, "--searches", "8", "--resume").code == 0
    assert len(pd.read_csv("hume-run/searches/searches.csv")) == 8


def test_empty_classes_are_said(hume: Hume, bare: Path) -> None:
    """Two kinds of items: every search puts them into two classes, so that none can be left out for it."""
    np.save("a.npy", np.repeat(np.eye(2, 5, dtype=np.float32), 15, axis=0))
    spaces = ["--labeller", "a.npy", "--judge", "a.npy"]
    answer = hume("discover", *spaces, "--classes", "3", "--searches", "2", "--set", "search.iterations=4")
    assert answer.code == 0 and not answer.err.replace("%", "").count("Warning")
    assert "2 searches found 2 classes in 30 train items (largest 15, smallest 0)" in answer.out
    assert "warning: 1 of 3 classes is empty" in answer.out
    assert "warning: 2 of 2 searches found fewer than 3 classes" in answer.out


def test_collapsed_searches_that_vote_all_the_same_are_said() -> None:
    """Four of five lost a class, too many to be left out: they vote, and the user is told."""
    facts = {"classes": 3, "collapsed_searches": 4, "left_out_searches": {}, "class_sizes": [3, 2, 1]}
    assert len(warnings_of(facts, 5)) == 1 and "4 of 5 searches found fewer than 3 classes" in warnings_of(facts, 5)[0]
    assert warnings_of({**facts, "collapsed_searches": 2, "left_out_searches": {"collapsed": 2}}, 5) == []
    assert "1 of 3 classes is empty" in warnings_of({**facts, "class_sizes": [3, 3, 0]}, 5)[1]
