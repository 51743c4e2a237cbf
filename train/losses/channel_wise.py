"""Channel-wise relationship loss: which features show together (DSR-FAU, third distillation loss)."""

from __future__ import annotations

import torch
from torch import nn

from .precision import at_least_float32


class ChannelWiseLoss(nn.Module):
    """`||K_T - K_S||_F^2 / C^2` with `K = U U^T`, `u_c = F[c, :] / (||F[c, :]|| + eps)`; mean over faces.

    K relates the channels of *one face*: the implicit co-occurrence of what they stand for. The two must have as many
    channels (an adaptor sees to that in training); their grids may differ.

    Args:
        centred: subtract each channel's mean first, which makes the cosines correlations.
        eps: keeps an all-zero channel at relation zero.
    """

    def __init__(self, *, centred: bool = False, eps: float = 1e-6) -> None:
        super().__init__()
        self.centred = centred
        self.eps = eps

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Compare hidden stages `[N, C, H, W]`; returns a scalar. The teacher gets no gradient."""
        with torch.autocast(student.device.type, enabled=False):
            loss: torch.Tensor = (self.relations(teacher.detach()) - self.relations(student)).square().mean()
        return loss

    def relations(self, features: torch.Tensor) -> torch.Tensor:
        """Relations `[N, C, C]` of the channels of each face, from features `[N, C, H, W]`."""
        channels = at_least_float32(features).flatten(2)
        if self.centred:
            channels = channels - channels.mean(2, keepdim=True)
        channels = channels / (torch.linalg.vector_norm(channels, dim=2, keepdim=True) + self.eps)
        relations: torch.Tensor = channels @ channels.transpose(1, 2)
        return relations
