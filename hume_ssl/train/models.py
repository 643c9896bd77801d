"""The networks by name, and the classifier around them that takes raw uint8 images."""

import torch
from torch import Tensor, nn

from hume_ssl.train.wide_resnet import SLOPE, wide_resnet


class Classifier(nn.Module):
    """A network with the normalisation of its images: uint8 (b, c, h, w) in, float32 logits (b, k) out.

    `mean` and `std` are buffers in 0..255 units, so that the state dict alone is enough to label new images. They are
    (c,), or (3,) for a network that takes three channels whatever the images have: a single one is repeated.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.float().reshape(1, -1, 1, 1).clone())  # an expanded one cannot be loaded into
        self.register_buffer("std", std.float().reshape(1, -1, 1, 1).clamp_min(1.0))  # constant channels: no 0 / 0

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() - self.mean) / self.std  # three channels from one by broadcasting
        logits: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return logits.float()


def small_cnn(channels: int, classes: int, momentum: float, *, side: int) -> nn.Sequential:
    """Three convolutions with batch norm for images of 8 or 16 pixels; larger ones are strided down to about 8 first.

    About 94,000 parameters for one channel and 10 classes.
    """
    stride = max(1, round(side / 8))
    layers: list[nn.Module] = []
    shapes = ((channels, 32, 2 * stride + 1, stride), (32, 64, 3, 2), (64, 128, 3, 2))
    for narrow, wide, kernel, step in shapes:
        layers.append(nn.Conv2d(narrow, wide, kernel, step, kernel // 2, bias=False))
        layers += [nn.BatchNorm2d(wide, momentum=momentum), nn.LeakyReLU(SLOPE, inplace=True)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes)]
    return nn.Sequential(*layers)


def build_network(
    name: str, *, channels: int, classes: int, size: tuple[int, int], steps: int, seed: int, load: bool = True
) -> nn.Module:
    """A network with fresh weights from `seed`; the global generator is left as it was.

    Batch-norm momentum (torch's convention, the weight of the newest batch) is the papers' 0.001 for schedules of
    10,000 steps and more. In shorter ones the running statistics would still hold their start values at the end, so it
    is 10 / steps, at most 0.1. torchvision's networks keep their own.

    Args:
        name: "small-cnn", "wrn-28-2", "wrn-28-8", "torchvision:NAME" or "torchvision:NAME@FILE".
        size: (h, w) of the images, in pixels.
        load: False leaves a weights file unread: for a network whose trained weights will be loaded into it anyway.

    Raises:
        InputError: from :func:`~hume_ssl.train.torchvision_network.torchvision_network`.
    """
    if name.startswith("torchvision:"):
        from hume_ssl.train.torchvision_network import torchvision_network

        return torchvision_network(name, channels=channels, classes=classes, size=size, seed=seed, load=load)
    momentum = min(0.1, max(0.001, 10 / steps))
    with torch.random.fork_rng(devices=[]):  # the layers draw weights when made; initialise() draws the ones that count
        if name == "small-cnn":
            network = small_cnn(channels, classes, momentum, side=max(size))
        elif name in WIDTHS:
            network = wide_resnet(channels, classes, momentum, width=WIDTHS[name])
        else:
            raise ValueError(f"no network is called {name!r}; there are 'small-cnn', 'wrn-28-2', 'wrn-28-8'")
    initialise(network, torch.Generator().manual_seed(seed))
    return network


WIDTHS = {"wrn-28-2": 2, "wrn-28-8": 8}


def build_classifier(
    name: str,
    *,
    channels: int,
    classes: int,
    size: tuple[int, int],
    steps: int,
    seed: int,
    statistics: tuple[Tensor, Tensor],
    load: bool = True,
) -> Classifier:
    """A network as in :func:`build_network` with the normalisation it needs.

    Args:
        statistics: mean and standard deviation (c,) of the train pixels, in 0..255 units; a network with weights from
            a file has those of its weights instead.
    """
    network = build_network(name, channels=channels, classes=classes, size=size, steps=steps, seed=seed, load=load)
    if name.startswith("torchvision:"):
        from hume_ssl.train.torchvision_network import pretraining_statistics

        mean, std = pretraining_statistics(name) or statistics
        statistics = mean.expand(3), std.expand(3)
    return Classifier(network, *statistics)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """The published start: kernels normal with variance 2 / fan-out, the last layer Glorot normal with zero bias."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)
