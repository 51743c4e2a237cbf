"""What a loss has to know of the other processes of a distributed run."""

from __future__ import annotations

import torch
from torch import distributed


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of every process's scalar, without gradient; the value itself where there is one process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    mean = value.detach().clone()
    distributed.all_reduce(mean)
    return mean / distributed.get_world_size()
