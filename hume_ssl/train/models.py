"""The networks, and the classifier around them that takes raw uint8 images."""

import torch
from torch import Tensor, nn

SLOPE = 0.1  # of LeakyReLU, as in the published Wide ResNets for semi-supervised learning


class Classifier(nn.Module):
    """A network with the normalisation of its training images: uint8 (b, c, h, w) in, float32 logits (b, k) out.

    `mean` and `std` (c,) are buffers in 0..255 units, so that the state dict alone is enough to label new images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.float().reshape(1, -1, 1, 1))
        self.register_buffer("std", std.float().reshape(1, -1, 1, 1).clamp_min(1.0))  # constant channels: no 0 / 0

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() - self.mean) / self.std
        logits: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return logits.float()


class Residual(nn.Module):
    """Pre-activation block: BN, LeakyReLU, 3x3, BN, LeakyReLU, 3x3, plus the input (1x1 where the shape changes).

    `activated`: the shortcut starts after the first activation; in the first block of the network only.
    """

    def __init__(self, narrow: int, wide: int, stride: int, momentum: float, activated: bool) -> None:
        super().__init__()
        self.activated = activated
        self.norm1 = nn.BatchNorm2d(narrow, eps=1e-3, momentum=momentum)
        self.conv1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide, eps=1e-3, momentum=momentum)
        self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(narrow, wide, 1, stride, bias=False) if narrow != wide else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        active = nn.functional.leaky_relu(self.norm1(x), SLOPE)
        out = nn.functional.leaky_relu(self.norm2(self.conv1(active)), SLOPE)
        kept: Tensor = self.shortcut(active if self.activated else x)
        added: Tensor = self.conv2(out)
        return kept + added


def wide_resnet(channels: int, classes: int, momentum: float, *, depth: int = 28, width: int = 2) -> nn.Sequential:
    """Wide ResNet (arXiv:1605.07146) as used by FixMatch: 16 filters, then three groups of 16, 32, 64 times `width`.

    28-2 has 1,467,610 parameters for 3 channels and 10 classes.
    """
    blocks = (depth - 4) // 6
    layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False)]
    narrow = 16
    for group, wide in enumerate((16 * width, 32 * width, 64 * width)):
        for block in range(blocks):
            stride = 2 if group > 0 and block == 0 else 1
            layers.append(Residual(narrow, wide, stride, momentum, activated=group == 0 and block == 0))
            narrow = wide
    layers += [nn.BatchNorm2d(narrow, eps=1e-3, momentum=momentum), nn.LeakyReLU(SLOPE)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(narrow, classes)]
    return nn.Sequential(*layers)


def small_cnn(channels: int, classes: int, momentum: float, *, side: int) -> nn.Sequential:
    """Three convolutions with batch norm for images of 8 or 16 pixels; larger ones are strided down to about 8 first.

    About 94,000 parameters for one channel and 10 classes.
    """
    stride = max(1, round(side / 8))
    layers: list[nn.Module] = []
    shapes = ((channels, 32, 2 * stride + 1, stride), (32, 64, 3, 2), (64, 128, 3, 2))
    for narrow, wide, kernel, step in shapes:
        layers.append(nn.Conv2d(narrow, wide, kernel, step, kernel // 2, bias=False))
        layers += [nn.BatchNorm2d(wide, momentum=momentum), nn.LeakyReLU(SLOPE)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes)]
    return nn.Sequential(*layers)


def build_network(name: str, *, channels: int, classes: int, side: int, steps: int, seed: int) -> nn.Sequential:
    """A network with fresh weights from `seed`; the global generator is left as it was.

    Batch-norm momentum (torch's convention, the weight of the newest batch) is the papers' 0.001 for schedules of
    10,000 steps and more. In shorter ones the running statistics would still hold their start values at the end, so it
    is 10 / steps, at most 0.1.

    Args:
        name: "small-cnn" or "wrn-28-2".
        side: the longer side of the images, in pixels.
    """
    momentum = min(0.1, max(0.001, 10 / steps))
    with torch.random.fork_rng(devices=[]):  # the layers draw weights when made; initialise() draws the ones that count
        if name == "small-cnn":
            network = small_cnn(channels, classes, momentum, side=side)
        elif name == "wrn-28-2":
            network = wide_resnet(channels, classes, momentum)
        else:
            raise ValueError(f"no network is called {name!r}; there are 'small-cnn' and 'wrn-28-2'")
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """The published start: kernels normal with variance 2 / fan-out, the last layer Glorot normal with zero bias."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)
