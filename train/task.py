"""The task of a network on its own: predict the heatmaps. The teacher's, and a student's without a teacher."""

from __future__ import annotations

import torch
from torch import nn

from .data.dataset import Batch
from .data.targets import draw_spots
from .losses import HeatmapLoss
from .networks.heatmap import STRIDE, HeatmapNetwork


class HeatmapTask(nn.Module):
    """A network and its heatmap loss.

    Args:
        network: the network to train.
        foreground: weight of the spots in the heatmap loss.
        frozen_stages: the backbone's first stages (with the stem) that keep their weights and statistics.
    """

    def __init__(self, network: HeatmapNetwork, *, foreground: float, frozen_stages: int = 0) -> None:
        super().__init__()
        self.network = network
        self.loss = HeatmapLoss(foreground=foreground)
        self._frozen = _first_stages(network.backbone, frozen_stages)
        for part in self._frozen:
            part.requires_grad_(False)  # noqa: FBT003 - torch's own signature

    def train(self, mode: bool = True) -> HeatmapTask:  # noqa: FBT001, FBT002 - torch's own signature
        """Switch to training; frozen stages stay in evaluation mode, so that their statistics stand still."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Losses of a batch: `total` and each component by name."""
        heatmap = self.heatmap_loss(batch, self.network(batch.crops).heatmaps)
        return {"total": heatmap, "heatmap": heatmap}

    def heatmap_loss(self, batch: Batch, heatmaps: torch.Tensor) -> torch.Tensor:
        """The heatmap loss of predictions `[N, S, h, h]` for a batch."""
        side = batch.crops.shape[1]
        spots = draw_spots(batch.centres, side, side // STRIDE)
        loss: torch.Tensor = self.loss(heatmaps, spots, batch.intensities)
        return loss


def _first_stages(backbone: nn.Module, count: int) -> list[nn.Module]:
    if not count:
        return []
    stages = backbone.get_submodule("stages")
    assert isinstance(stages, nn.ModuleList)  # what both backbones have
    return [backbone.get_submodule("stem"), *list(stages)[:count]]
