"""timm:NAME, the pooled features of a network of PyTorch Image Models: `create_model(NAME, num_classes=0)`.

NAME is one of `timm.list_models()`, with a tag where another set of weights than the default one is meant
(`vit_small_patch14_dinov2.lvd142m`), or `hf-hub:OWNER/MODEL`.
"""

from __future__ import annotations

import math
from typing import Any

import timm
import timm.data
from torch import nn

from hume_ssl.errors import InputError
from hume_ssl.spaces.preprocess import Preprocess, squashed
from hume_ssl.spaces.spec import EncoderSpec
from hume_ssl.spaces.weights_files import load_strictly, read_state

HUB = ("hf-hub:", "hf_hub:")


def names(name: str) -> list[str]:
    """What may stand for `name`: the networks that the installed version knows, or the tags of one that has none such.

    What lies on a hub is not looked up.
    """
    if name.startswith(HUB):
        return [name]
    network, dot, _ = name.partition(".")
    if dot and timm.is_model(network):
        return list(timm.list_pretrained(f"{network}.*"))
    return list(timm.list_models())


def build_preprocess(spec: EncoderSpec) -> Preprocess:
    """With `size`: to size x size, bilinear, no crop; else as timm's evaluation transform for these weights.

    Raises InputError where that pads images, which ours does not.
    """
    config = timm.data.resolve_data_config(pretrained_cfg=_pretrained(spec))
    height, width = config["input_size"][1:]
    scaled = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    mean, std = tuple(map(float, config["mean"])), tuple(map(float, config["std"]))
    own = Preprocess(scaled[0], height, config["interpolation"], mean, std)
    if (size := spec.options.get("size")) is not None:
        return squashed(int(size), own)
    if height != width or config["crop_mode"] not in ("center", "squash"):
        raise InputError(f"timm:{spec.name} takes images that we do not make; give it a side in pixels with ?size=")
    if config["crop_mode"] == "squash":
        return Preprocess((scaled[0], scaled[1]), height, config["interpolation"], mean, std)
    return own


def build_network(spec: EncoderSpec, *, bare: bool = False) -> nn.Module:
    """The network with its weights, in evaluation mode on the CPU: (b, 3, h, w) -> (b, d) pooled features.

    The weights are those of the spec's file, with or without a classifier, else timm's own, downloaded once; `bare`
    leaves them random, for others to be loaded.

    Raises:
        InputError: as `hume_ssl.spaces.torchvision_encoder.build_network`.
    """
    options = {"num_classes": 0, "pretrained": spec.weights is None and not bare}
    try:
        network = _create(spec, options)
    except (OSError, RuntimeError) as error:  # no network; a file that is not what the hub says
        if not options["pretrained"]:
            raise
        raise InputError(
            f"cannot download the weights of timm:{spec.name} ({_first_line(error)}); "
            f"give a file: timm:{spec.name}@FILE"
        ) from error
    if spec.weights is not None and not bare:
        state = read_state(spec.weights.expanduser())
        classifier = _pretrained(spec).get("classifier") or ()
        last = tuple(f"{name}." for name in ([classifier] if isinstance(classifier, str) else classifier))
        known_keys = network.state_dict().keys()
        state = {key: t for key, t in state.items() if key in known_keys or not key.startswith(last)}
        load_strictly(network, state, f"timm:{spec.name}", spec.weights)
    return network.eval().requires_grad_(False)


def default_weights(spec: EncoderSpec) -> str:
    """What the weights are called that are taken where the spec names no file."""
    if spec.name.startswith(HUB):
        return spec.name
    config = _pretrained(spec)
    return ".".join(filter(None, (config["architecture"], config["tag"])))


def _create(spec: EncoderSpec, options: dict[str, Any]) -> nn.Module:
    if "size" in spec.options:  # transformers take other sizes than their own by stretching their positions
        try:
            network: nn.Module = timm.create_model(spec.name, dynamic_img_size=True, **options)
            return network
        except TypeError:  # not a transformer of this kind: convolutions take any size, others say so when they run
            pass
    network = timm.create_model(spec.name, **options)
    return network


def _pretrained(spec: EncoderSpec) -> dict[str, Any]:
    if spec.name.startswith(HUB):
        try:
            config, _, _ = timm.models.load_model_config_from_hf(spec.name.partition(":")[2])
        except OSError as error:
            raise InputError(f"cannot read timm:{spec.name} from its hub ({_first_line(error)})") from error
        return dict(config)
    found = timm.get_pretrained_cfg(spec.name)
    assert found is not None  # the name is known
    return dict(found.to_dict())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
