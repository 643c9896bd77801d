"""A trained network as a file, and what it says of new images."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import hume_ssl
from hume_ssl.errors import InputError
from hume_ssl.items import load_items
from hume_ssl.tensor_files import read_safetensors, write_safetensors
from hume_ssl.train import TrainResult, predict, prediction, train_fixmatch, trained
from hume_ssl.train.sources import PixelSource
from hume_ssl.train_config import TrainConfig

CPU = torch.device("cpu")
SHORT = TrainConfig(steps=6, batch=4, mu=2, lr=0.03, lambda_u=1.0, precision="float32")


def images_of(shape: tuple[int, ...], n: int = 30) -> np.ndarray:
    """Noise, dark or bright."""
    images = np.random.default_rng(0).integers(0, 120, (n, *shape), dtype=np.uint8)
    images[::2] += 100
    return images


def short_training(shape: tuple[int, ...], config: TrainConfig = SHORT) -> TrainResult:
    return train_fixmatch(images_of(shape), np.arange(4), np.arange(4) % 2, classes=2, config=config, device="cpu")


def said_of(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Probabilities (n, k) by the training's own way of predicting."""
    source = PixelSource(images, CPU, flip=False, preset="fixmatch-paper")
    return predict(model, source, np.arange(len(images)))


@pytest.mark.parametrize(
    ("shape", "config"),
    [((8, 8), SHORT), ((12, 8, 3), SHORT), ((20, 20, 3), SHORT.model_copy(update={"network": "wrn-28-2", "steps": 1}))],
)
def test_a_network_read_back_says_what_it_said(tmp_path: Path, shape: tuple[int, ...], config: TrainConfig) -> None:
    result = short_training(shape, config)
    trained.save(tmp_path / "model.safetensors", result.state_dict, result.network, ["dark", "bright"])
    again = trained.load(tmp_path / "model.safetensors")
    assert again.facts["class_names"] == ["dark", "bright"] and again.shape == (3 if shape[2:] else 1, *shape[:2])
    assert said_of(again.model, images_of(shape)).max(1).tobytes() == result.confidence.tobytes()
    labels, confidence = trained.label(again, load_items(images_of(shape)), CPU)
    np.testing.assert_array_equal(labels, result.predictions)
    np.testing.assert_array_equal(confidence, result.confidence)
    trained.save(tmp_path / "twice.safetensors", again.model.state_dict(), result.network, ["dark", "bright"])
    assert (tmp_path / "twice.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_new_images_are_brought_to_the_size_and_colours_of_the_training(tmp_path: Path) -> None:
    """Files against an array of what they decode to; grey pixels as red, green and blue that are equal."""
    result = short_training((8, 10, 3))
    network = trained.from_state(result.state_dict, result.network, "it")
    rng = np.random.default_rng(1)
    big = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((33, 17, 3), (8, 10), (8, 10, 3))]
    for i, pixels in enumerate(big):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    small = np.asarray(Image.fromarray(big[0]).resize((10, 8), Image.Resampling.BILINEAR))
    expected = np.stack([small, np.repeat(big[1][:, :, None], 3, 2), big[2]])
    labels, confidence = trained.label(network, load_items(tmp_path), CPU)
    probabilities = said_of(network.model, expected)
    np.testing.assert_array_equal(labels, probabilities.argmax(1))
    np.testing.assert_array_equal(confidence, probabilities.max(1))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a chunk of images is held at once, and labels are those of all at once."""
    result = short_training((8, 8))
    network = trained.from_state(result.state_dict, result.network, "it")
    items = load_items(images_of((8, 8)))
    monkeypatch.setattr(prediction, "VALUES", 7 * 64 + 5)
    seen: list[int] = []
    whole = trained.pixels_of
    monkeypatch.setattr(trained, "pixels_of", lambda i, rows, *rest: seen.append(len(rows)) or whole(i, rows, *rest))
    labels, confidence = trained.label(network, items, CPU)
    assert seen == [7, 7, 7, 7, 2]
    np.testing.assert_array_equal(labels, result.predictions)
    np.testing.assert_allclose(confidence, result.confidence, rtol=1e-5)


def test_the_api_labels_new_images_by_a_training(tmp_path: Path) -> None:
    result = short_training((8, 8))
    np.save(tmp_path / "new.npy", images_of((8, 8))[10:])
    for new in (images_of((8, 8))[10:], tmp_path / "new.npy"):
        labels, confidence = hume_ssl.assign(result, new, device="cpu")
        np.testing.assert_array_equal(labels, result.predictions[10:])
        np.testing.assert_allclose(confidence, result.confidence[10:], rtol=1e-5)
    with pytest.raises(InputError, match="uint8"):
        hume_ssl.assign(result, np.zeros((3, 8, 8)))


def test_other_files_are_refused(tmp_path: Path) -> None:
    result = short_training((8, 8))
    path = tmp_path / "model.safetensors"
    for change in ({"network": "resnet-9000"}, {"classes": 3}, {"shape": [3, 8, 8]}, {"shape": []}):
        trained.save(path, result.state_dict, {**result.network, **change}, ["a", "b"])
        with pytest.raises(InputError, match="train it again"):
            trained.load(path)
    write_safetensors(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(InputError, match="train it again"):
        trained.load(path)
    path.write_bytes(b"no such thing")
    with pytest.raises(InputError, match=r"cannot read .*model.safetensors"):
        trained.load(path)


def test_a_weights_file_is_not_needed_again_and_its_folder_not_told(tmp_path: Path) -> None:
    """Fine-tuned from a file that is gone afterwards: the network is the same one, which scales its input itself."""
    options = {"weights": None, "num_classes": 5, "init_weights": False, "aux_logits": False}
    path = tmp_path / "secret" / "googlenet.pth"
    path.parent.mkdir()
    torch.save(torchvision.models.get_model("googlenet", **options).state_dict(), path)
    config = SHORT.model_copy(update={"network": f"torchvision:googlenet@{path}", "steps": 1, "batch": 2, "mu": 1})
    result = short_training((32, 32, 3), config)
    trained.save(tmp_path / "model.safetensors", result.state_dict, result.network, ["a", "b"])
    path.unlink()
    assert b"secret" not in (tmp_path / "model.safetensors").read_bytes()
    labels, confidence = trained.label(
        trained.load(tmp_path / "model.safetensors"), load_items(images_of((32, 32, 3))), CPU
    )
    np.testing.assert_array_equal(labels, result.predictions)
    np.testing.assert_array_equal(confidence, result.confidence)


def test_the_facts_are_those_of_the_training(tmp_path: Path) -> None:
    result = short_training((12, 8, 3))
    trained.save(tmp_path / "m.safetensors", result.state_dict, result.network, ["a", "b"])
    _, facts = read_safetensors(tmp_path / "m.safetensors")
    assert json.loads(json.dumps(dataclasses.asdict(result)["network"])) == result.network
    assert facts == {
        "network": "small-cnn", "shape": [3, 12, 8], "classes": 2, "steps": 6,
        "class_names": ["a", "b"], "hume_ssl": hume_ssl.__version__,
    }  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"shape": 3}, {"shape": ["a", 8, 8]}, {"classes": None}, {"network": 4}, {"steps": 0}, {"shape": [1, 8]}]
)
def test_a_file_whose_facts_are_damaged_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    result = short_training((8, 8))
    trained.save(tmp_path / "m.safetensors", result.state_dict, {**result.network, **change}, ["a", "b"])
    with pytest.raises(InputError, match=r"m\.safetensors"):
        trained.load(tmp_path / "m.safetensors")
