"""Files of a run that were damaged after it: commands say which one, and what to do."""

import json
from pathlib import Path

import pandas as pd
import pytest

from hume_ssl.errors import InputError
from hume_ssl.files import read_json, read_rows
from hume_ssl.stages.class_count import read_tried
from hume_ssl.stages.evaluate import read_evaluations, read_predictions
from tests.conftest import Hume

RUN = Path("hume-run")


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("searches/searches.csv", ["report"]),
        ("searches/matching.safetensors", ["assign", "--images", "digits.npy"]),
        ("searches/encoders.safetensors", ["assign", "--images", "digits.npy"]),
        ("searches/labellings.npy", ["select", "--ask", "3"]),
        ("spaces/spaces.json", ["report"]),
        ("run.json", ["status"]),
    ],
)
def test_a_file_in_which_bytes_are_others(hume: Hume, done: Path, file: str, command: list[str]) -> None:
    data = (RUN / file).read_bytes()
    (RUN / file).write_bytes(data[:-20] + b"7" * 20)
    answer = hume(*command)
    assert answer.code == 2 and Path(file).name in answer.err.splitlines()[-1], answer.err


@pytest.mark.parametrize("records", [[], {"labeller": 1}, {"labeller": {"file": "../digits.npy"}}, {}])
def test_records_of_spaces_that_are_none(hume: Hume, done: Path, records: object) -> None:
    (RUN / "spaces/spaces.json").write_text(json.dumps(records))
    answer = hume("score", "--labels", "truth.npy")
    assert answer.code == 2 and "spaces.json" in answer.err, answer.err


def test_a_space_of_other_items(hume: Hume, done: Path) -> None:
    space = RUN / "spaces" / json.loads((RUN / "spaces/spaces.json").read_text())["judge"]["file"]
    space.write_bytes(space.read_bytes().replace(b"(400, 96)", b"(200, 96)"))
    answer = hume("score", "--labels", "truth.npy")
    assert answer.code == 2 and "is not as" in answer.err, answer.err


def test_tables_and_figures_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for table, reads in (
        ({"label": ["x"]}, lambda: read_predictions(path, 1)),
        ({"label": [1]}, lambda: read_predictions(path, 2)),
        ({"index": [0]}, lambda: read_evaluations(path, 2)),
        ({"index": [9], "step": [1]}, lambda: read_evaluations(path, 2)),
        ({"k": [2]}, lambda: read_tried(path)),
        ({"k": ["x"], "support": [1]}, lambda: read_tried(path)),
    ):
        pd.DataFrame(table).to_csv(path, index=False)
        with pytest.raises(InputError, match=r"a\.csv"):
            reads()
    for text in ("[]", "{", "[" * 100_000):
        path.write_text(text)
        for read in (read_json, read_rows):
            with pytest.raises(InputError, match=r"a\.csv"):
                read(path)
