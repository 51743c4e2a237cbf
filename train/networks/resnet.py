"""ResNet-18 and ResNet-50 backbones (He et al., CVPR 2016), the reference pair of the method's authors.

No ImageNet weights are shipped for them: they start from random weights.
"""

from __future__ import annotations

import torch
from torch import nn

_LAYERS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
_WIDTHS = (64, 128, 256, 512)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, *, relu: bool = True) -> list[nn.Module]:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return [*layers, nn.ReLU(inplace=True)] if relu else layers


class ResidualBlock(nn.Module):
    """Basic (two 3×3) or bottleneck (1×1, 3×3 with the stride, 1×1 to four times the width) residual block."""

    def __init__(self, inputs: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * 4 if bottleneck else width
        if bottleneck:
            layers = [
                *_conv(inputs, width, 1),
                *_conv(width, width, 3, stride),
                *_conv(width, outputs, 1, relu=False),
            ]
        else:
            layers = [*_conv(inputs, width, 3, stride), *_conv(width, outputs, 3, relu=False)]
        self.body = nn.Sequential(*layers)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*_conv(inputs, outputs, 1, stride, relu=False))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, H, W]` to `[N, C', H/stride, W/stride]`."""
        out: torch.Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """Feature pyramid of a ResNet."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        bottleneck = variant == "resnet50"
        self.stem = nn.Sequential(*_conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.ModuleList()
        inputs = 64
        for stage, (width, repeats) in enumerate(zip(_WIDTHS, _LAYERS[variant], strict=True)):
            outputs = width * 4 if bottleneck else width
            blocks = [ResidualBlock(inputs, width, 1 if stage == 0 else 2, bottleneck=bottleneck)]
            blocks += [ResidualBlock(outputs, width, 1, bottleneck=bottleneck) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs
        #: Channels of the features at strides 4, 8, 16 and 32.
        self.channels = tuple(width * (4 if bottleneck else 1) for width in _WIDTHS)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features at strides 4, 8, 16, 32 of normalised pictures `[N, 3, H, W]`."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
