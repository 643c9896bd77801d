"""The run folder: the table of states cell by cell, whole-or-absent files, and what --overwrite leaves alone."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
import torch

from hume_ssl import claims
from hume_ssl.disk import TEMPORARY
from hume_ssl.errors import InputError
from hume_ssl.files import csv_bytes, plain, read_csv, read_npy, table_of, write_csv
from hume_ssl.run import RunFolder, atomic_path, decide, sha256_array, sha256_file
from hume_ssl.tensor_files import read_safetensors

IDENTITY = {"search.seed": 1, "data.classes": 10, "data.images": "a" * 64, "spaces.encoders": ("x", "y")}
OTHER = {**IDENTITY, "search.seed": 2, "data.images": "b" * 64, "new.key": 0.5}
FLAGS: dict[str, dict[str, Any]] = {"": {}, "--resume": {"resume": True}, "--overwrite": {"overwrite": True}}


def make(folder: Path, state: str) -> RunFolder:
    run = RunFolder(folder / "run")
    if state == "empty":
        run.path.mkdir()
    elif state == "other stage":
        run.begin_stage("train/x", {"a": 1})
    elif state in ("unfinished", "finished"):
        run.begin_stage("discover", IDENTITY, searches=64)
        run.write_text(run.consensus_csv, "index\n")
        if state == "finished":
            run.finish_stage("discover", [run.consensus_csv], 2.0, "all searches done")
    return run


def litter_of(pid: int) -> str:
    """The name of a temporary file of another process."""
    with tempfile.TemporaryDirectory() as folder, atomic_path(Path(folder) / "x.npy") as temporary:
        temporary.touch()
        return temporary.name.replace(f"-{os.getpid()}-", f"-{pid}-")


def refusal(run: RunFolder, identity: dict[str, object], **keys: Any) -> str:
    before = snapshot(run.path)
    with pytest.raises(InputError) as caught:
        decide(run, "discover", identity, **keys)
    assert snapshot(run.path) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("state", ["absent", "empty", "other stage"])
def test_row_absent_starts_whatever_the_flag(state: str, flag: str, tmp_path: Path) -> None:
    run = make(tmp_path, state)
    before = snapshot(tmp_path)
    assert decide(run, "discover", IDENTITY, **FLAGS[flag]) == "start"
    assert snapshot(tmp_path) == before
    assert run.path.exists() == (state != "absent")


def test_row_unfinished(tmp_path: Path) -> None:
    run = make(tmp_path, "unfinished")
    text = refusal(run, IDENTITY)
    assert "--resume" in text
    assert "--overwrite" in text
    assert "--resume" not in refusal(run, IDENTITY, resumable=False)
    assert decide(run, "discover", IDENTITY, resume=True) == "continue"
    assert decide(run, "discover", IDENTITY, resume=True, searches=1000) == "continue"
    assert decide(run, "discover", IDENTITY, overwrite=True) == "start"


def test_row_finished(tmp_path: Path) -> None:
    run = make(tmp_path, "finished")
    assert decide(run, "discover", IDENTITY) == "finished"
    assert decide(run, "discover", IDENTITY, searches=100) == "finished"
    assert decide(run, "discover", IDENTITY, resume=True) == "finished"
    assert decide(run, "discover", IDENTITY, resume=True, searches=64) == "finished"
    assert decide(run, "discover", IDENTITY, resume=True, searches=65) == "continue"
    text = refusal(run, IDENTITY, resume=True, searches=63)
    assert "64" in text
    assert "--searches 63" in text
    assert decide(run, "discover", IDENTITY, overwrite=True, searches=3) == "start"


@pytest.mark.parametrize("flag", ["", "--resume"])
@pytest.mark.parametrize("state", ["unfinished", "finished"])
def test_row_other_inputs_names_each_differing_key_with_both_values(state: str, flag: str, tmp_path: Path) -> None:
    run = make(tmp_path, state)
    text = refusal(run, OTHER, **FLAGS[flag])
    assert "search.seed was 1, is now 2" in text
    assert "data.images was aaaaaaaaaaaa..., is now bbbbbbbbbbbb..." in text
    assert "new.key was not set, is now 0.5" in text
    assert "data.classes" not in text
    assert "--overwrite" in text
    assert str(run.path) in text
    assert decide(run, "discover", OTHER, overwrite=True) == "start"


def test_both_flags_are_refused_in_every_state(tmp_path: Path) -> None:
    for state in ("absent", "unfinished", "finished"):
        folder = tmp_path / state
        folder.mkdir()
        assert "one of them" in refusal(make(folder, state), IDENTITY, resume=True, overwrite=True)


def test_output_removed_by_hand(tmp_path: Path) -> None:
    """All artefacts gone: absent. Some gone: unfinished, and the message names one."""
    run = make(tmp_path, "unfinished")
    run.write_text(run.classes_csv, "class\n")
    run.finish_stage("discover", [run.consensus_csv, run.classes_csv], 1.0)
    run.classes_csv.unlink()
    assert "lacks classes.csv" in refusal(run, IDENTITY)
    assert decide(run, "discover", IDENTITY, resume=True) == "continue"
    run.consensus_csv.unlink()
    assert decide(run, "discover", IDENTITY) == "start"


@pytest.mark.parametrize("flag", FLAGS)
def test_somebody_elses_folder_is_refused(flag: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in refusal(run, IDENTITY, **FLAGS[flag])
    with pytest.raises(InputError, match=r"thesis\.tex"):
        run.remove_stage("discover")
    (tmp_path / "run.json").write_text('{"scripts": {}}')
    assert "run.json" in refusal(run, IDENTITY, **FLAGS[flag])
    (tmp_path / "run.json").write_text('{"format": ')
    assert "run.json" in refusal(run, IDENTITY, **FLAGS[flag])
    assert "is a file" in refusal(RunFolder(tmp_path / "thesis.tex"), IDENTITY, **FLAGS[flag])


def test_a_folder_with_nothing_but_a_half_written_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY}host-1-ab-run.json").write_text("{")
    assert decide(RunFolder(tmp_path), "discover", IDENTITY) == "start"


def test_overwrite_removes_only_what_the_contract_names(tmp_path: Path) -> None:
    run = make(tmp_path, "unfinished")
    ours = [run.items_csv, run.space("0-kernel:rbf?width=1"), run.spaces_json, run.labellings_npy, run.recipe_toml]
    theirs = [run.path / "notes.txt", run.spaces / "README", run.path / "my-items.csv", run.searches / "plot.png"]
    others = [run.labels_csv(4), run.predictions_csv("fixmatch"), run.evaluation_json]
    for path in ours + theirs + others:
        run.write_text(path, "x")
    run.write_text(run.classes_csv, "named by hand")
    run.finish_stage("discover", [*ours, run.consensus_csv], 1.0)
    run.remove_stage("discover", keep=("classes.csv",))
    assert not any(path.exists() for path in [*ours, run.consensus_csv])
    assert all(path.exists() for path in [*theirs, *others, run.classes_csv])
    assert run.exists()
    assert run.stage("discover") == {}


def test_overwriting_a_training_leaves_its_neighbours(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    for name in ("a", "ab"):
        run.begin_stage(f"train/{name}", {})
        run.write_text(run.checkpoints(name) / "last.safetensors", "x")
        run.write_text(run.predictions_csv(name), "x")
        run.finish_stage(f"train/{name}", [run.predictions_csv(name)], 1.0)
    run.remove_stage("train/a")
    assert not run.train("a").exists()
    assert run.predictions_csv("ab").exists()
    assert list(run.stages()) == ["train/ab"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "-x", "a b", "x" * 200])
def test_names_that_cannot_be_folders_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        RunFolder("run").train(name)


def test_spaces_lie_in_the_folder_of_spaces() -> None:
    run = RunFolder("run")
    for name in ("../../etc/passwd", "torchvision:squeezenet1_1@/a/b.pth?size=128", "..", ""):
        assert run.space(name).parent == run.spaces
        assert run.space(name).suffix == ".npy"


def test_stage_record(tmp_path: Path) -> None:
    run = make(tmp_path, "finished")
    record = run.stage("discover")
    assert (record["status"], record["stop_reason"], record["seconds"]) == ("finished", "all searches done", 2.0)
    assert record["artefacts"] == {"consensus.csv": sha256_file(run.consensus_csv)}
    assert run.load()["versions"]["pydantic"] == pydantic.VERSION
    assert run.changed("discover") == []
    run.write_text(run.consensus_csv, "index\n7\n")
    assert run.changed("discover") == ["consensus.csv"]
    run.begin_stage("discover", IDENTITY, searches=70)  # more searches: the seconds add up
    run.finish_stage("discover", [run.consensus_csv], 3.0)
    assert run.stage("discover")["seconds"] == 5.0
    run.mark_stale("discover", "the consensus changed")
    assert run.stage("discover")["stale"] == "the consensus changed"
    run.begin_stage("discover", OTHER)
    assert "stale" not in run.stage("discover")
    assert "seconds" not in run.stage("discover")


def test_the_latest_of_a_kind_is_the_one_finished_last(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert run.latest("selection/") is None
    for n in (15, 4):
        run.begin_stage(f"selection/per-class-{n}", {})
    run.write_text(run.labels_csv(4), "x")
    run.write_text(run.labels_csv(15), "x")
    run.finish_stage("selection/per-class-4", [run.labels_csv(4)], 0.1)
    run.finish_stage("selection/per-class-15", [run.labels_csv(15)], 0.1)
    run.begin_stage("selection/per-class-25", {})
    assert run.latest("selection/") == "selection/per-class-15"


def test_log_makes_a_run_of_the_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.log("first")
    run.log("second")
    lines = run.log_txt.read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["first", "second"]
    assert decide(run, "discover", IDENTITY) == "start"


def test_atomic_path_keeps_the_old_file_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.npy"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".npy"
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["x.npy"]


def test_run_json_is_whole_after_kill_9_at_any_moment(tmp_path: Path) -> None:
    """A writer is killed at twelve different moments; each time the record is whole, and the litter goes later."""
    code = (
        "import sys; from hume_ssl.run import RunFolder; run = RunFolder(sys.argv[1])\n"
        "i = 0\n"
        "while True:\n"
        "    run.update({'i': i, 'same': [i] * 20000}); i += 1\n"
        "    print(i, flush=True)\n"
    )
    run = RunFolder(tmp_path / "run")
    for moment in range(12):
        process = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * moment)
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()
        (run.path / "spaces").mkdir(exist_ok=True)
        (run.path / "spaces" / litter_of(process.pid)).write_text("x")
        record = json.loads(run.run_json.read_text())
        assert record["same"] == [record["i"]] * 20000
    run.begin_stage("discover", IDENTITY)
    claims.release_all()
    assert sorted(p.name for p in run.path.rglob("*")) == ["run.json", "spaces"]


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")

    def write(name: str) -> None:
        for i in range(20):
            run.begin_stage(f"train/{name}{i}", {})

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(run.stages()) == 40


def test_a_living_process_keeps_its_temporary_file(tmp_path: Path) -> None:
    run = make(tmp_path, "unfinished")
    with atomic_path(run.items_csv) as temporary:
        temporary.write_text("x")
        run.begin_stage("discover", IDENTITY)
        assert temporary.exists()


def test_csv_keeps_names_that_look_like_something_else(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "index": [0, 1, 2, 3],
            "filepath": ["007", "NA", "", 'a, "b"\nü.png'],
            "agreement": [1 / 3, float("nan"), 1e-17, 1.0],
            "reliable": [True, False, True, True],
            "reason": ["nan", "", "null", "1e3"],
        }
    )
    path = tmp_path / "t.csv"
    RunFolder.write_csv(path, table)
    back = read_csv(path)
    for column in table:
        assert back[column].tolist()[0] == table[column].tolist()[0]
    assert back["filepath"].tolist() == table["filepath"].tolist()
    assert back["reason"].tolist() == table["reason"].tolist()
    np.testing.assert_array_equal(back["agreement"].to_numpy(), table["agreement"].to_numpy())
    assert back["reliable"].dtype == bool
    assert back["index"].dtype == np.int64
    assert b"\r" not in path.read_bytes()


def test_unreadable_tables_and_arrays_are_input_errors(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    for read in (read_csv, read_npy, read_safetensors):
        for candidate in (path, tmp_path / "absent"):
            with pytest.raises(InputError, match=candidate.name):
                read(candidate)
    path.write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(InputError, match="line 3"):
        read_csv(path)
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    RunFolder.write_npy(tmp_path / "cut.npy", np.arange(100.0))
    with open(tmp_path / "cut.npy", "r+b") as file:
        file.truncate(300)
    for name in ("pickle.npy", "cut.npy"):
        for mmap in (True, False):
            with pytest.raises(InputError, match=name):
                read_npy(tmp_path / name, mmap=mmap)


def test_arrays_and_tensors_read_back_equal_and_write_equal_bytes(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float16)
    RunFolder.write_npy(tmp_path / "a.npy", array)
    back = read_npy(tmp_path / "a.npy")
    assert isinstance(back, np.memmap)
    np.testing.assert_array_equal(back, array)
    tensors = {"w": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor([1, 2])}
    facts = {"seeds": np.arange(3), "scale": np.float32(0.5), "name": "ü"}
    for name in ("1.safetensors", "2.safetensors"):
        RunFolder.write_safetensors(tmp_path / name, tensors, facts)
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    read, told = read_safetensors(tmp_path / "1.safetensors")
    assert all(torch.equal(read[key], tensors[key]) for key in tensors)
    assert told == {"seeds": [0, 1, 2], "scale": 0.5, "name": "ü"}


def test_sha256_of_an_array_knows_values_dtype_and_shape_but_not_layout() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    base = sha256_array(array)
    assert sha256_array(np.asfortranarray(array)) == base
    assert sha256_array(array.copy()) == base
    changed = array.copy()
    changed[2, 3] += 1
    others: list[Any] = [array.reshape(4, 3), array.astype(np.float64), array.view(np.int32), changed, array[:2]]
    assert len({base, *(sha256_array(other) for other in others)}) == 6


def test_plain_turns_everything_into_json() -> None:
    value = {"a": np.float32(0.5), "b": (1, True), "c": float("nan"), "d": np.array([[1.0, np.inf]]), "e": Path("x/y")}
    assert plain(value) == {"a": 0.5, "b": [1, True], "c": None, "d": [[1.0, None]], "e": "x/y"}


def test_a_table_with_odd_names_reads_back(tmp_path: Path) -> None:
    """A carriage return ends a row for those who read, and Python's csv does not quote it beside our line ends."""
    names = ["a\rb.png", "c\nd.png", 'e"f,g.png', " h ", "NA", "007", "", "\udce9.png"]
    table = table_of({"index": range(8), "filepath": names, "label": 0.5, "reliable": [True, False] * 4})
    for rows in (table, table[1:]):
        write_csv(tmp_path / "odd.csv", rows)
        pd.testing.assert_frame_equal(read_csv(tmp_path / "odd.csv"), rows.reset_index(drop=True), check_dtype=False)
        assert (tmp_path / "odd.csv").read_bytes() == csv_bytes(rows)
    assert b'"' not in (tmp_path / "odd.csv").read_bytes().splitlines()[-1]  # quotes only where they are needed


@pytest.mark.parametrize("text", ["index,label\n5,3,9\n", "index,label\n5,3\n6,4,9\n"])
def test_more_fields_than_the_header_has_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "long.csv").write_text(text)
    with pytest.raises(InputError, match=r"long\.csv"):
        read_csv(tmp_path / "long.csv")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stages": []}, "stages"),
        ({"stages": {"discover": None}}, "no table"),
        ({"stages": {"discover": {"status": "done"}}}, "status"),
        ({"stages": {"discover": {"status": "unfinished"}}}, "made from"),
        ({"stages": {"discover": {"status": "finished", "identity": {}}}}, "when"),
        ({"stages": {"a": {"status": "unfinished", "identity": {}, "seconds": 1e999}}}, "seconds"),
        ({"stages": {"a": {"status": "unfinished", "identity": {}, "searches": "4"}}}, "searches"),
        ({"stages": {"a": {"status": "unfinished", "identity": {}, "artefacts": {"../b": "c"}}}}, "outside the run"),
        ({"stages": {"selection/per-class-x": {"status": "unfinished", "identity": {}}}}, "selection"),
    ],
)
def test_a_damaged_run_json_is_refused_with_what_is_wrong(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": "hume_ssl run 1", **change}))
    with pytest.raises(InputError, match=rf"run\.json is damaged: .*{says}"):
        RunFolder(tmp_path).stages()


def test_a_run_json_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"run\.json"):
        RunFolder(tmp_path).load()


def test_facts_in_a_header_that_are_no_table(tmp_path: Path) -> None:
    from safetensors.torch import save

    for facts in ("{", "[1]", "[" * 100_000):
        (tmp_path / "a.safetensors").write_bytes(save({"a": torch.ones(2)}, metadata={"hume_ssl": facts}))
        with pytest.raises(InputError, match=r"a\.safetensors is damaged"):
            read_safetensors(tmp_path / "a.safetensors")


def test_a_message_stays_short_however_long_the_name_is() -> None:
    assert len(str(InputError("x" * 100_000))) < 2100
