"""Which integers stand for which numbers, as ONNX Runtime's quantizer chooses them from a range."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dsrfau_edge.errors import UsageError

#: Weights are symmetric in both schemes: -127 to 127, one scale per output channel.
_WEIGHT_LIMIT = 127


@dataclass(frozen=True, slots=True)
class Scheme:
    """An int8 scheme of the exporter's.

    Attributes:
        name: as typed after `--scheme`.
        lowest, highest: of an activation's integers.
        symmetric: whether an activation's zero is the integer 0.
        sums_alone: whether only what weighted sums read is rounded, or every operation's output.
        biases: whether a sum's bias is rounded to the integers that its products are in.
        targets: of `dsrfau-export` that use it.
    """

    name: str
    lowest: int
    highest: int
    symmetric: bool
    sums_alone: bool
    biases: bool
    targets: tuple[str, ...]

    def integers(self, ranges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scales (float32) and zero points (int32), each `[T]`, of ranges `[T, 2]` from smallest to largest.

        Every range is widened to hold zero. One that holds nothing else has the scale 1.
        """
        low, high = ranges[:, 0].clamp(max=0), ranges[:, 1].clamp(min=0)
        if self.symmetric:
            high = torch.maximum(-low, high)
            low = -high
        scale, empty = _scale(high - low, self.highest - self.lowest)
        zero = torch.zeros_like(scale) if self.symmetric else torch.round(self.lowest - low / scale)
        return scale, torch.where(empty, 0, zero).to(torch.int32)

    def rounded(self, x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        """An activation as the integers of one scale and zero point can tell it; clipped values get no gradient."""
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, self.lowest, self.highest)


#: ONNX Runtime's own on a CPU, and close to what NNCF does for OpenVINO.
U8S8 = Scheme("u8s8", 0, 255, symmetric=False, sums_alone=False, biases=True, targets=("onnx", "openvino"))
#: TensorRT's.
S8S8 = Scheme("s8s8", -127, 127, symmetric=True, sums_alone=True, biases=False, targets=("tensorrt",))
SCHEMES = {scheme.name: scheme for scheme in (U8S8, S8S8)}


def scheme_named(name: str) -> Scheme:
    """The scheme of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in SCHEMES:
        raise UsageError(f"Unknown scheme {name!r}. Known: {', '.join(SCHEMES)}.")
    return SCHEMES[name]


def weight_scale(weight: torch.Tensor, axis: int) -> torch.Tensor:
    """One scale per slice of a weight along `axis`, such that its largest is the largest integer."""
    others = [position for position in range(weight.ndim) if position != axis]
    return _scale(2 * weight.detach().abs().amax(others), 2 * _WEIGHT_LIMIT)[0]


def rounded_weight(weight: torch.Tensor, scale: torch.Tensor, axis: int) -> torch.Tensor:
    """A weight as symmetric integers of one scale per slice along `axis` can tell it."""
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -_WEIGHT_LIMIT, _WEIGHT_LIMIT)


def rounded_bias(bias: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """A bias as 32-bit integers can tell it; they are wide enough to clip nothing."""
    return bias + (torch.round(bias / scale) * scale - bias).detach()


def _scale(width: torch.Tensor, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales, and where there is no width to divide."""
    scale = width / steps
    empty = scale < torch.finfo(scale.dtype).tiny
    return torch.where(empty, 1.0, scale), empty
