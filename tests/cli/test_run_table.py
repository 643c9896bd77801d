"""The run folder's table, cell by cell, through the commands: discover, select and train-fixmatch."""

import json
from pathlib import Path

import pytest

from tests.conftest import DISCOVER, SELECT, TRAIN, Answer, Hume, artefacts_of, files_of

FLAGS = ([], ["--resume"], ["--overwrite"])
OTHER_SEED = [*DISCOVER, "--seed", "1"]


def unfinished(folder: Path, stage: str, *gone: str) -> None:
    """What a killed stage leaves: its record says unfinished, and some of its files are not there yet."""
    run = folder / "hume-run"
    record = json.loads((run / "run.json").read_text())
    record["stages"][stage]["status"] = "unfinished"
    for key in ("artefacts", "finished", "stop_reason"):
        del record["stages"][stage][key]
    (run / "run.json").write_text(json.dumps(record))
    for name in gone:
        (run / name).unlink()


def refused(hume: Hume, folder: Path, *arguments: str) -> str:
    before = files_of(folder)
    answer = hume(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert files_of(folder) == before
    (line,) = answer.err.splitlines()
    return line


def unchanged(hume: Hume, folder: Path, *arguments: str) -> Answer:
    before = files_of(folder)
    answer = hume(*arguments)
    assert answer.code == 0, answer.err
    assert files_of(folder) == before
    return answer


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("empty_folder", [False, True])
def test_discover_starts_where_there_is_nothing(
    hume: Hume, bare: Path, made: Path, flags: list[str], empty_folder: bool
) -> None:
    if empty_folder:
        (bare / "hume-run").mkdir()
    answer = hume(*DISCOVER, *flags)
    assert answer.code == 0, answer.err
    for name in ("consensus.csv", "searches/labellings.npy", "searches/encoders.safetensors", "spaces/judge.npy"):
        assert (bare / "hume-run" / name).read_bytes() == (made / "hume-run" / name).read_bytes()


@pytest.mark.parametrize("flags", FLAGS)
def test_discover_unfinished_with_the_same_inputs(hume: Hume, done: Path, made: Path, flags: list[str]) -> None:
    unfinished(done, "discover", "consensus.csv", "searches/labellings.npy", "spaces/spaces.json")
    absolute = ["--images", str(made / "digits.npy")]  # the same file as the finished run's
    if not flags:
        line = refused(hume, done, *DISCOVER, *absolute)
        assert "unfinished" in line and "--resume" in line and "--overwrite" in line
        return
    assert hume(*DISCOVER, *absolute, *flags).code == 0
    ours, theirs = artefacts_of(done / "hume-run"), artefacts_of(made / "hume-run")
    assert ours == theirs


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_discover_finished_with_the_same_inputs_says_so(hume: Hume, done: Path, flags: list[str]) -> None:
    assert "finished" in unchanged(hume, done, *DISCOVER, *flags).out
    # The device and the number of searches are no part of a run's identity.
    assert "finished" in unchanged(hume, done, *DISCOVER, "--device", "cpu", *flags).out
    # Nor is the path to the same content.
    (done / "digits.npy").rename(done / "moved.npy")
    assert "finished" in unchanged(hume, done, *DISCOVER, "--images", str(done / "moved.npy"), *flags).out


def test_discover_finished_and_overwritten(hume: Hume, done: Path) -> None:
    before = json.loads((done / "hume-run/run.json").read_text())
    (done / "hume-run/mine.txt").write_text("notes")
    (done / "hume-run/spaces/mine.npz").write_text("notes")
    answer = hume(*DISCOVER, "--overwrite")
    assert answer.code == 0
    after = json.loads((done / "hume-run/run.json").read_text())
    assert after["stages"]["discover"]["finished"] > before["stages"]["discover"]["finished"]
    assert (done / "hume-run/mine.txt").read_text() == "notes"
    assert (done / "hume-run/spaces/mine.npz").read_text() == "notes"


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_discover_with_other_inputs_names_what_differs(hume: Hume, done: Path, flags: list[str]) -> None:
    line = refused(hume, done, *OTHER_SEED, *flags)
    assert "search.seed was 0, is now 1" in line
    assert "--overwrite" in line
    assert "consensus.neighbours was 20, is now 5" in refused(hume, done, *DISCOVER, "--neighbours", "5", *flags)
    assert "search.preset" in refused(hume, done, *DISCOVER, "--preset", "paper", *flags)
    unfinished(done, "discover")
    assert "search.seed" in refused(hume, done, *OTHER_SEED, *flags)


def test_discover_with_other_inputs_overwritten(hume: Hume, done: Path) -> None:
    assert hume(*OTHER_SEED, "--overwrite").code == 0
    record = json.loads((done / "hume-run/run.json").read_text())
    assert record["stages"]["discover"]["identity"]["search.seed"] == 1
    assert "seed = 1" in (done / "hume-run/recipe.toml").read_text()


def test_resume_with_more_searches_runs_only_the_new_ones(hume: Hume, done: Path) -> None:
    more = [*DISCOVER, "--searches", "7"]
    assert hume(*more, "--run", "at-once").code == 0
    assert "nothing to do" in unchanged(hume, done, *more).out  # without --resume: it is finished, and says so
    answer = hume(*more, "--resume")
    assert answer.code == 0
    assert "(160 of 160)" not in answer.err  # steps of the four searches of before
    assert "(80 of 80)" in answer.err
    at_once, later = artefacts_of(done / "at-once"), artefacts_of(done / "hume-run")
    for name in ("searches/labellings.npy", "searches/searches.csv", "searches/encoders.safetensors", "recipe.toml"):
        assert at_once[name] == later[name], name
    line = refused(hume, done, *DISCOVER, "--searches", "3", "--resume")
    assert "7" in line and "3" in line and "--overwrite" in line
    assert "finished" in unchanged(hume, done, *DISCOVER, "--searches", "7", "--resume").out


def test_resume_without_searches_keeps_what_was_added(hume: Hume, done: Path) -> None:
    """The recipe in the run folder repeats the run that is there, with the searches added later."""
    assert hume(*DISCOVER, "--searches", "6", "--resume").code == 0
    assert "searches = 6" in (done / "hume-run/recipe.toml").read_text()


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_select_starts_where_there_is_nothing(hume: Hume, done: Path, flags: list[str]) -> None:
    answer = hume("select", "--per-class", "1", *flags)
    assert answer.code == 0
    assert len((done / "hume-run/selection/per-class-1/labels.csv").read_text().splitlines()) == 11


def test_select_finished(hume: Hume, done: Path) -> None:
    assert "is there already" in unchanged(hume, done, *SELECT).out
    path = done / "hume-run/selection/per-class-2/labels.csv"
    before = path.read_bytes()
    assert hume(*SELECT, "--overwrite").code == 0
    assert path.read_bytes() == before


def test_select_unfinished(hume: Hume, done: Path) -> None:
    path = done / "hume-run/selection/per-class-2/labels.csv"
    before = path.read_bytes()
    unfinished(done, "selection/per-class-2", "selection/per-class-2/labels.csv")
    assert "--overwrite" in refused(hume, done, *SELECT)
    assert hume(*SELECT, "--overwrite").code == 0
    assert path.read_bytes() == before


def test_select_after_another_consensus_needs_overwrite(hume: Hume, done: Path) -> None:
    assert hume(*OTHER_SEED, "--overwrite").code == 0
    assert "--overwrite" in refused(hume, done, *SELECT, "--allow-short")
    assert "older consensus" in refused(hume, done, *TRAIN)
    assert hume(*SELECT, "--allow-short", "--overwrite").code == 0


@pytest.mark.parametrize("flags", FLAGS)
def test_train_starts_where_there_is_nothing(hume: Hume, done: Path, made: Path, flags: list[str]) -> None:
    answer = hume(*TRAIN, "--name", "second", *flags)
    assert answer.code == 0, answer.err
    first, second = (artefacts_of(done / "hume-run/train" / name) for name in ("fixmatch-per-class-2", "second"))
    assert first == second


@pytest.mark.parametrize("flags", FLAGS)
def test_train_unfinished(hume: Hume, done: Path, made: Path, flags: list[str]) -> None:
    stage = "train/fixmatch-per-class-2"
    unfinished(done, stage, f"{stage}/predictions.csv", f"{stage}/checkpoints/last.safetensors")
    if not flags:
        line = refused(hume, done, *TRAIN)
        assert "--resume" in line and "--overwrite" in line
        return
    answer = hume(*TRAIN, *flags)
    assert answer.code == 0, answer.err
    assert artefacts_of(done / "hume-run") == artefacts_of(made / "hume-run")


def test_train_finished_or_with_other_inputs(hume: Hume, done: Path, made: Path) -> None:
    for flags in ([], ["--resume"]):
        assert "finished" in unchanged(hume, done, *TRAIN, *flags).out
        assert "train.seed was 0, is now 5" in refused(hume, done, *TRAIN, "--seed", "5", *flags)
    assert hume(*TRAIN, "--overwrite").code == 0
    assert artefacts_of(done / "hume-run") == artefacts_of(made / "hume-run")
    assert hume(*TRAIN, "--seed", "5", "--overwrite").code == 0
    assert artefacts_of(done / "hume-run") != artefacts_of(made / "hume-run")


def test_train_after_the_label_file_was_edited(hume: Hume, done: Path) -> None:
    """A label corrected by hand makes other inputs; the classifier learns from it once the user says so."""
    path = done / "hume-run/selection/per-class-2/labels.csv"
    header, first, *rest = path.read_text().splitlines()
    index, name, label, *others = first.split(",")
    edited = ",".join([index, name, str((int(label) + 1) % 10), *others])
    path.write_text("\n".join([header, edited, *rest]) + "\n")
    assert "label file" in refused(hume, done, *TRAIN)
    assert hume(*TRAIN, "--overwrite").code == 0
    assert "changed since" in hume("status").out  # the selection is not as select left it
