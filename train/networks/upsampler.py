"""Upsamplers: features of stride 32 to hidden stages of stride 16, 8 and 4.

`DeconvUpsampler` is the reference (three deconvolutions, as in the authors' ResNet baseline); `SeparableUpsampler` is
for the edge: nearest-neighbour doubling and depthwise-separable convolutions, every operation of which quantizes. Both
may add 1×1 lateral connections from the backbone's finer features, which place a spot more sharply than stride 32 can.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .depthwise import DepthwiseConv2d

#: The hidden stages by name, coarse to fine.
STAGES = ("stride16", "stride8", "stride4")


def _laterals(backbone: Sequence[int], widths: Sequence[int]) -> nn.ModuleList:
    """1×1 convolutions from the backbone's strides 16, 8, 4 to the stages' widths."""
    finer = list(reversed(backbone[:3]))
    return nn.ModuleList(
        nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))
        for inputs, width in zip(finer, widths, strict=True)
    )


class DeconvUpsampler(nn.Module):
    """Three deconvolutions of kernel 4 and stride 2, each with batch norm and ReLU."""

    def __init__(self, backbone: Sequence[int], widths: Sequence[int], *, skips: bool) -> None:
        super().__init__()
        inputs = [backbone[-1], *widths[:-1]]
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after))
            for before, after in zip(inputs, widths, strict=True)
        )
        self.lateral = _laterals(backbone, widths) if skips else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Hidden stages `[N, width, H/stride, W/stride]` by name, from features at strides 4, 8, 16, 32."""
        x, stages = features[-1], {}
        for position, name in enumerate(STAGES):
            x = self.up[position](x)
            if self.lateral is not None:
                x = x + self.lateral[position](features[2 - position])
            x = stages[name] = self.relu(x)
        return stages


class SeparableUpsampler(nn.Module):
    """Pointwise convolution, doubling, (lateral sum,) then a depthwise 3×3 with ReLU6 and a pointwise with ReLU6."""

    def __init__(self, backbone: Sequence[int], widths: Sequence[int], *, skips: bool) -> None:
        super().__init__()
        inputs = [backbone[-1], *widths[:-1]]
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
            for before, after in zip(inputs, widths, strict=True)
        )
        self.lateral = _laterals(backbone, widths) if skips else None
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.mix = nn.ModuleList(
            nn.Sequential(
                DepthwiseConv2d(width, 3),
                nn.BatchNorm2d(width),
                nn.ReLU6(inplace=True),
                nn.Conv2d(width, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU6(inplace=True),
            )
            for width in widths
        )

    def forward(self, features: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Hidden stages `[N, width, H/stride, W/stride]` by name, from features at strides 4, 8, 16, 32."""
        x, stages = features[-1], {}
        for position, name in enumerate(STAGES):
            x = self.enlarge(self.reduce[position](x))
            if self.lateral is not None:
                x = x + self.lateral[position](features[2 - position])
            x = stages[name] = self.mix[position](x)
        return stages
