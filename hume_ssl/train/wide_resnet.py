"""Wide residual networks (arXiv:1605.07146), as FixMatch and its successors use them."""

from torch import Tensor, nn

SLOPE = 0.1  # of LeakyReLU, as in the published Wide ResNets for semi-supervised learning


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
        # in place: the gradient of batch norm needs its input, not its output
        active = nn.functional.leaky_relu(self.norm1(x), SLOPE, inplace=True)
        out = nn.functional.leaky_relu(self.norm2(self.conv1(active)), SLOPE, inplace=True)
        kept: Tensor = self.shortcut(active if self.activated else x)
        added: Tensor = self.conv2(out)
        return kept + added


def wide_resnet(channels: int, classes: int, momentum: float, *, depth: int = 28, width: int = 2) -> nn.Sequential:
    """16 filters, then three groups of 16, 32, 64 times `width`, at the side, a half and a quarter of it.

    For 3 channels, 28-2 has 1,467,610 parameters with 10 classes, and 28-8 has 23,401,012 with 100.
    """
    blocks = (depth - 4) // 6
    layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False)]
    narrow = 16
    for group, wide in enumerate((16 * width, 32 * width, 64 * width)):
        for block in range(blocks):
            stride = 2 if group > 0 and block == 0 else 1
            layers.append(Residual(narrow, wide, stride, momentum, activated=group == 0 and block == 0))
            narrow = wide
    layers += [nn.BatchNorm2d(narrow, eps=1e-3, momentum=momentum), nn.LeakyReLU(SLOPE, inplace=True)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(narrow, classes)]
    return nn.Sequential(*layers)
