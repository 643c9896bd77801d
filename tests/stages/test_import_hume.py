"""`import-hume`: a run folder of published results, and that all that comes after works on it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hume_ssl.schema import SearchConfig
from hume_ssl.search.score import labelling_objective, labelling_objectives
from hume_ssl.search.subsets import Spaces
from tests.conftest import Hume, files_of
from tests.imports.test_hume_files import published_files

RUN = Path("hume-run")
K = 10


def encoder_of(weight: np.ndarray) -> nn.Module:
    """A published task encoder with these orthonormal rows (k, d1)."""
    encoder = nn.utils.parametrizations.orthogonal(nn.Linear(weight.shape[1], len(weight), bias=False))
    encoder.weight = torch.from_numpy(weight)  # the parametrisation takes orthonormal weights
    return encoder


@pytest.fixture
def published(done: Path) -> Path:
    """Files as the published code writes them, of the searches of a small digits run, and its two spaces."""
    from safetensors.numpy import load_file

    weights = load_file(RUN / "searches/encoders.safetensors")["weights"]
    unit = np.load(RUN / "spaces/labeller.npy").astype(np.float32)
    np.save("phi1_l2.npy", unit / np.linalg.norm(unit, axis=1, keepdims=True))
    shutil.copy(RUN / "spaces/judge.npy", "phi2.npy")
    scores = pd.read_csv(RUN / "searches/searches.csv")["generalization_score"]
    for seed, (weight, score) in enumerate(zip(weights, scores, strict=True)):
        published_files(Path("exp"), encoder_of(weight), seed, np.float64(score))
    shutil.rmtree(RUN)
    return done


def taken(hume: Hume, *more: str) -> pd.DataFrame:
    answer = hume("import-hume", "exp", "--labeller", "phi1_l2.npy", "--judge", "phi2.npy", *more, "--json")
    assert answer.code == 0, answer.err
    return pd.read_csv(RUN / "searches/searches.csv")


def published_labels(phi1: np.ndarray, path: Path) -> np.ndarray:
    """As evaluate.py of the published code finds them."""
    encoder = nn.utils.parametrizations.orthogonal(nn.Linear(phi1.shape[1], K, bias=False))
    encoder.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return encoder(torch.from_numpy(phi1)).detach().numpy().argmax(1)


def test_labels_and_scores_are_the_published_ones(hume: Hume, published: Path) -> None:
    searches = taken(hume)
    phi1 = np.load("phi1_l2.npy")
    labellings = np.load(RUN / "searches/labellings.npy")
    for seed in range(4):
        expected = published_labels(phi1, Path(f"exp/linear_task_{seed}.pt"))
        assert (labellings[seed] == expected).mean() > 0.999  # but for ties within rounding
    assert searches["seed"].tolist() == [0, 1, 2, 3]
    assert set(searches["stop_reason"]) == {"imported"}
    import pickle

    for seed, score in enumerate(searches["generalization_score"]):
        assert score == pickle.loads(Path(f"exp/results_{seed}.pickle").read_bytes())["CV_Score"]
    assert searches["objective"].between(0, 5).all()
    record = json.loads((RUN / "run.json").read_text())["stages"]["discover"]
    assert sorted(record["identity"]["imported"]) == sorted(path.name for path in Path("exp").iterdir())


def test_everything_after_works(hume: Hume, published: Path) -> None:
    taken(hume, "--images", "digits.npy", "--split", "0.2")
    for command in (
        ["status"],
        ["select", "--per-class", "2", "--allow-short"],
        ["train-fixmatch", "--steps", "4", "--set", "train.checkpoint_every=4"],
        ["evaluate", "--truth", "truth.npy"],
        ["score", "--labels", "truth.npy"],
        ["report"],
        ["export", "--to", "csv"],
        ["assign", "--labeller", "phi1_l2.npy", "--judge", "phi2.npy"],
    ):
        answer = hume(*command)
        assert answer.code == 0, (command, answer.err)
    consensus = pd.read_csv(RUN / "consensus.csv")
    assigned = pd.read_csv(next((RUN / "assign").glob("*.csv")))
    assert (assigned["label"] == consensus["label"]).mean() > 0.99
    assert json.loads((RUN / "evaluation.json").read_text())["consensus"]["acc"] > 0.6


def test_again_and_other_files(hume: Hume, published: Path) -> None:
    taken(hume)
    before = files_of(RUN)
    answer = hume("import-hume", "exp", "--labeller", "phi1_l2.npy", "--judge", "phi2.npy")
    assert answer.code == 0 and "already" in answer.out + answer.err
    assert files_of(RUN) == before
    Path("exp/linear_task_3.pt").unlink()
    answer = hume("import-hume", "exp", "--labeller", "phi1_l2.npy", "--judge", "phi2.npy")
    assert answer.code == 2 and "--overwrite" in answer.err and files_of(RUN) == before
    assert len(taken(hume, "--overwrite")) == 3
    answer = hume("discover", "--recipe", str(RUN / "recipe.toml"))
    assert answer.code == 2 and len(answer.err.strip().splitlines()) == 1


def test_without_results_the_score_is_ours(hume: Hume, published: Path) -> None:
    given = taken(hume)
    for path in Path("exp").glob("results_*"):
        path.unlink()
    own = taken(hume, "--overwrite")
    np.testing.assert_allclose(own["generalization_score"], given["generalization_score"], atol=0.03)
    np.testing.assert_allclose(own["objective"], given["objective"])


def test_what_does_not_belong_together(hume: Hume, published: Path) -> None:
    spaces = ["--labeller", "phi1_l2.npy", "--judge", "phi2.npy"]
    np.save("short.npy", np.load("phi2.npy")[:-1])
    for call, told in [
        (["exp", "--labeller", "phi2.npy", "--judge", "phi1_l2.npy"], "that was its --phi1_path"),
        (["exp", "--labeller", "phi1_l2.npy", "--judge", "short.npy"], "399 rows"),
        (["nowhere", *spaces], "nowhere is no folder"),
        ([".", *spaces], "no linear_task_SEED.pt"),
    ]:
        answer = hume("import-hume", *call)
        assert answer.code == 2 and told in answer.err, answer.err
        assert len(answer.err.strip().splitlines()) == 1 and not RUN.exists()
    torch.save({"weight": torch.eye(3, 64)}, "exp/linear_task_9.pt")
    answer = hume("import-hume", "exp", *spaces)
    assert answer.code == 2 and "import searches of one kind" in answer.err and not RUN.exists()


def test_objectives_side_by_side_are_those_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    space = generator.normal(size=(120, 6)).astype(np.float32)
    spaces = Spaces(space, [space], np.arange(120), None, "cpu")
    labellings = generator.integers(0, 3, (5, 120))
    config = SearchConfig()
    alone = [labelling_objective(spaces, row, 3, config) for row in labellings]
    np.testing.assert_allclose(labelling_objectives(spaces, labellings, 3, config), alone, rtol=1e-5)
    monkeypatch.setattr("hume_ssl.search.score.CELLS", 2 * 120 * 3)
    np.testing.assert_allclose(labelling_objectives(spaces, labellings, 3, config), alone, rtol=1e-5)
