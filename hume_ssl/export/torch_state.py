"""A network as a plain torch state dict, with its class names and a few lines on how to load it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hume_ssl import files

if TYPE_CHECKING:
    from hume_ssl.train.trained import Trained

README = """\
model.pth     torch state dict of the trained network ({network}): loads with weights_only=True, no pickled code
classes.json  class names; the position in the list is the class id

{takes}
Output: logits (b, {classes}); softmax(1) gives the probabilities.

With hume_ssl:

{ours}
{theirs}"""
IMAGES = """\
Input: uint8 images (b, {channels}, {height}, {width}), {order}, 0 to 255, as they are: subtracting the mean and
dividing by the standard deviation is part of the network (its buffers mean and std, in 0..255 units).
An image is {preparation}.
"""
VECTORS = """\
Input: rows of the judge space, float32 (b, {width}): a linear layer, with the mean and the scale of its input inside.
"""
OURS = """\
    import json, torch
    from hume_ssl.train.trained import rebuild

    network = rebuild({facts})
    network.load_state_dict(torch.load("model.pth", weights_only=True))
    network.eval()
    classes = json.load(open("classes.json", encoding="utf-8"))
"""
THEIRS = """
With torchvision alone:

    import json, torch, torchvision

    state = torch.load("model.pth", weights_only=True)
    mean, std = state.pop("mean"), state.pop("std")
    network = torchvision.models.get_model({name!r}, weights=None, num_classes={classes}{options})
    network.load_state_dict({{key.removeprefix("network."): value for key, value in state.items()}})
    network.eval()
    classes = json.load(open("classes.json", encoding="utf-8"))
    # logits = network((images.float() - mean) / std)
"""
NEEDED = ("network", "shape", "classes", "steps", "encoder", "rooted", "width")  # the last three: of a head


def check() -> None:
    """Nothing but torch is needed."""


def write(trained: Trained, class_names: list[str], path: Path) -> list[Path]:
    """Write model.pth (`path`), classes.json and README.txt beside it; the same bytes for the same network."""
    import torch

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.model.state_dict().items()}
    data = io.BytesIO()  # not a file: the archive would be named after it, and temporary names differ
    torch.save(tensors, data)
    files.write_bytes(path, data.getvalue())
    names, readme = path.with_name("classes.json"), path.with_name("README.txt")
    files.write_json(names, class_names)
    files.write_text(readme, _readme(trained))
    return [path, names, readme]


def _readme(trained: Trained) -> str:
    facts, network = trained.facts, str(trained.facts["network"])
    needed = {key: facts[key] for key in NEEDED if key in facts}
    return README.format(
        network=network,
        takes=_takes(facts),
        classes=facts["classes"],
        ours=OURS.format(facts=repr(needed)),
        theirs=_theirs(network, int(facts["classes"])) if network.startswith("torchvision:") else "",
    )


def _takes(facts: Mapping[str, Any]) -> str:
    from hume_ssl.train.trained import preparation

    if len(facts["shape"]) == 1:
        return VECTORS.format(width=facts["shape"][0])
    channels, height, width = facts["shape"]
    order = "red, green, blue" if channels == 3 else "grey"
    return IMAGES.format(channels=channels, height=height, width=width, order=order, preparation=preparation(facts))


def _theirs(network: str, classes: int) -> str:
    from hume_ssl.spaces.spec import parse_spec
    from hume_ssl.train.torchvision_network import options

    spec = parse_spec(network)
    told = "".join(f", {key}={value}" for key, value in options(spec).items())
    return THEIRS.format(name=spec.name, classes=classes, options=told)
