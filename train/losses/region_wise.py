"""Region-wise relationship loss: how alike the places of one face are (DSR-FAU, second distillation loss)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .precision import at_least_float32


class RegionWiseLoss(nn.Module):
    """`||R_T - R_S||_F^2 / N^2` with `R = V^T V`, `v_p = F[:, p] / (||F[:, p]|| + eps)`; mean over faces.

    R relates positions *inside one face*; it depends on no channel count, so student and teacher may differ in width.

    Args:
        grid: side of the grid of regions; a larger stage is mean-pooled down to it (N = grid^2; N x N floats per face).
        centred: subtract the face's mean feature first, which makes the cosines correlations.
        eps: keeps an all-zero position at relation zero.
    """

    def __init__(self, *, grid: int = 16, centred: bool = False, eps: float = 1e-6) -> None:
        super().__init__()
        self.grid = grid
        self.centred = centred
        self.eps = eps

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Compare hidden stages `[N, C_S, H, W]` and `[N, C_T, H, W]`; returns a scalar, the teacher no gradient."""
        with torch.autocast(student.device.type, enabled=False):
            loss: torch.Tensor = (self.relations(teacher.detach()) - self.relations(student)).square().mean()
        return loss

    def relations(self, features: torch.Tensor) -> torch.Tensor:
        """Relations `[N, P, P]` of the P regions of each face, from features `[N, C, H, W]`."""
        features = at_least_float32(features)
        if features.shape[2] > self.grid:
            features = functional.adaptive_avg_pool2d(features, self.grid)
        regions = features.flatten(2).transpose(1, 2)
        if self.centred:
            regions = regions - regions.mean(1, keepdim=True)
        regions = regions / (torch.linalg.vector_norm(regions, dim=2, keepdim=True) + self.eps)
        relations: torch.Tensor = regions @ regions.transpose(1, 2)
        return relations
