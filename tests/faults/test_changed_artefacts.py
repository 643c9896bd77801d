"""A finished artefact that is not as it was left is named before it is used, and made again on demand."""

import json
from pathlib import Path

import numpy as np
import pytest

from hume_ssl.files import read_csv
from hume_ssl.run import RunFolder
from tests.conftest import DISCOVER, SELECT, TRAIN, Hume, artefacts_of

RUN = Path("hume-run")
SCORE = ["score", "--labels", "truth.npy"]
# Each artefact, and a command that reads it.
READ = {
    "consensus.csv": ["select", "--per-class", "1"],
    "recipe.toml": ["select", "--per-class", "1"],
    "spaces/spaces.json": ["select", "--per-class", "1"],
    "SPACE": ["select", "--per-class", "1"],
    "searches/labellings.npy": ["report"],
    "searches/searches.csv": ["report"],
    "searches/matching.safetensors": ["report"],
    "searches/encoders.safetensors": ["assign", "--images", "digits.npy"],
    "MODEL": ["export", "--to", "torch"],
    "PREDICTIONS": ["evaluate", "--truth", "truth.npy"],
}


def path_of(name: str) -> Path:
    """The file that a name in `READ` stands for."""
    made = {
        "SPACE": next(RUN.glob("spaces/kernel*.npy"), None),
        "MODEL": next(RUN.glob("train/*/model.safetensors"), None),
        "PREDICTIONS": next(RUN.glob("train/*/predictions.csv"), None),
    }
    return made.get(name) or RUN / name


def alter(path: Path) -> None:
    """Change one byte late in the file, so that it can still be read."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"0") if path.suffix in (".csv", ".toml", ".json") else len(data) - 3
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", READ)
def test_it_is_named_before_it_is_used(done: Path, hume: Hume, name: str) -> None:
    path = path_of(name)
    alter(path)
    before = artefacts_of(RUN)
    answer = hume(*READ[name])
    assert answer.code == 2, answer
    assert len(answer.err.splitlines()) == 1
    assert f"{path} is not as" in answer.err
    assert artefacts_of(RUN) == before


@pytest.mark.parametrize("name", ["consensus.csv", "SPACE", "searches/labellings.npy", "items.csv", "recipe.toml"])
def test_discover_names_it_and_makes_it_again(bare: Path, hume: Hume, name: str) -> None:
    assert hume(*DISCOVER).code == 0
    expected, path = artefacts_of(RUN), path_of(name)
    alter(path)
    answer = hume(*DISCOVER)
    assert answer.code == 2
    assert str(path.relative_to(RUN)) in answer.err and "--resume" in answer.err and "--overwrite" in answer.err
    answer = hume(*DISCOVER, "--resume")
    assert answer.code == 0, answer.err
    assert artefacts_of(RUN) == expected


def test_a_training_names_it_and_makes_it_again(done: Path, hume: Hume) -> None:
    expected = artefacts_of(RUN)
    alter(path_of("PREDICTIONS"))
    assert "predictions.csv" in hume(*TRAIN).err
    assert hume(*TRAIN, "--resume").code == 0
    assert artefacts_of(RUN) == expected


def test_a_label_file_corrected_by_hand_is_taken_and_told_of(done: Path, hume: Hume) -> None:
    path = RUN / "selection/per-class-2/labels.csv"
    table = read_csv(path)
    table.loc[0, "label"] = (table["label"][0] + 1) % 10
    table.to_csv(path, index=False)
    answer = hume(*TRAIN, "--name", "again", "--steps", "1")
    assert answer.code == 0, answer.err
    assert f"warning: {path} is not as select left it" in answer.out
    answer = hume(*SELECT)
    assert answer.code == 2 and "--overwrite" in answer.err  # a person's work is not written over unasked


def test_a_record_that_names_files_elsewhere_removes_none(done: Path, hume: Hume) -> None:
    """A run folder may come from a stranger, run.json with it."""
    precious, other = done / "precious.txt", done / "truth.npy"
    precious.write_text("mine")
    record = json.loads((RUN / "run.json").read_text())
    for stage in record["stages"].values():
        stage["artefacts"] |= {"../precious.txt": "0" * 64, str(precious): "0" * 64}
    record["stages"]["spaces/../../truth"] = {"status": "finished", "identity": {}, "artefacts": {}, "finished": "1"}
    (RUN / "run.json").write_text(json.dumps(record))
    for command in (SELECT, DISCOVER):
        assert "outside the run" in hume(*command, "--overwrite").err
    for stage in record["stages"].values():
        stage["artefacts"] = {}
    (RUN / "run.json").write_text(json.dumps(record))
    assert hume(*DISCOVER, "--overwrite").code == 0  # it forgets spaces of other items by the names in the record
    assert precious.read_text() == "mine" and other.is_file()


def test_a_space_is_never_looked_for_outside(done: Path, hume: Hume) -> None:
    np.save("outside.npy", np.ones((400, 4), dtype=np.float32))
    path = RUN / "spaces/spaces.json"
    known = json.loads(path.read_text())
    known["labeller"]["file"] = "../../outside.npy"
    path.write_text(json.dumps(known))
    RunFolder(RUN).update(lambda r: r["stages"]["discover"]["artefacts"].pop("spaces/spaces.json"))
    answer = hume("select", "--per-class", "1")
    assert answer.code == 2 and "../../outside.npy" in answer.err
