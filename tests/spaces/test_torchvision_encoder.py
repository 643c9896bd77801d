"""torchvision networks: the right layer, the weights of a file, and every wrong file by name."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import transforms

from hume_ssl.errors import InputError
from hume_ssl.spaces.encoders import output_width
from hume_ssl.spaces.spec import EncoderSpec, parse_spec
from hume_ssl.spaces.torchvision_encoder import build_network, build_preprocess, cut_classifier
from hume_ssl.spaces.torchvision_weights import read_state


def spec_of(path: Path, name: str = "squeezenet1_1", size: int = 64) -> EncoderSpec:
    return parse_spec(f"torchvision:{name}@{path}?size={size}")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("squeezenet1_1", 512),
        ("resnet18", 512),
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 1024),
        ("efficientnet_b0", 1280),
        ("densenet121", 1024),
        ("shufflenet_v2_x0_5", 1024),
        ("regnet_y_400mf", 440),
    ],
)
def test_the_input_of_the_last_classifier(name: str, width: int) -> None:
    """The cut network's output, put through the layer that was cut off, is the whole network's output."""
    torch.manual_seed(0)
    whole = torchvision.models.get_model(name, weights=None).eval()
    linear = [module for module in whole.modules() if isinstance(module, nn.Linear)]
    x = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        logits = whole(x)
        if linear:
            features = cut_classifier(whole)(x)
            torch.testing.assert_close(linear[-1](features), logits)
        else:
            pooled = whole.features(x).mean(dim=(2, 3))
            features = cut_classifier(whole)(x)
            torch.testing.assert_close(features, pooled)
    assert features.shape == (2, width)


def test_a_transformer_is_cut_at_its_head() -> None:
    whole = torchvision.models.VisionTransformer(32, 16, 1, 2, 24, 48).eval()
    head = whole.heads.head
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        logits = whole(x)
        torch.testing.assert_close(head(cut_classifier(whole)(x)), logits)


def test_safetensors_and_pth_are_the_same(weights: Path, tmp_path: Path) -> None:
    save_file(torch.load(weights, weights_only=True), tmp_path / "w.safetensors")
    a, b = build_network(spec_of(weights)), build_network(spec_of(tmp_path / "w.safetensors"))
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(a(x), b(x), rtol=0, atol=0)
    assert not a.training and not any(p.requires_grad for p in a.parameters())


def test_names_of_old_densenet_files_are_understood(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = torchvision.models.densenet121(weights=None).eval()
    state = {
        key.replace("norm1", "norm.1").replace("norm2", "norm.2").replace("conv1", "conv.1").replace("conv2", "conv.2")
        if "denselayer" in key
        else key: value
        for key, value in whole.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, tmp_path / "old.pth")
    network = build_network(spec_of(tmp_path / "old.pth", "densenet121"))
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), cut_classifier(whole)(x))


def test_wrong_weights_name_the_file_and_the_first_key(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    cases = {
        "missing.pth": ({k: v for k, v in state.items() if k != "features.3.squeeze.bias"}, "features.3.squeeze.bias"),
        "extra.pth": ({**state, "extra.weight": torch.zeros(1)}, "extra.weight is unexpected"),
        "shape.pth": ({**state, "features.0.bias": torch.zeros(3)}, r"size mismatch for features\.0\.bias"),
        "nested.pth": ({"optimizer": {"lr": 0.1}, "epoch": state}, "no plain state dict"),
        "list.pth": ([1, 2], "no plain state dict"),
    }
    for name, (value, message) in cases.items():
        torch.save(value, tmp_path / name)
        with pytest.raises(InputError, match=message) as caught:
            build_network(spec_of(tmp_path / name))
        assert name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"fc\.weight|layer|conv1"):
        build_network(spec_of(weights, "resnet18"))


class Harmful:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_code_in_a_weights_file_is_never_run(tmp_path: Path) -> None:
    torch.save({"w": Harmful(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="no plain state dict"):
        read_state(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_weights_files(weights: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    with pytest.raises(InputError, match=path.name):
        read_state(path)
    for data in (b"", b"no weights", weights.read_bytes()[:5000]):
        path.write_bytes(data)
        with pytest.raises(InputError, match=path.name):
            read_state(path)


def test_preprocessing_equals_torchvisions_own() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    for name in ("squeezenet1_1", "efficientnet_b0"):
        ours = build_preprocess(parse_spec(f"torchvision:{name}"))
        expected = torchvision.models.get_model_weights(name).DEFAULT.transforms()(image)
        torch.testing.assert_close(ours.normalise(ours(image)[None])[0], expected)
        assert ours.size == tuple(expected.shape[1:])


def test_size_resizes_to_a_square_without_a_crop() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8))
    ours = build_preprocess(parse_spec("torchvision:squeezenet1_1?size=48"))
    expected = transforms.Compose(
        [
            transforms.Resize((48, 48)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(image.convert("RGB"))
    torch.testing.assert_close(ours.normalise(ours(image)[None])[0], expected)


def test_a_size_the_network_cannot_take_is_refused(weights: Path) -> None:
    spec = spec_of(weights, size=4)
    with pytest.raises(InputError, match=r"4 x 4 pixels.*another \?size="):
        output_width(build_network(spec), build_preprocess(spec), spec)
