"""The published code's files, written as it writes them, read back; and files that are meant to do harm."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hume_ssl.errors import InputError
from hume_ssl.imports.hume_files import find_results, find_tasks, read_score, read_task


def published_encoder(d1: int, k: int, seed: int) -> nn.Module:
    """The task encoder as hume.py makes it."""
    torch.manual_seed(seed)
    encoder = nn.Linear(d1, k, bias=False)
    return nn.utils.parametrizations.orthogonal(encoder)


def published_files(folder: Path, encoder: nn.Module, seed: int, score: Any) -> None:
    """What hume.py saves at the end of a search."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"results_{seed}.pickle", "wb") as handle:
        pickle.dump({"CV_Score": score}, handle, protocol=pickle.HIGHEST_PROTOCOL)
    torch.save(encoder.state_dict(), folder / f"linear_task_{seed}.pt")


@pytest.mark.parametrize(("d1", "k"), [(12, 3), (7, 7), (64, 10)])
def test_a_task_file_gives_the_encoder_back(tmp_path: Path, d1: int, k: int) -> None:
    encoder = published_encoder(d1, k, 5)
    with torch.no_grad():
        moved = encoder.parametrizations.weight.original
        moved.add_(0.1 * torch.randn(k, d1).triu(1))  # as after training, which moves what is beside the diagonal
    published_files(tmp_path, encoder, 5, 0.5)
    weight = read_task(tmp_path / "linear_task_5.pt")
    np.testing.assert_allclose(weight, encoder.weight.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(weight @ weight.T, np.eye(k), atol=1e-5)


def test_a_plain_weight_will_do(tmp_path: Path) -> None:
    torch.save({"weight": torch.eye(3, 5)}, tmp_path / "linear_task_0.pt")
    assert read_task(tmp_path / "linear_task_0.pt").tolist() == np.eye(3, 5).tolist()


def test_which_files_there_are(tmp_path: Path) -> None:
    for name in ("linear_task_10.pt", "linear_task_2.pt", "linear_task_7_3.pt", "results_2.pickle", "other.pt"):
        (tmp_path / name).touch()
    assert list(find_tasks(tmp_path)) == [2, 10] and list(find_results(tmp_path)) == [2]
    with pytest.raises(InputError, match="is no folder"):
        find_tasks(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no linear_task_SEED"):
        find_tasks(tmp_path / "empty")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "score", [0.9375, 1, 0, np.float64(0.75), np.float32(0.5), np.array(0.25), np.array([0.125]), np.float64(1 / 3)]
)
def test_scores_of_every_kind(tmp_path: Path, score: Any, protocol: int) -> None:
    path = tmp_path / "results_0.pickle"
    path.write_bytes(pickle.dumps({"CV_Score": score}, protocol=protocol))
    assert read_score(path) == float(np.ravel(score)[0])


class Harm:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_that_would_run_a_command_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for value in ({"CV_Score": Harm(mark)}, Harm(mark), {"CV_Score": 0.5, "x": Harm(mark)}):
        (tmp_path / "results_0.pickle").write_bytes(pickle.dumps(value))
        with pytest.raises(InputError, match=r"asks for (posix|nt)\.system"):
            read_score(tmp_path / "results_0.pickle")
        torch.save(value, tmp_path / "linear_task_0.pt")
        with pytest.raises(InputError, match="no state dict of tensors alone"):
            read_task(tmp_path / "linear_task_0.pt")
    assert not mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x05",
        b"not a pickle",
        pickle.dumps({"CV_Score": 0.5})[:-3],
        pickle.dumps({"CV_Score": "0.5"}),
        pickle.dumps({"CV_Score": 1.5}),
        pickle.dumps({"CV_Score": float("nan")}),
        pickle.dumps({"CV_Score": True}),
        pickle.dumps({"CV_Score": np.arange(3.0)}),
        pickle.dumps({"CV_Score": np.array("x")}),
        pickle.dumps([0.5]),
        pickle.dumps({"CV_Score": {1, 2}}),
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"\x80\x04P0\n.",
        b"x" * (2 << 20),
    ],
)
def test_results_that_hold_no_score(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "results_0.pickle"
    path.write_bytes(data)
    with pytest.raises(InputError) as told:
        read_score(path)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    "value",
    [
        {"bias": torch.zeros(3)},
        {"weight": torch.zeros(3)},
        {"weight": torch.zeros(5, 3)},
        {"weight": torch.full((2, 3), float("nan"))},
        {"parametrizations.weight.original": torch.zeros(3, 5)},
        [1, 2],
        {"weight": "x"},
        nn.Linear(3, 2),
    ],
)
def test_files_that_are_no_task(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "linear_task_0.pt"
    torch.save(value, path)
    with pytest.raises(InputError) as told:
        read_task(path)
    assert str(path) in str(told.value) and len(str(told.value).splitlines()) == 1
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError):
        read_task(path)


@pytest.mark.parametrize(
    "opcodes", [b"r\xff\xff\xff\x0f", b"\x96" + (1 << 34).to_bytes(8, "little"), b"p99999999999\n"]
)
def test_a_pickle_that_asks_for_memory_gets_none(tmp_path: Path, opcodes: bytes) -> None:
    path = tmp_path / "results_0.pickle"
    path.write_bytes(b"\x80\x05}" + opcodes + pickle.dumps({"CV_Score": 0.5}, protocol=5)[2:])
    with pytest.raises(InputError, match="no readable results file") as caught:
        read_score(path)
    assert not isinstance(caught.value.__cause__, MemoryError)
