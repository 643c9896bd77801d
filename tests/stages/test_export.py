"""`export`: the trained network in other hands."""

import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hume_ssl.export import onnx_model, write
from hume_ssl.train.models import Classifier, build_network
from hume_ssl.train.trained import Trained, load, rebuild
from tests.conftest import Hume, artefacts_of, files_of

HERE = Path("hume-run/export")
NAMES = ["zero", 'o"ne', "<two>", "drei, vier", "fünf", *(f"class-{i:02d}" for i in range(5, 10))]


def rename() -> None:
    pd.DataFrame({"class": range(10), "name": NAMES}).to_csv("hume-run/classes.csv", index=False)


def snippet(readme: str, title: str) -> str:
    """The indented block below a line of README.txt."""
    block = readme.split(title + "\n")[1].strip("\n").split("\n\n")
    lines = [line for part in block for line in [*part.splitlines(), ""]]
    end = next((i for i, line in enumerate(lines) if line and not line.startswith("    ")), len(lines))
    return textwrap.dedent("\n".join(lines[:end]))


def assert_as_trained(probabilities: np.ndarray) -> None:
    """Those of the stored network within 1e-5; and of the training, whose own may have been computed in bfloat16."""
    network = load(Path("hume-run/train/fixmatch-per-class-2/model.safetensors")).model
    with torch.inference_mode():
        expected = network(torch.from_numpy(np.load("digits.npy"))[:, None]).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    predictions = pd.read_csv("hume-run/train/fixmatch-per-class-2/predictions.csv")
    assert (probabilities.argmax(1) == predictions["label"]).mean() > 0.98
    np.testing.assert_allclose(probabilities.max(1), predictions["confidence"], atol=0.02)


def run_onnx(path: Path | bytes, images: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """Probabilities and metadata, by onnxruntime."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(
        path if isinstance(path, bytes) else str(path), providers=["CPUExecutionProvider"]
    )
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type) == ("images", "tensor(uint8)")
    (given,) = session.run(["probabilities"], {"images": images})
    return given, session.get_modelmeta().custom_metadata_map


def test_a_state_dict_that_its_readme_loads(hume: Hume, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of README.txt are run, and the network gives the predictions of the training."""
    rename()
    answer = hume("export", "--to", "torch", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["path"] == "hume-run/export/torch/model.pth"
    digits = torch.from_numpy(np.load("digits.npy"))[:, None]
    assert json.loads((HERE / "torch/classes.json").read_text(encoding="utf-8")) == NAMES
    made: dict[str, Any] = {}
    with monkeypatch.context() as there:
        there.chdir(HERE / "torch")
        readme = Path("README.txt").read_text()
        exec(snippet(readme, "With hume_ssl:"), made)
    assert made["classes"] == NAMES
    assert_as_trained(made["network"](digits).softmax(1).detach().numpy())
    assert "(b, 1, 8, 8)" in readme and str(done) not in readme


def test_onnx_gives_the_predictions_of_the_training(hume: Hume, done: Path) -> None:
    """By onnxruntime, within 1e-5, whatever the size of the batch; names and facts travel along, local paths do not."""
    onnx = pytest.importorskip("onnx")
    rename()
    assert hume("export", "--to", "onnx").code == 0
    digits = np.load("digits.npy")[:, None]
    given, metadata = run_onnx(HERE / "onnx/model.onnx", digits)
    assert_as_trained(given)
    for b in (1, 3):
        np.testing.assert_allclose(run_onnx(HERE / "onnx/model.onnx", digits[:b])[0], given[:b], atol=1e-5)
    assert json.loads(metadata["classes"]) == NAMES
    assert json.loads(metadata["hume_ssl"])["network"] == "small-cnn"
    data = (HERE / "onnx/model.onnx").read_bytes()
    onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
    for local in (os.fsencode(Path(torch.__file__).parent), b"models.py", os.fsencode(done)):
        assert local not in data


@pytest.mark.parametrize("exported", [True, False])
@pytest.mark.parametrize("name", ["small-cnn", "wrn-28-2"])
def test_both_exporters_agree_with_torch(name: str, exported: bool) -> None:
    pytest.importorskip("onnx")
    mean, std = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 61.0, 62.0])
    network = build_network(name, channels=3, classes=4, size=(16, 16), steps=100, seed=0)
    model = torch.nn.Sequential(Classifier(network, mean, std), torch.nn.Softmax(1)).eval()
    images = torch.randint(256, (5, 3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with onnx_model._quiet(), torch.inference_mode():
        data = onnx_model.convert(model, images[:2], exported).SerializeToString()
        expected = model(images)
    np.testing.assert_allclose(run_onnx(data, images.numpy())[0], expected, atol=1e-5)


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_the_table_of_states_and_equal_bytes(hume: Hume, done: Path, form: str) -> None:
    pytest.importorskip("onnx")
    assert hume("export", "--to", form).code == 0
    before = files_of(Path("hume-run"))
    again = hume("export", "--to", form)
    assert again.code == 0 and "nothing to do" in again.out and files_of(Path("hume-run")) == before
    (HERE / form / "mine.txt").write_text("my own")
    assert hume("export", "--to", form, "--overwrite").code == 0
    assert (HERE / form / "mine.txt").read_text() == "my own"
    (HERE / form / "mine.txt").unlink()
    after = artefacts_of(Path("hume-run"))
    assert after == {name: before[name] for name in after}
    rename()
    refused = hume("export", "--to", form)
    assert refused.code == 2 and "names was" in refused.err and "--overwrite" in refused.err


def test_missing_packages_are_named(hume: Hume, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    before = files_of(Path("hume-run"))
    answer = hume("export", "--to", "onnx")
    assert answer.code == 2 and "pip install 'hume_ssl[onnx]'" in answer.err
    assert files_of(Path("hume-run")) == before and not HERE.exists()


def test_a_network_that_onnx_cannot_hold_leaves_nothing(
    hume: Hume, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")

    def convert(*_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(onnx_model, "convert", convert)
    before = artefacts_of(Path("hume-run"))
    answer = hume("export", "--to", "onnx")
    assert answer.code == 2 and "no such operator" in answer.err and "--to torch" in answer.err
    assert artefacts_of(Path("hume-run")) == before and not HERE.exists()
    assert "export/onnx" not in hume("status", "--json").json["stages"]


@pytest.mark.parametrize(
    ("name", "side"), [("squeezenet1_1", 40), ("googlenet@weights.pth", 64), ("googlenet", 64), ("resnet18@it.pth", 40)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_readme_of_a_torchvision_network_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, side: int, channels: int
) -> None:
    """Without hume_ssl, also where torchvision's function needs to be told more than the number of classes."""
    facts = {"network": f"torchvision:{name}", "shape": [channels, side, side], "classes": 3, "steps": 9}
    model = rebuild(facts).eval()
    model.load_state_dict({key: value + 0.01 for key, value in model.state_dict().items()})
    monkeypatch.chdir(tmp_path)
    write("torch", Trained(model, facts), ["a", "b", "c"], tmp_path)
    made: dict[str, Any] = {}
    exec(snippet(Path("README.txt").read_text(), "With torchvision alone:"), made)
    images = torch.randint(256, (2, channels, side, side), dtype=torch.uint8)
    ours = made["network"]((images.float() - made["mean"]) / made["std"])
    torch.testing.assert_close(ours, model(images))
