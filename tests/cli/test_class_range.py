"""`discover --classes LOW:HIGH`: what it writes and says, the run folder's table, and ranges that cannot be tried."""

import shlex
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from hume_ssl.cli.class_range import next_command, parse_classes, resume_command
from hume_ssl.stages import class_count as stage
from tests.conftest import Hume, artefacts_of, files_of
from tests.test_class_count import groups

TRY = shlex.split("discover --labeller a.npy --judge b.npy --set search.iterations=20 --classes 2:5 --searches 3")
DISCOVER = [*TRY, "--classes", "4"]


@pytest.fixture
def spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two spaces of 60 items in three groups."""
    np.save(tmp_path / "a.npy", groups(60, 3))
    np.save(tmp_path / "b.npy", groups(60, 3))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_table_plot_and_next_command(hume: Hume, spaces: Path) -> None:
    answer = hume(*TRY, "--run", "my run")
    assert answer.code == 0, answer.err
    assert sorted(files_of(spaces / "my run")) == ["class-count.csv", "class-count.svg", "log.txt", "run.json"]
    table = pd.read_csv("my run/class-count.csv")
    assert table["k"].tolist() == [2, 3, 4, 5]
    assert table["searches"].tolist() == [3] * 4
    ElementTree.parse("my run/class-count.svg")
    assert "it would take 3 classes" in answer.out and "heuristic" in answer.out
    following = "hume-ssl discover --classes 3 --labeller a.npy --judge b.npy --set search.iterations=20 --run 'my run'"
    assert answer.out.rstrip().endswith(f"Next: {following}")
    assert hume("status", "--run", "my run").out.rstrip().endswith(f"next: {following}")
    assert hume(*shlex.split(following)[1:], "--searches", "2").code == 0  # its folder is free for it


def test_the_next_command_leaves_out_what_was_meant_for_the_trial() -> None:
    words = shlex.split("-- discover --classes=2:5 --set search.searches=3 --set=search.searches=4 --set search.seed=1")
    assert next_command(words, 4) == "hume-ssl discover --classes 4 --set search.seed=1"
    assert resume_command(words[:3]) == "hume-ssl discover --classes=2:5 --resume"


def test_two_kinds_of_items_have_no_number_of_classes_from_four_on(hume: Hume, spaces: Path) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(name, np.repeat(np.eye(2, 5, dtype=np.float32), 15, axis=0))
    answer = hume(*TRY, "--classes=4:5")
    assert answer.code == 0 and "it would take 4 classes" in answer.out
    assert "warning: at every number most searches lost classes" in answer.out


def test_json(hume: Hume, spaces: Path) -> None:
    told = hume(*TRY, "--json").json
    assert [row["k"] for row in told["classes"]] == [2, 3, 4, 5]
    assert told["k"] == 3
    assert told["next"].startswith("hume-ssl discover --classes 3 --labeller a.npy")
    again = hume(*TRY, "--json").json  # finished: read back from the table
    assert again == told


def test_dry_run_writes_nothing(hume: Hume, spaces: Path) -> None:
    before = files_of(spaces)
    answer = hume(*TRY, "--dry-run")
    assert answer.code == 0 and "3 searches for each number of classes from 2 to 5" in answer.out
    assert files_of(spaces) == before


def test_the_run_folders_table(hume: Hume, spaces: Path) -> None:
    assert hume(*TRY).code == 0
    before = files_of(spaces)
    for flags in ([], ["--resume"]):
        answer = hume(*TRY, *flags)
        assert answer.code == 0 and "nothing to do" in answer.out and "it would take 3 classes" in answer.out
        for other, says in (("--classes=2:4", "2:5"), ("--searches=4", "search.searches"), ("--seed=1", "search.seed")):
            refused = hume(*TRY, other, *flags)
            assert refused.code == 2 and says in refused.err and len(refused.err.splitlines()) == 1
    assert files_of(spaces) == before
    assert hume(*TRY, "--neighbours", "5").code == 0  # neighbours have no part in it
    assert hume(*TRY, "--classes", "2:4", "--overwrite").code == 0
    assert len(pd.read_csv("hume-run/class-count.csv")) == 3


def test_killed_and_resumed(hume: Hume, made: Path, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With spaces made by encoders: after the second k is done, it goes on at the third, and ends byte-equal."""
    encoders = "--encoder kernel:rbf?dim=32 --encoder kernel:rbf?width=0.5&dim=48"
    command = shlex.split(
        f"discover --images digits.npy --classes 3:5 --searches 2 --set search.iterations=4 {encoders}"
    )
    assert hume(*command, "--run", "whole").code == 0
    tried, whole = [], stage.try_counts

    def killed(*arguments: object) -> object:
        for number, one in enumerate(whole(*arguments)):  # type: ignore[arg-type]
            if number == 2:
                raise KeyboardInterrupt
            yield one

    with monkeypatch.context() as patch:
        patch.setattr(stage, "try_counts", killed)
        assert hume(*command).code == 130
    assert hume(*command).code == 2
    assert "--resume" in hume("status").out
    made_before = {path: path.stat().st_mtime_ns for path in (bare / "hume-run/spaces").glob("kernel-*.npy")}
    assert len(made_before) == 2

    def seen(spaces: object, counts: range, *others: object) -> object:
        tried.extend(counts)
        assert {path: path.stat().st_mtime_ns for path in made_before} == made_before
        return whole(spaces, counts, *others)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(stage, "try_counts", seen)
        assert hume(*command, "--resume").code == 0
    assert tried == [5]
    assert artefacts_of(bare / "hume-run") == artefacts_of(bare / "whole")
    assert not (bare / "hume-run/class-count").exists()


def test_beside_a_finished_discover(hume: Hume, spaces: Path) -> None:
    assert hume(*DISCOVER).code == 0
    before = artefacts_of(spaces / "hume-run")
    assert hume(*TRY).code == 0
    after = artefacts_of(spaces / "hume-run")
    assert {name: after[name] for name in before} == before
    assert "nothing to do" in hume(*DISCOVER).out
    assert hume("select", "--per-class", "1", "--allow-short").code == 0
    assert hume(*DISCOVER, "--overwrite").code == 0
    assert "nothing to do" in hume(*TRY).out  # nor does discover take anything away


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5:2", "2:5"),
        ("1:5", "2:15"),
        ("5:1", "2:15"),
        ("5:5", "--classes 5"),
        ("a:b", "LOW:HIGH"),
        ("2:", "LOW:HIGH"),
        ("2:5:7", "LOW:HIGH"),
        ("2:-5", "LOW:HIGH"),
        ("2:9", "8 directions"),
        ("2:61", "60 train items"),
    ],
)
def test_ranges_that_cannot_be_tried(hume: Hume, spaces: Path, text: str, says: str) -> None:
    before = files_of(spaces)
    answer = hume(*TRY, f"--classes={text}")
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1 and "--classes" in answer.err and says in answer.err
    assert files_of(spaces) == before


def test_one_search_cannot_agree(hume: Hume, spaces: Path) -> None:
    answer = hume(*TRY, "--searches", "1")
    assert answer.code == 2 and "--searches 1" in answer.err
    assert not (spaces / "hume-run").exists()


def test_one_number_is_as_before(hume: Hume, spaces: Path) -> None:
    answer = hume(*TRY, "--classes", "abc")
    assert answer.code == 2
    words = " ".join(answer.err.replace("│", " ").split())
    assert "Invalid value for '--classes': 'abc' is not a valid integer." in words
    answer = hume(*TRY, "--classes", "1")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "data.classes = 1" in answer.err
    assert parse_classes(" 12 ") == 12
    assert parse_classes(None) is None
    assert parse_classes("5:7") == range(5, 8)


def test_commands_to_paste() -> None:
    typed = shlex.split("discover --searches=4 --classes=5:15 --images 'my pics' --json --resume --set data.flip=false")
    assert next_command(typed, 9) == "hume-ssl discover --classes 9 --images 'my pics' --set data.flip=false"
    assert resume_command(["discover", "--classes", "5:15", "--overwrite"]) == (
        "hume-ssl discover --classes 5:15 --resume"
    )
