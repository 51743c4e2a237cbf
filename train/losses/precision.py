"""Precision of the losses: float32, whatever the networks ran in."""

from __future__ import annotations

import torch


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Float32; float64 stays, so that gradients can be checked."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
