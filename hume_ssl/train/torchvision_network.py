"""torchvision's classifiers as networks to train: from scratch, or fine-tuned from a weights file."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn

from hume_ssl.errors import InputError
from hume_ssl.spaces.spec import EncoderSpec, parse_spec
from hume_ssl.spaces.torchvision_weights import INPUT_SCALED_INSIDE, last_classifier, load_strictly, read_state

# Classifiers halfway up, for training only: left out, so that every network gives one (b, k).
_SIDE_CLASSIFIERS = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


def torchvision_network(
    text: str, *, channels: int, classes: int, size: tuple[int, int], seed: int, load: bool = True
) -> nn.Module:
    """(b, 3, h, w) normalised -> (b, classes). Batch-norm momentum and the start of fresh layers are torchvision's own.

    The last classifier is always fresh, so that the file may be of any number of classes.

    Args:
        text: "torchvision:NAME", from scratch, or "torchvision:NAME@FILE", all other layers from that state dict.
        channels: of the images; grey ones (1) will be repeated to 3.
        size: (h, w) of the images, in pixels.
        seed: decides the fresh weights.
        load: False leaves the file unread: for a network whose trained weights will be loaded into it anyway.

    Raises:
        InputError: images that the network cannot take; a weights file that is missing, broken or of another network.
    """
    spec = parse_spec(text)
    if channels not in (1, 3):
        raise InputError(f"{text} takes images of 1 or 3 channels, these have {channels}; train wrn-28-2 or small-cnn")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed: it would seed the GPUs as well
        network: nn.Module = torchvision.models.get_model(spec.name, weights=None, num_classes=classes, **options(spec))
    if spec.weights and load:
        load_all_but_last(network, spec)
    check_size(network, spec, size)
    return network


def options(spec: EncoderSpec) -> dict[str, bool]:
    """What torchvision's own function for this network has to be told, beside the number of classes."""
    told = dict(INPUT_SCALED_INSIDE.get(spec.name, {})) if spec.weights else {}
    if spec.name in _SIDE_CLASSIFIERS:
        told["aux_logits"] = False
    if not spec.weights and spec.name in INPUT_SCALED_INSIDE:
        told["init_weights"] = True
    return told


def load_all_but_last(network: nn.Module, spec: EncoderSpec) -> None:
    """The weights of the spec's file, except for the last classifier's. Raises InputError as in load_strictly."""
    assert spec.weights is not None
    last, fresh = last_classifier(network) + ".", network.state_dict()
    left_out = _SIDE_CLASSIFIERS.get(spec.name, ())
    state = {key: t for key, t in read_state(spec.weights.expanduser()).items() if not key.startswith(left_out)}
    state |= {key: fresh[key] for key in fresh if key.startswith(last) and key in state}
    load_strictly(network, state, spec.name, spec.weights)


def check_size(network: nn.Module, spec: EncoderSpec, size: tuple[int, int]) -> None:
    """Raise InputError where a blank image of `size` (h, w) does not go through."""
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, *size))
    except (RuntimeError, AssertionError) as error:  # a window larger than what it slides over, or another patch grid
        raise InputError(
            f"{spec.text} cannot take images of {size[0]} x {size[1]} pixels ({error}); give train.size, the pixels of "
            "the longer side: images are resized to it"
        ) from error
    finally:
        network.train(was_training)


def pretraining_statistics(text: str) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation (3,), in 0..255 units, that the weights of "torchvision:NAME@FILE" expect.

    They are those of torchvision's preset for this network. None where the network starts from scratch.
    """
    spec = parse_spec(text)
    if spec.weights is None:
        return None
    preset = torchvision.models.get_model_weights(spec.name).DEFAULT.transforms()
    return 255 * torch.tensor(preset.mean), 255 * torch.tensor(preset.std)
