"""A trained network as one file, and what it says of new images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hume_ssl import __version__, tensor_files
from hume_ssl.errors import InputError
from hume_ssl.items import Items
from hume_ssl.progress import Progress, Silent
from hume_ssl.spaces.decode import in_batches, pixels_of
from hume_ssl.train.devices import SMALL_NETWORKS, threads
from hume_ssl.train.models import build_classifier
from hume_ssl.train.prediction import chunk_size
from hume_ssl.train.sources import as_tensor
from hume_ssl.train_config import TrainConfig


@dataclass(frozen=True)
class Trained:
    """A classifier that takes uint8 images (b, c, h, w) and gives logits (b, k), and the facts it is rebuilt from.

    `facts`: network, shape (of one item as the network takes it: c, h, w), classes (k) and steps; of a head
    also encoder, rooted and width (:mod:`hume_ssl.train.encoded_head`), its shape being (d,) on a space; in a file also
    class_names (as they were when training ended) and hume_ssl (the version).
    """

    model: nn.Module
    facts: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of the images it takes. Raises InputError for a head on a space, which takes none."""
        if len(self.facts["shape"]) == 1:
            raise InputError(
                f"this head was trained on a space of {self.facts['shape'][0]} features and takes no images: train one "
                "on images, with --set train.encoder=torchvision:NAME"
            )
        channels, height, width = self.facts["shape"]
        return int(channels), int(height), int(width)


def preparation(facts: Mapping[str, Any]) -> str:
    """In words, how an image becomes what the network takes; "" for a head on a space."""
    if len(facts["shape"]) == 1:
        return ""
    channels, height, width = facts["shape"]
    colours = "to red, green and blue" if channels == 3 else "to grey"
    if "encoder" in facts:
        from hume_ssl.spaces.encoders import build_preprocess
        from hume_ssl.spaces.spec import parse_spec

        how = build_preprocess(parse_spec(facts["encoder"]))
        whole = not isinstance(how.resize, int)
        resize = f"to {how.size[0]} x {how.size[1]}" if whole else f"its shorter side to {how.resize}"
        crop = "" if how.crop is None else f", then the central {how.crop} x {how.crop}"
        return f"converted {colours}, resized {resize} ({how.interpolation}, antialiased){crop}"
    return f"converted {colours}, resized to {height} x {width} whatever its proportions (bilinear, antialiased)"


def describe(config: TrainConfig, *, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """What :func:`rebuild` needs, as JSON has it; of a weights file the name alone, since it is not read again.

    Args:
        config: resolved settings.
        shape: of one item as the network takes it, (c, h, w), or (d,) of a head.
        classes: k.
    """
    name, at, weights = config.network.partition("@")
    return {
        "network": name + at + Path(weights).name,
        "shape": list(shape),
        "classes": classes,
        "steps": int(config.steps),
    }


def rebuild(facts: Mapping[str, Any]) -> nn.Module:
    """The classifier that :func:`describe` described, with weights still to be loaded: `load_state_dict`."""
    if facts["network"] == "head":
        from hume_ssl.train.encoded_head import rebuild_head

        return rebuild_head(facts)
    channels, height, width = (int(size) for size in facts["shape"])
    return build_classifier(
        facts["network"],
        channels=channels,
        classes=int(facts["classes"]),
        size=(height, width),
        steps=int(facts["steps"]),
        seed=0,
        statistics=(torch.zeros(channels), torch.ones(channels)),
        load=False,
    )


def save(path: Path, state_dict: Mapping[str, Tensor], facts: Mapping[str, Any], class_names: list[str]) -> None:
    """Write weights and facts to one safetensors file: the same bytes for the same training."""
    tensor_files.write_safetensors(path, state_dict, {**facts, "class_names": class_names, "hume_ssl": __version__})


def load(path: Path) -> Trained:
    """The network that :func:`save` wrote, on the CPU, in evaluation mode. Raises InputError for any other file."""
    tensors, facts = tensor_files.read_safetensors(path)
    return from_state(tensors, facts, str(path))


def from_state(state_dict: Mapping[str, Tensor], facts: Mapping[str, Any], name: str) -> Trained:
    """A network from its weights and facts; `name` is what a refusal calls it."""
    try:
        model = rebuild(facts)
        model.load_state_dict(state_dict)
    except (KeyError, ValueError, RuntimeError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(f"{name} holds no network of this version of hume_ssl: {error}: train it again") from error
    return Trained(model.eval().to(memory_format=torch.channels_last), dict(facts))


def label(
    trained: Trained, items: Items, device: torch.device, progress: Progress | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Most probable class and its probability for each of m images, decoded and labelled a chunk at a time.

    Images of other sizes or colours are brought to those of the training, as the training's own were. Items of the
    training get the labels and confidences that it gave them (of a head, whose stored views are rounded, nearly those):
    in float32, whatever the training ran in.

    Args:
        items: m images.
        device: where the network runs.
        progress: advanced by one an image.

    Returns:
        labels (m,), and probabilities (m,) in [1/k, 1].

    Raises:
        InputError: there are no images, or one cannot be read.
    """
    if not items.has_images:
        raise InputError("these items have no images to label: give a folder, a CSV with filepath or an array")
    progress = progress or Silent()
    labels, confidence = np.empty(len(items), np.int64), np.empty(len(items), np.float32)
    model = trained.model.to(device)
    small = device.type == "cpu" and trained.facts["network"] in SMALL_NETWORKS  # one thread, as in its training
    with threads(1 if small else torch.get_num_threads()), torch.inference_mode():
        start = 0
        for images in batches(trained, items):
            rows = slice(start, start := start + len(images))
            found = model(images.to(device)).softmax(1).max(1)
            confidence[rows], labels[rows] = found.values.cpu().numpy(), found.indices.cpu().numpy()
            progress.advance(len(images))
    return labels, confidence


def batches(trained: Trained, items: Items) -> Iterator[Tensor]:
    """uint8 (b, c, h, w) batches of the items in their order, as the network takes them."""
    shape = trained.shape
    if "encoder" in trained.facts:
        from hume_ssl.train.encoded_head import encoder_images

        yield from encoder_images(items, trained.facts)
        return
    channels, height, width = shape
    for rows in in_batches(range(len(items)), chunk_size(shape)):
        yield as_tensor(pixels_of(items, rows, (height, width), channels))
