"""The encoders that are trained, with a stem for the size of the images, and the projector that training needs."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn

from hume_ssl.pretrain_config import SMALL_CNN
from hume_ssl.spaces.preprocess import Preprocess
from hume_ssl.train.models import small_cnn

SMALL_STEM = 64  # pixels: up to this side a ResNet begins with a 3x3 convolution, stride 1, and no pooling


def build_encoder(network: str, channels: int, size: tuple[int, int]) -> nn.Module:
    """(b, channels, h, w) normalised -> (b, d), with torch's random start from the global generator.

    small-cnn is that of `train-fixmatch` without its classifier: 128 wide; a ResNet gives its pooled features.

    Args:
        network: "small-cnn" or a ResNet of torchvision.
        size: (h, w) of the images, in pixels.
    """
    if network == SMALL_CNN:
        return small_cnn(channels, 1, 0.1, side=max(size))[:-1]
    encoder = torchvision.models.get_model(network, weights=None)
    first = encoder.conv1
    small = max(size) <= SMALL_STEM
    kernel, stride = (3, 1) if small else (first.kernel_size[0], first.stride[0])
    encoder.conv1 = nn.Conv2d(channels, first.out_channels, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(encoder.conv1.weight, mode="fan_out", nonlinearity="relu")
    if small:
        encoder.maxpool = nn.Identity()
    encoder.fc = nn.Identity()
    made: nn.Module = encoder
    return made


class Contrasted(nn.Module):
    """An encoder and its projector: views (b, c, h, w) in [0, 1] -> what is contrasted, (b, projection).

    `mean` and `std` (c,) are of the train pixels, in [0, 1]; an image's features are those before the projector, which
    SimCLR found to be the better space (arXiv:2002.05709, section 4.2).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, width: int, projection: int, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        layers = [nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        self.projector = nn.Sequential(*layers, nn.Linear(width, projection))
        self.register_buffer("mean", mean.float().reshape(1, -1, 1, 1).clone())
        self.register_buffer("std", std.float().reshape(1, -1, 1, 1).clamp_min(1 / 255))  # constant channels: no 0 / 0

    def features(self, views: Tensor) -> Tensor:
        """(b, d)."""
        x = (views - self.mean) / self.std
        made: Tensor = self.encoder(x.contiguous(memory_format=torch.channels_last))
        return made

    def forward(self, views: Tensor) -> Tensor:
        projected: Tensor = self.projector(self.features(views))
        return projected


def build_contrasted(
    network: str,
    *,
    channels: int,
    size: tuple[int, int],
    projection: int,
    seed: int,
    statistics: tuple[Tensor, Tensor],
) -> Contrasted:
    """Encoder and projector with fresh weights from `seed`; the global generator is left as it was.

    Args:
        statistics: mean and standard deviation (c,) of the train pixels, in [0, 1].
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed: it would seed the GPUs as well
        encoder = build_encoder(network, channels, size)
        with torch.inference_mode():
            width = int(encoder.eval()(torch.zeros(1, channels, *size)).shape[1])
        return Contrasted(encoder.train(), width, projection, *statistics)


def preprocess_of(size: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocess:
    """How an image comes to what was trained on: resized to (h, w), proportions lost, normalised with its statistics.

    One channel's statistics stand for all three: images are handed on as colour.
    """
    three = (mean * 3, std * 3) if len(mean) == 1 else (mean, std)
    return Preprocess(size, None, "bilinear", *three)


class OneChannel(nn.Module):
    """An encoder of grey images that takes them as colour: (b, 3, h, w), all channels alike, -> (b, d)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.encoder(x.mean(1, keepdim=True))
        return made
