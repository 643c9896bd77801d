"""torchvision's classifiers to train: a fresh last layer, all else from the file, and what cannot be trained."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from hume_ssl.errors import InputError
from hume_ssl.spaces.torchvision_weights import last_classifier
from hume_ssl.train.models import build_classifier, build_network
from hume_ssl.train.torchvision_network import pretraining_statistics

STATISTICS = (torch.tensor([100.0]), torch.tensor([50.0]))


def build(name, **changes):
    return build_network(name, **{"channels": 3, "classes": 5, "size": (64, 64), "steps": 20_000, "seed": 0} | changes)


def save(network: nn.Module, path: Path) -> str:
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("squeezenet1_1", "classifier.1"),
        ("resnet18", "fc"),
        ("mobilenet_v3_small", "classifier.3"),
        ("shufflenet_v2_x0_5", "fc"),
    ],
)
def test_all_but_the_last_classifier_comes_from_the_file(name: str, last: str, tmp_path: Path) -> None:
    """The file has 7 classes, the network 5; another seed changes the last layer alone."""
    torch.manual_seed(0)
    whole = torchvision.models.get_model(name, weights=None, num_classes=7)
    assert last_classifier(whole) == last
    text = f"torchvision:{name}@{save(whole, tmp_path / 'w.pth')}"
    network, stored = build(text, seed=1), whole.state_dict()
    for key, value in network.state_dict().items():
        if key.startswith(last + "."):
            assert len(value) == 5
        else:
            assert torch.equal(value, stored[key]), key
    other = build(text, seed=2).state_dict()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, other[key])}
    assert f"{last}.weight" in changed and changed <= {f"{last}.weight", f"{last}.bias"}
    assert network.training and network(torch.rand(2, 3, 64, 64)).shape == (2, 5)


def test_side_classifiers_are_left_out(tmp_path: Path) -> None:
    """googlenet's file has them; the network that is trained gives logits alone, and reads images as its weights do."""
    whole = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False, num_classes=7)
    network = build(f"torchvision:googlenet@{save(whole, tmp_path / 'w.pth')}")
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 5) and network.transform_input
    assert torch.equal(network.conv1.conv.weight, whole.conv1.conv.weight)


def test_from_scratch_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, same, other = (build("torchvision:resnet18", seed=seed).conv1.weight for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_normalisation_is_that_of_the_weights(tmp_path: Path) -> None:
    """ImageNet's mean and deviation with a file; those of the images, for each of three channels, from scratch."""
    whole = torchvision.models.squeezenet1_1(weights=None)
    text = f"torchvision:squeezenet1_1@{save(whole, tmp_path / 'w.pth')}"
    keys = {"channels": 1, "classes": 5, "size": (64, 64), "steps": 10, "seed": 0, "statistics": STATISTICS}
    fine, scratch = build_classifier(text, **keys), build_classifier("torchvision:squeezenet1_1", **keys)
    imagenet = 255 * torch.tensor([0.485, 0.456, 0.406])
    torch.testing.assert_close(fine.mean.flatten(), imagenet)
    assert scratch.mean.flatten().tolist() == [100.0] * 3 and scratch.std.flatten().tolist() == [50.0] * 3
    assert pretraining_statistics("torchvision:squeezenet1_1") is None
    assert fine(torch.zeros(2, 1, 64, 64, dtype=torch.uint8)).shape == (2, 5)


def test_the_state_dict_alone_is_enough_without_the_file(tmp_path: Path) -> None:
    """`load=False`: the file may be gone once a network is trained."""
    text = f"torchvision:squeezenet1_1@{tmp_path / 'gone.pth'}"
    with pytest.raises(InputError, match=r"no weights file .*gone\.pth"):
        build(text)
    assert build(text, load=False)(torch.rand(1, 3, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("torchvision:resnet18", {"channels": 2}, "1 or 3 channels, these have 2"),
        ("torchvision:squeezenet1_1", {"size": (8, 8)}, r"cannot take images of 8 x 8 pixels.*train\.size"),
        ("torchvision:squeezenet1_1", {"size": (14, 64)}, r"cannot take images of 14 x 64 pixels.*train\.size"),
        ("torchvision:vit_b_32", {}, r"cannot take images of 64 x 64 pixels.*train\.size"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(name: str, changes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(name, **changes)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = save(torchvision.models.squeezenet1_1(weights=None), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth are not of torchvision:resnet18: .*missing"):
        build(f"torchvision:resnet18@{path}")
