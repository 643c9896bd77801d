"""timm, open_clip and torch.hub: the same features as their own code gives, from small random networks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hume_ssl.errors import InputError
from hume_ssl.items import load_items
from hume_ssl.spaces import spec as specs
from hume_ssl.spaces.embed import embed
from hume_ssl.spaces.encoders import build_network, build_preprocess, default_weights
from hume_ssl.spaces.spec import parse_spec
from hume_ssl.spaces.trust import trust
from hume_ssl.tensor_files import write_safetensors

timm = pytest.importorskip("timm")
open_clip = pytest.importorskip("open_clip")

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, shape in enumerate([(40, 60, 3), (300, 280, 3), (50, 30), (64, 64, 3)]):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A CLIP-like network of a hundredth of the smallest one's size."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny-clip.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    return "tiny-clip"


def space(folder: Path, text: str) -> np.ndarray:
    items = load_items(folder)
    return embed(items, parse_spec(text), np.ones(len(items), bool), device="cpu")


def direct(folder: Path, network: Callable[[Tensor], Tensor], transform: Callable[[Image.Image], Tensor]) -> np.ndarray:
    with torch.inference_mode():
        images = [Image.open(path).convert("RGB") for path in sorted(folder.iterdir())]
        return np.stack([network(transform(image)[None])[0].numpy() for image in images])


@pytest.mark.parametrize("classifier", [True, False])
def test_timm_equals_its_own_call(folder: Path, tmp_path: Path, classifier: bool) -> None:
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=7 if classifier else 0).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    if classifier:
        network.reset_classifier(0)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    ours = space(folder, f"timm:resnet10t@{tmp_path / 'w.pth'}")
    np.testing.assert_allclose(ours, direct(folder, network, transform), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "vit_small_patch14_dinov2.lvd142m", "convnext_tiny", "efficientnet_b1"])
def test_timm_images_are_prepared_as_its_own_transform_does(name: str) -> None:
    spec = parse_spec(f"timm:{name}")
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (333, 500, 3), dtype=np.uint8))
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    theirs = timm.data.create_transform(**config, is_training=False)(image)
    ours = build_preprocess(spec)
    torch.testing.assert_close(ours.normalise(ours(image)[None])[0], theirs, atol=1e-6, rtol=0)


def test_a_timm_transformer_takes_another_size(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = "vit_tiny_patch16_224"
    torch.save(timm.create_model(name, num_classes=0).state_dict(), tmp_path / "w.pth")
    assert space(folder, f"timm:{name}@{tmp_path / 'w.pth'}?size=64").shape == (4, 192)


def test_timm_weights_are_called_by_network_and_tag() -> None:
    assert default_weights(parse_spec("timm:resnet18.tv_in1k")) == "resnet18.tv_in1k"
    assert default_weights(parse_spec("timm:resnet18")).startswith("resnet18.")


@pytest.mark.parametrize("part", ["whole", "visual"])
def test_open_clip_equals_its_own_call(folder: Path, tmp_path: Path, tiny: str, part: str) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(tiny).eval()
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}
        if part == "whole"
        else model.visual.state_dict(),
        tmp_path / "w.pt",
    )
    transform = open_clip.image_transform(32, is_train=False)
    ours = space(folder, f"open_clip:{tiny}@{tmp_path / 'w.pt'}")
    assert ours.shape == (4, 24)
    np.testing.assert_allclose(ours, direct(folder, model.encode_image, transform), atol=1e-5, rtol=1e-5)


def test_open_clip_computes_the_activation_that_the_weights_ask_for(
    folder: Path, tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of ViT-L-14/openai, where open_clip itself warns and computes another."""
    torch.manual_seed(0)
    model = open_clip.create_model(tiny, force_quick_gelu=True).eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: {"quick_gelu": tag == "theirs"})
    transform = open_clip.image_transform(32, is_train=False)
    expected = direct(folder, model.encode_image, transform)
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: ["theirs", "others", "laion2b_e16"])
    ours = space(folder, f"open_clip:{tiny}/theirs@{tmp_path / 'w.pt'}")
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=1e-5)
    other = space(folder, f"open_clip:{tiny}@{tmp_path / 'w.pt'}")
    assert np.abs(other - expected).max() > 1e-3
    assert (
        default_weights(parse_spec(f"open_clip:{tiny}/theirs")) != f"{tiny}/theirs"
    )  # spaces made before are not taken
    assert default_weights(parse_spec(f"open_clip:{tiny}/others")) == f"{tiny}/others"
    assert default_weights(parse_spec("open_clip:ViT-B-32/laion2b_e16")) == "ViT-B-32/laion2b_e16"


def test_open_clip_stretches_its_positions_to_another_size(folder: Path, tmp_path: Path, tiny: str) -> None:
    torch.save(open_clip.create_model(tiny).state_dict(), tmp_path / "w.pt")
    assert space(folder, f"open_clip:{tiny}@{tmp_path / 'w.pt'}?size=48").shape == (4, 24)


@pytest.mark.parametrize("name", ["ViT-B-32/openai", "ViT-B-16-SigLIP/webli", "ViT-L-14/datacomp_xl_s13b_b90k"])
def test_open_clip_images_are_prepared_as_its_own_transform_does(name: str) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    network, tag = name.split("/")
    asked = open_clip.get_pretrained_cfg(network, tag)
    size = open_clip.get_model_config(network)["vision_cfg"]["image_size"]
    config = PreprocessCfg(**merge_preprocess_dict(PreprocessCfg(size=size), asked))
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (333, 500, 3), dtype=np.uint8))
    ours = build_preprocess(parse_spec(f"open_clip:{name}"))
    theirs = image_transform_v2(config, is_train=False)(image)
    torch.testing.assert_close(ours.normalise(ours(image)[None])[0], theirs, atol=1e-6, rtol=0)


HUBCONF = """
import torch
def small(pretrained=True):
    torch.manual_seed(1 if pretrained else 2)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 5, 7, 7), torch.nn.ReLU())
def no_network(pretrained=True):
    return 3
"""


def test_torch_hub_gives_the_mean_of_maps(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "hubconf.py").write_text(HUBCONF)
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 5, 7, 7), nn.ReLU())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(InputError, match=r"only a file asks for"):
        build_network(parse_spec(f"hub:{repository}/small?size=28"))
    trust([f"hub:{repository}/small?size=28"])
    preprocess = build_preprocess(parse_spec(f"hub:{repository}/small?size=28"))
    by_hand = direct(
        folder, lambda x: network(x).mean(dim=(2, 3)), lambda image: preprocess.normalise(preprocess(image)[None])[0]
    )
    np.testing.assert_allclose(space(folder, f"hub:{repository}/small?size=28"), by_hand, atol=1e-5)
    torch.save({f"{k}": v for k, v in network.state_dict().items()}, tmp_path / "w.pth")  # into pretrained=False
    from_file = space(folder, f"hub:{repository}/small@{tmp_path / 'w.pth'}?size=28")
    np.testing.assert_allclose(from_file, by_hand, atol=1e-5)
    with pytest.raises(InputError, match="gives int and not a network"):
        build_network(parse_spec(f"hub:{repository}/no_network"))
    with pytest.raises(InputError, match=r"cannot load .*by torch\.hub"):
        build_network(parse_spec(f"hub:{repository}/nothing"))


def test_a_missing_library_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specs, "find_spec", lambda name: None)
    for text in ("timm:resnet18", "open_clip:ViT-B-32/openai"):
        with pytest.raises(InputError, match=r"pip install 'hume_ssl\[encoders\]'"):
            parse_spec(text)


def test_weights_of_another_network_name_the_first_key(tmp_path: Path, tiny: str) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    for text in (f"timm:resnet10t@{tmp_path / 'w.pth'}", f"open_clip:{tiny}@{tmp_path / 'w.pth'}"):
        with pytest.raises(InputError, match=r"w\.pth are not of .*is missing"):
            build_network(parse_spec(text))


@pytest.mark.parametrize(
    "change", [{"size": [8]}, {"size": [8, 10**9]}, {"mean": []}, {"channels": 2}, {"network": None}]
)
def test_a_pretrained_encoder_whose_facts_are_damaged(tmp_path: Path, change: dict[str, object]) -> None:
    facts = {"format": "hume_ssl encoder 1", "network": "small-cnn", "channels": 1, "size": [8, 8]}
    write_safetensors(tmp_path / "e.safetensors", {}, {**facts, "mean": [0.5], "std": [0.2], **change})
    with pytest.raises(InputError, match=r"e\.safetensors is damaged"):
        build_preprocess(parse_spec(f"pretrained:small-cnn@{tmp_path / 'e.safetensors'}"))
