"""The distillation's adaptors for a student that has been trained before, without the ones it was trained with.

A checkpoint does not keep them. Random ones would pull the student away from what it knows for as long as a short
fine-tune lasts: they are fitted first, by least squares.
"""

from __future__ import annotations

import torch
from torch import nn

from .distillation import DistillationTask

_BATCH = 32
#: Of the mean square of the student's features: keeps channels that never fire from being divided by.
_RIDGE = 1e-4


@torch.no_grad()
def fit_adaptors(task: DistillationTask, crops: torch.Tensor) -> None:
    """Set every adaptor to the linear map that best makes the teacher's stage of the student's.

    The ReLU behind it is left out of the fit; it only brings closer to stages that are never negative.

    Args:
        task: its adaptors are changed; its networks are looked at in evaluation mode.
        crops: uint8 `[n, side, side, 3]`.
    """
    training = task.training
    task.eval()
    layers = {
        name: convolution
        for name, adaptor in task.adaptors.items()
        if isinstance(adaptor, nn.Sequential) and isinstance(convolution := adaptor[0], nn.Conv2d)
    }
    squares: dict[str, torch.Tensor] = {}
    products: dict[str, torch.Tensor] = {}
    for batch in torch.split(crops, _BATCH) if layers else ():
        student, teacher = task.network(batch).stages, task.teacher(batch).stages
        for name in layers:
            x, y = _rows(student[name]), _rows(teacher[name])
            x = torch.cat([x, x.new_ones(len(x), 1)], 1)
            squares[name] = squares.get(name, torch.zeros(())) + x.T @ x
            products[name] = products.get(name, torch.zeros(())) + x.T @ y
    for name, layer in layers.items():
        square = squares[name]
        ridge = _RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
        solved = torch.linalg.solve(square + ridge, products[name]).T.float()
        layer.weight.copy_(solved[:, :-1, None, None])
        assert layer.bias is not None  # as distillation makes them
        layer.bias.copy_(solved[:, -1])
    task.train(training)


def _rows(features: torch.Tensor) -> torch.Tensor:
    """`[N, C, H, W]` as `[N·H·W, C]`, in double precision for the sums."""
    return features.permute(0, 2, 3, 1).flatten(0, 2).double()
