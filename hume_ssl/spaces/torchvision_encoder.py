"""torchvision:NAME, the pooled input of the last classifier of one of torchvision's networks."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn

from hume_ssl.errors import InputError
from hume_ssl.spaces.preprocess import Preprocess, squashed
from hume_ssl.spaces.spec import EncoderSpec
from hume_ssl.spaces.torchvision_weights import INPUT_SCALED_INSIDE, last_classifier, load_strictly, read_state


class SpatialMean(nn.Module):
    """Mean over the pixels of `features`: (b, 3, h, w) -> (b, d). For networks whose classifier is a convolution."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(nn.functional.adaptive_avg_pool2d(self.features(x), 1), 1)


def build_preprocess(spec: EncoderSpec) -> Preprocess:
    """With `size`: to size x size, bilinear, no crop; else as the network's default weights ask. Loads nothing."""
    preset = torchvision.models.get_model_weights(spec.name).DEFAULT.transforms()
    mean, std = tuple(map(float, preset.mean)), tuple(map(float, preset.std))
    own = Preprocess(preset.resize_size[0], preset.crop_size[0], preset.interpolation.value, mean, std)
    size = spec.options.get("size")
    return own if size is None else squashed(int(size), own)


def build_network(spec: EncoderSpec, *, bare: bool = False) -> nn.Module:
    """The network with its weights, in evaluation mode on the CPU: (b, 3, h, w) -> (b, d), the last classifier's input.

    The weights are those of the spec's file (a state dict, .safetensors or .pth), else torchvision's default ones,
    downloaded once to torch's cache; `bare` leaves them random, for others to be loaded.

    Raises:
        InputError: the file is missing, no plain state dict, or of another network (the first wrong key is named); the
            default weights cannot be downloaded.
    """
    if spec.weights is None and not bare:
        try:
            network = torchvision.models.get_model(spec.name, weights="DEFAULT")
        except (OSError, RuntimeError) as error:  # no network, or a download that fails its checksum
            raise InputError(
                f"cannot download the weights of torchvision:{spec.name} ({error}); "
                f"give a file: torchvision:{spec.name}@FILE"
            ) from error
    else:
        state = None if bare or spec.weights is None else read_state(spec.weights.expanduser())
        network = torchvision.models.get_model(spec.name, weights=None, **INPUT_SCALED_INSIDE.get(spec.name, {}))
        if state is not None:
            load_strictly(network, state, spec.name, spec.weights)
    return cut_classifier(network).eval().requires_grad_(False)


def default_weights(spec: EncoderSpec) -> str:
    """What the weights are called that are taken where the spec names no file."""
    return str(torchvision.models.get_model_weights(spec.name).DEFAULT)


def cut_classifier(network: nn.Module) -> nn.Module:
    """Leave out the last linear layer, or, where the classifier is a convolution (squeezenet), all but `features`."""
    path = last_classifier(network)
    if not isinstance(network.get_submodule(path), nn.Linear):
        return SpatialMean(network.get_submodule("features"))
    parent, _, leaf = path.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())
    return network
