"""EfficientNet-Lite backbones: ReLU6, no squeeze-excitation, so that they quantize without loss.

Architecture: Tan and Le, "EfficientNet", ICML 2019, in the "lite" variants of its authors: the stem and the first and
last stage are not scaled in depth, the stem not in width.

The published weights were trained with TensorFlow's "same" padding (nothing on the top and left of a stride-2
convolution) and a batch-norm epsilon of 1e-3. The epsilon is kept. The padding here is symmetric, since an asymmetric
one becomes a Pad node that some compilers do not fuse; on 80 crops of two photographs that moves the right classes'
mean log-loss from 0.06 to 0.09 (all 80 stay right), which fine-tuning makes up for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from .depthwise import DepthwiseConv2d

BN_EPS = 1e-3  # the weights' own; torch's default of 1e-5 changes their predictions
BN_MOMENTUM = 0.01
HEAD_CHANNELS = 1280


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_TAPS = (1, 2, 4)  # the last stages of strides 4, 8 and 16; that of stride 32 is the network's last


@dataclass(frozen=True, slots=True)
class LiteVariant:
    """Width and depth multipliers, the channels of the stem, and whether the end is cut off.

    A short network ends with the first block of stride 32 and has a third of the weights of the whole: what follows
    there sees no more than a grid of four by four.
    """

    width: float
    depth: float
    stem: int = 32
    short: bool = False

    def stages(self) -> tuple[_Stage, ...]:
        """The stages as they are built."""
        last = len(_STAGES) - 1
        scaled = [
            stage._replace(
                repeats=stage.repeats if position in (0, last) else math.ceil(stage.repeats * self.depth),
                channels=_scaled_width(stage.channels, self.width),
            )
            for position, stage in enumerate(_STAGES)
        ]
        return (*scaled[: last - 1], scaled[last - 1]._replace(repeats=1)) if self.short else tuple(scaled)


VARIANTS = {
    "efficientnet_lite0": LiteVariant(1.0, 1.0),
    "efficientnet_lite1": LiteVariant(1.0, 1.1),
    "efficientnet_lite2": LiteVariant(1.1, 1.2),
    "efficientnet_lite0_short": LiteVariant(1.0, 1.0, short=True),
    "tiny": LiteVariant(0.25, 0.1, stem=8),  # for tests: no published weights
}


def _scaled_width(channels: int, factor: float) -> int:
    """Channels rounded to a multiple of eight, never down by more than a tenth."""
    scaled = channels * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM)


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, linear projection; added to its input where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = (
            nn.Sequential(nn.Conv2d(inputs, hidden, 1, bias=False), _norm(hidden), nn.ReLU6(inplace=True))
            if expansion > 1
            else nn.Identity()
        )
        self.depthwise = nn.Sequential(DepthwiseConv2d(hidden, kernel, stride), _norm(hidden), nn.ReLU6(inplace=True))
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), _norm(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, H, W]` to `[N, C', H/stride, W/stride]`."""
        out: torch.Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


class EfficientNetLite(nn.Module):
    """Feature pyramid of an EfficientNet-Lite, or its ImageNet classifier."""

    def __init__(self, variant: str, *, classes: int | None = None) -> None:
        super().__init__()
        shape = VARIANTS[variant]
        self.stem = nn.Sequential(
            nn.Conv2d(3, shape.stem, 3, 2, 1, bias=False), _norm(shape.stem), nn.ReLU6(inplace=True)
        )
        self.stages = nn.ModuleList()
        inputs, stages = shape.stem, shape.stages()
        for repeats, kernel, stride, expansion, outputs in stages:
            blocks = [InvertedResidual(inputs, outputs, kernel, stride, expansion)]
            blocks += [InvertedResidual(outputs, outputs, kernel, 1, expansion) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.taps = (*_TAPS, len(stages) - 1)
        #: Channels of the features at strides 4, 8, 16 and 32.
        self.channels = tuple(stages[tap].channels for tap in self.taps)
        self.classifier = (
            nn.Sequential(
                nn.Conv2d(inputs, HEAD_CHANNELS, 1, bias=False),
                _norm(HEAD_CHANNELS),
                nn.ReLU6(inplace=True),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(HEAD_CHANNELS, classes),
            )
            if classes
            else None
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features at strides 4, 8, 16, 32 of normalised pictures `[N, 3, H, W]`."""
        x = self.stem(x)
        features = []
        for position, stage in enumerate(self.stages):
            x = stage(x)
            if position in self.taps:
                features.append(x)
        return features

    def classify(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores `[N, classes]`; only for a network built with `classes`."""
        if self.classifier is None:
            raise TypeError("This backbone was built without a classifier: pass classes=1000.")
        scores: torch.Tensor = self.classifier(self.forward(x)[-1])
        return scores
