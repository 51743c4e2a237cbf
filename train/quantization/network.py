"""The heatmap network as its int8 graph will compute it, in float numbers with gradients.

Weights are rounded with their batch norm folded in, activations where the exporter puts its QuantizeLinear and
DequantizeLinear pairs. Scaling of the crop, head and decode stay in float, as they do in the graph. Rounding hands its
gradient straight through (Bengio, Léonard and Courville 2013, arXiv:1308.3432), clipping stops it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ..networks.heatmap import HeatmapNetwork, Prediction, scaled
from .plan import Plan, Step, plan
from .scheme import Scheme, rounded_bias, rounded_weight, weight_scale

_BATCH = 32
Mode = Literal["int8", "float", "observing"]


class FakeQuantizedNetwork(HeatmapNetwork):
    """A trained network's own modules, run as int8 would run them.

    Batch norms are folded with the statistics that they have, and gather none; their factors and shifts are trained.

    Args:
        network: trained; its modules are shared, not copied.
        scheme: whose integers.
        crops: uint8 `[n, side, side, 3]`, what the ranges of the activations are measured on, as the exporter does.
        every: in training, the ranges are measured anew before every so manieth step.

    Raises:
        UsageError: the network holds an operation of which it is not known how int8 does it.
    """

    ranges: torch.Tensor
    steps: torch.Tensor

    def __init__(self, network: HeatmapNetwork, scheme: Scheme, crops: torch.Tensor, *, every: int = 50) -> None:
        nn.Module.__init__(self)
        self.config, self.backbone, self.upsampler = network.config, network.backbone, network.upsampler
        self.head = network.head
        self.scheme, self.every = scheme, every
        self.plan: Plan = plan(network, scheme)
        self._crops = crops
        self._mode: Mode = "int8"
        self.register_buffer("ranges", torch.zeros(self.plan.points, 2))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.calibrate()

    def forward(self, crops: torch.Tensor) -> Prediction:
        """As `HeatmapNetwork.forward`; the stages are rounded too."""
        if self.training and torch.is_grad_enabled():
            if int(self.steps) % self.every == 0:
                self.calibrate()
            self.steps += 1
        stages = self._stages(scaled(crops))
        return Prediction(self.head(stages["stride4"]), stages)

    @torch.no_grad()
    def calibrate(self) -> None:
        """Measure the activations' ranges: smallest and largest value of the network in float, as ONNX Runtime does."""
        self.ranges[:, 0], self.ranges[:, 1] = float("inf"), float("-inf")
        with self._as("observing"):
            for crops in torch.split(self._crops, _BATCH):
                self._stages(scaled(crops.to(self.ranges.device)))

    @contextlib.contextmanager
    def in_float(self) -> Iterator[None]:
        """Without any rounding: the network that the checkpoint will hold."""
        with self._as("float"):
            yield

    def unquantized(self) -> HeatmapNetwork:
        """An ordinary network of copies of the weights."""
        network = HeatmapNetwork(self.config, self.head.out_channels, pretrained=False)
        own = self.state_dict()
        network.load_state_dict({name: own[name] for name in network.state_dict()})
        return network.eval()

    @contextlib.contextmanager
    def _as(self, mode: Mode) -> Iterator[None]:
        before, self._mode = self._mode, mode
        try:
            yield
        finally:
            self._mode = before

    def _stages(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        integers = self.scheme.integers(self.ranges)
        values = {self.plan.source: self._rounded(x, 0, integers)}
        for step in self.plan.steps:
            value = self._computed(step, values, integers[0])
            values[step.name] = value if step.point is None else self._rounded(value, step.point, integers)
        return {stage: values[name] for stage, name in self.plan.stages.items()}

    def _rounded(self, x: torch.Tensor, point: int, integers: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        if self._mode == "observing":
            low, high = torch.aminmax(x)
            self.ranges[point, 0] = torch.minimum(self.ranges[point, 0], low)
            self.ranges[point, 1] = torch.maximum(self.ranges[point, 1], high)
        if self._mode != "int8":
            return x
        scale, zero = integers
        return self.scheme.rounded(x.float(), scale[point], zero[point])

    def _computed(self, step: Step, values: Mapping[str, torch.Tensor], scales: torch.Tensor) -> torch.Tensor:
        inputs = [values[name] for name in step.inputs]
        if step.kind == "add":
            return inputs[0] + inputs[-1]
        if step.kind == "relu":
            return functional.relu(inputs[0])
        if step.kind == "relu6":
            return functional.relu6(inputs[0])
        if step.kind == "conv":
            return self._convolved(step, inputs[0], scales)
        handed_on: torch.Tensor = self.get_submodule(step.module)(inputs[0])
        return handed_on

    def _convolved(self, step: Step, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        layer = self.get_submodule(step.module)
        assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))  # what the plan calls so
        transposed = isinstance(layer, nn.ConvTranspose2d)
        axis = 1 if transposed else 0
        weight, bias = self._folded(layer, step.norm, axis)
        if self._mode == "int8":
            scale = weight_scale(weight, axis)
            weight = rounded_weight(weight, scale, axis)
            if bias is not None and self.scheme.biases:
                bias = rounded_bias(bias, scale * scales[step.grid])
        if isinstance(layer, nn.ConvTranspose2d):
            return functional.conv_transpose2d(
                x, weight, bias, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation  # type: ignore[arg-type]
            )  # fmt: skip
        return functional.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    def _folded(
        self, layer: nn.Conv2d | nn.ConvTranspose2d, norm: str, axis: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias of a convolution with the norm behind it."""
        if not norm:
            return layer.weight, layer.bias
        following = self.get_submodule(norm)
        assert isinstance(following, nn.BatchNorm2d)  # what the plan calls so
        mean, variance = following.running_mean, following.running_var
        assert mean is not None
        assert variance is not None
        factor = torch.rsqrt(variance + following.eps)
        if following.weight is not None:
            factor = factor * following.weight
        shift = -mean if layer.bias is None else layer.bias - mean
        bias = shift * factor if following.bias is None else shift * factor + following.bias
        shape = [1] * layer.weight.ndim
        shape[axis] = -1
        return layer.weight * factor.reshape(shape), bias
