"""Feature-map loss: hidden stages distributed like the teacher's (DSR-FAU, first distillation loss)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .precision import at_least_float32


class FeatureMapLoss(nn.Module):
    """`mean (F_S - F_T)^2`, or with a temperature the divergence of each channel's distribution over positions.

    With a temperature T: `T^2 / C * sum_c KL(softmax(F_T[c] / T) || softmax(F_S[c] / T))`, mean over faces
    (channel-wise distillation of Shu et al., ICCV 2021).

    Args:
        temperature: `None` for the squared error.
    """

    def __init__(self, *, temperature: float | None = None) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Compare hidden stages `[N, C, H, W]` of equal shape; returns a scalar. The teacher gets no gradient."""
        with torch.autocast(student.device.type, enabled=False):
            student, teacher = at_least_float32(student), at_least_float32(teacher.detach())
            if self.temperature is None:
                return functional.mse_loss(student, teacher)
            log_student = (student.flatten(2) / self.temperature).log_softmax(2)
            log_teacher = (teacher.flatten(2) / self.temperature).log_softmax(2)
            divergence = functional.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
            return divergence * self.temperature**2 / (student.shape[0] * student.shape[1])
