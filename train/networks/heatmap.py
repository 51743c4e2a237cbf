"""The heatmap network: backbone, upsampler, 1×1 head; and the same with the decode behind it.

Definition: one map per site at a quarter of the input's side, whose value at the site is the site's intensity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from dsrfau_edge.action_units import MAX_INTENSITY
from dsrfau_edge.errors import UsageError

from .efficientnet_lite import VARIANTS, EfficientNetLite
from .pretrained import has_pretrained, load_pretrained
from .resnet import ResNet
from .upsampler import DeconvUpsampler, SeparableUpsampler

BACKBONES = (*VARIANTS, "resnet18", "resnet50")
UPSAMPLERS = {"deconv": DeconvUpsampler, "separable": SeparableUpsampler}
#: Input side over heatmap side.
STRIDE = 4
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What a network is made of; stored in the checkpoint."""

    backbone: str = "efficientnet_lite0"
    upsampler: str = "separable"
    widths: tuple[int, int, int] = (64, 64, 64)
    skips: bool = True
    pretrained: bool = True

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise UsageError(f"Unknown backbone {self.backbone!r}. Known: {', '.join(BACKBONES)}.")
        if self.upsampler not in UPSAMPLERS:
            raise UsageError(f"Unknown upsampler {self.upsampler!r}. Known: {', '.join(UPSAMPLERS)}.")
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise UsageError(f"network.widths is {list(self.widths)}: give three channel counts, as [64, 64, 64].")
        if self.pretrained and not has_pretrained(self.backbone):
            raise UsageError(f"There are no ImageNet weights for {self.backbone}. Set network.pretrained=false.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "widths": list(self.widths)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> NetworkConfig:
        """The reverse of `to_dict`."""
        return cls(**{**raw, "widths": tuple(raw["widths"])})


class Prediction(NamedTuple):
    """Heatmaps `[N, S, h, h]`, raw (not clamped), and the upsampler's hidden stages by name."""

    heatmaps: torch.Tensor
    stages: dict[str, torch.Tensor]


class HeatmapNetwork(nn.Module):
    """BGR crops 0–255 in, one heatmap per site out.

    Args:
        config: what to build it of.
        sites: number of heatmaps.
        pretrained: load the backbone's ImageNet weights; `False` where a checkpoint's weights follow.
    """

    def __init__(self, config: NetworkConfig, sites: int, *, pretrained: bool | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone: nn.Module
        if config.backbone in VARIANTS:
            self.backbone = backbone = EfficientNetLite(config.backbone)
            channels = backbone.channels
            if config.pretrained if pretrained is None else pretrained:
                load_pretrained(backbone, config.backbone)
        else:
            self.backbone = resnet = ResNet(config.backbone)
            channels = resnet.channels
        self.upsampler = UPSAMPLERS[config.upsampler](channels, config.widths, skips=config.skips)
        self.head = nn.Conv2d(config.widths[-1], sites, 1)
        # Nearly all of every target map is zero: start there, or the first steps only unlearn noise.
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, crops: torch.Tensor) -> Prediction:
        """Predict from crops `[N, H, W, 3]`, BGR, 0–255, uint8 or float; H and W multiples of 32."""
        stages = self.upsampler(self.backbone(scaled(crops)))
        return Prediction(self.head(stages["stride4"]), stages)


def scaled(crops: torch.Tensor) -> torch.Tensor:
    """What the backbone takes, `[N, 3, H, W]` of about -1 to 1, of crops `[N, H, W, 3]`."""
    # Cast first: TensorRT takes uint8 as an input of Cast and of nothing else.
    x = (crops.float().permute(0, 3, 1, 2) - PIXEL_MEAN) / PIXEL_SCALE
    return x.contiguous(memory_format=torch.channels_last)


def decode(heatmaps: torch.Tensor) -> torch.Tensor:
    """Site intensities `[N, S]`: each map's spatial maximum, clamped to 0–5."""
    return heatmaps.amax((2, 3)).clamp(0.0, MAX_INTENSITY)


class DecodedNetwork(nn.Module):
    """What is exported: uint8 crops in, site intensities and heatmaps out."""

    def __init__(self, network: HeatmapNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Intensities `[N, S]` (0–5) and raw heatmaps `[N, S, h, h]` of crops uint8 `[N, size, size, 3]`, BGR."""
        heatmaps = self.network(crops).heatmaps.float()
        return decode(heatmaps), heatmaps
