"""The student's task: the heatmaps, and what the teacher's hidden stages say about them.

`L = L_hm + a L_fm + b L_reg + c L_ch` after DSR-FAU (Fan, Lam and Li, IEEE TAC 14(2)); the weights, the stages and the
exact form of each loss are ours, since only the paper's abstract is open.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .data.dataset import Batch
from .losses import ChannelWiseLoss, FeatureMapLoss, RegionWiseLoss
from .networks.folding import folded
from .networks.heatmap import HeatmapNetwork
from .networks.upsampler import STAGES
from .recipes import DistillationConfig
from .task import HeatmapTask


class DistillationTask(HeatmapTask):
    """A student, its frozen teacher, and 1×1 adaptors where their widths differ.

    The adaptors carry the student's stages to the teacher's width for the feature-map and the channel-wise loss, exist
    in training only and are not exported. They end in a ReLU, as the teacher's stages do: those are zero nearly
    everywhere, which no linear map of the student's gives (ADR 18). The region-wise loss needs none: it compares
    positions, and so acts on the student's own features.

    Args:
        student: the network to train.
        teacher: a trained network; frozen, and always in evaluation mode.
        config: loss weights and stages.
        foreground: weight of the spots in the heatmap loss.
        frozen_stages: the student's first stages that keep their weights.
    """

    def __init__(
        self,
        student: HeatmapNetwork,
        teacher: HeatmapNetwork,
        *,
        config: DistillationConfig,
        foreground: float,
        frozen_stages: int = 0,
    ) -> None:
        super().__init__(student, foreground=foreground, frozen_stages=frozen_stages)
        self.config = config
        self.teacher = folded(teacher).requires_grad_(False)  # noqa: FBT003 - torch's own signature
        widths = dict(zip(STAGES, zip(student.config.widths, teacher.config.widths, strict=True), strict=True))
        adapted = {*config.feature_stages, *config.relation_stages}
        self.adaptors = nn.ModuleDict({name: _adaptor(*widths[name]) for name in STAGES if name in adapted})
        self.feature_map = FeatureMapLoss(temperature=config.temperature or None)
        self.region_wise = RegionWiseLoss(grid=config.grid, centred=config.centred)
        self.channel_wise = ChannelWiseLoss(centred=config.centred)

    def train(self, mode: bool = True) -> DistillationTask:  # noqa: FBT001, FBT002 - torch's own signature
        """Switch to training; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Losses of a batch: `total` and each component by name, unweighted."""
        with torch.no_grad():
            taught = self.teacher(batch.crops).stages
        prediction = self.network(batch.crops)
        losses = {"heatmap": self.heatmap_loss(batch, prediction.heatmaps)}
        losses |= self._distil(prediction.stages, taught)
        config = self.config
        total = (
            losses["heatmap"]
            + config.feature_map * losses["feature_map"]
            + config.region_wise * losses["region_wise"]
            + config.channel_wise * losses["channel_wise"]
        )
        return {"total": total, **losses}

    def _distil(
        self, student: Mapping[str, torch.Tensor], teacher: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The three distillation losses, each the mean over its stages."""
        config = self.config
        adapted = {name: adaptor(student[name]) for name, adaptor in self.adaptors.items()}
        feature = [self.feature_map(adapted[name], teacher[name]) for name in config.feature_stages]
        region = [self.region_wise(student[name], teacher[name]) for name in config.relation_stages]
        channel = [self.channel_wise(adapted[name], teacher[name]) for name in config.relation_stages]
        zero = next(iter(student.values())).new_zeros(())
        means = [torch.stack(terms).mean() if terms else zero for terms in (feature, region, channel)]
        return dict(zip(("feature_map", "region_wise", "channel_wise"), means, strict=True))


def _adaptor(student: int, teacher: int) -> nn.Module:
    return nn.Identity() if student == teacher else nn.Sequential(nn.Conv2d(student, teacher, 1), nn.ReLU())
