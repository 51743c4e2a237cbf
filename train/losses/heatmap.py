"""Heatmap loss: weighted mean squared error between predicted and target maps."""

from __future__ import annotations

import torch
from torch import nn

from .precision import at_least_float32
from .processes import mean_over_processes


class HeatmapLoss(nn.Module):
    """`sum w (H' - H)^2 / sum w` with `w = 1 + foreground * spot`, over the labelled maps.

    A spot covers under one percent of its map, so that with the plain mean (`foreground=0`) a network gains most by
    predicting too little everywhere. The weight follows the spot of unit height, not the target: a site at rest counts
    as much as an active one, so the weighting favours no intensity.

    In a distributed run `sum w` is the mean over the processes: their gradients, averaged, are then those of one
    process with the whole batch, however differently their shares are labelled.

    Args:
        foreground: weight added at the centre of each spot.
    """

    def __init__(self, *, foreground: float = 0.0) -> None:
        super().__init__()
        self.foreground = foreground

    def forward(self, predicted: torch.Tensor, spots: torch.Tensor, intensities: torch.Tensor) -> torch.Tensor:
        """Compare heatmaps with their targets.

        Args:
            predicted: heatmaps `[N, S, h, w]`.
            spots: spots of unit height at the sites `[N, S, h, w]`.
            intensities: site intensities `[N, S]`; NaN where unlabelled.

        Returns:
            A scalar; zero where nothing is labelled.
        """
        with torch.autocast(predicted.device.type, enabled=False):
            predicted, spots, intensities = (at_least_float32(t) for t in (predicted, spots, intensities))
            labelled = ~torch.isnan(intensities)
            weights = (1.0 + self.foreground * spots) * labelled[..., None, None]
            targets = spots * torch.where(labelled, intensities, 0.0)[..., None, None]
            # torch.where, before the square: an unlabelled map reaches neither sum nor gradient even if it is infinite.
            errors = torch.where(labelled[..., None, None], predicted - targets, 0.0)
            return (weights * errors.square()).sum() / mean_over_processes(weights.sum()).clamp_min(1.0)
