"""Which encoders to take: the pairs to choose from, what of them is on this machine, and the best pair there is.

Nothing here asks the network: weights count as there if their library's own cache has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hume_ssl.spaces.spec import EXTRAS, EncoderSpec, split_spec

KERNEL = "kernel:rbf"
KERNELS = ("kernel:rbf?width=0.5&dim=512", "kernel:rbf?width=0.7&dim=1024")


@dataclass(frozen=True)
class Pair:
    """A labeller and a judge.

    Attributes:
        of: which images and which machine it is for.
        labeller, judge: encoders; a labeller `pretrain` stands for that command.
        why: in a sentence.
        colour: whether it is for photographs.
        gpu: whether it needs a GPU to be done today.
    """

    of: str
    labeller: str
    judge: str
    why: str
    colour: bool
    gpu: bool


PRETRAIN = "pretrain"

# The best first, of those that are of use on a machine.
PAIRS = (
    Pair(
        "photographs, a GPU",
        "hub:facebookresearch/dinov2/dinov2_vitl14",
        "open_clip:ViT-L-14/openai",
        "TURTLE's pair, the strongest on its 26 data sets: one seen without words, one with (its DINOv2 is ViT-g/14)",
        True,
        True,
    ),
    Pair(
        "photographs of your own kind, a GPU and a night",
        PRETRAIN,
        "hub:facebookresearch/dinov2/dinov2_vitl14",
        "HUME's pair: the labeller self-supervised on your images (the paper: MoCo v2), the judge large and pretrained",
        True,
        True,
    ),
    Pair(
        "photographs, no GPU",
        "timm:vit_small_patch14_dinov2.lvd142m?size=126",
        "torchvision:resnet50",
        "the smallest DINOv2 at a size that a laptop can take, and a network that saw labels",
        True,
        False,
    ),
    Pair(
        "photographs, no GPU, little time",
        "torchvision:mobilenet_v2",
        "torchvision:resnet50",
        "close to the pair of our CIFAR-10 figures; both were taught the labels of ImageNet, and share mistakes",
        True,
        False,
    ),
    Pair(
        "small grey images: digits, symbols",
        PRETRAIN,
        "kernel:rbf",
        "a small network taught on your images in minutes without a GPU, judged by their pixels",
        False,
        False,
    ),
    Pair(
        "small grey images, at once",
        *KERNELS,
        "nothing to download and nothing to train: random features of the pixels at two widths",
        False,
        False,
    ),
)


def best_here(colour: bool, gpu: bool) -> tuple[tuple[str, str], Pair]:
    """The best pair of encoders on this machine for such images, and the pair that would be better.

    Args:
        colour: the images have colour.
        gpu: there is a GPU.

    Returns:
        labeller and judge whose weights are on this machine, or the kernels; and the first pair for such images, which
        may be the same.
    """
    fitting = [pair for pair in PAIRS if pair.colour == colour and (gpu or not pair.gpu)]
    here = [p for p in fitting if p.labeller != PRETRAIN and on_this_machine(p.labeller) and on_this_machine(p.judge)]
    return ((here[0].labeller, here[0].judge) if here else KERNELS), fitting[0]


def on_this_machine(text: str) -> bool:
    """Whether an encoder can be used without asking the network: its library and its weights are here."""
    spec = split_spec(text)
    if spec.kind == "kernel" or spec.weights is not None:
        return True
    if spec.kind in EXTRAS and find_spec(spec.kind) is None:
        return False
    return {"torchvision": _torchvision, "timm": _timm, "open_clip": _open_clip, "hub": _hub}[spec.kind](spec)


def _torchvision(spec: EncoderSpec) -> bool:
    import torch
    import torchvision

    url = str(torchvision.models.get_model_weights(spec.name).DEFAULT.url)
    return (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file()


def _timm(spec: EncoderSpec) -> bool:
    import timm

    config = timm.get_pretrained_cfg(spec.name)
    repository = str(config.hf_hub_id or "") if config else ""
    return bool(repository) and _in_hub_cache(repository, "model.safetensors", "pytorch_model.bin")


def _open_clip(spec: EncoderSpec) -> bool:
    import open_clip

    repository = str((open_clip.get_pretrained_cfg(*spec.name.split("/", 1)) or {}).get("hf_hub", "")).strip("/")
    names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors")
    return bool(repository) and _in_hub_cache(repository, *names)


def _hub(spec: EncoderSpec) -> bool:
    import torch

    repository, _, entry = spec.name.rpartition("/")
    folder = Path(torch.hub.get_dir())
    code = bool(list(folder.glob(f"{repository.partition(':')[0].replace('/', '_')}_*/hubconf.py")))
    return code and any((folder / "checkpoints").glob(f"{entry}*"))


def _in_hub_cache(repository: str, *names: str) -> bool:
    """Whether the Hugging Face cache has one of these files."""
    if find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)
