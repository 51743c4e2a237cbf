"""Which layers int8 hurts: what goes away when one layer alone computes in float again, and each layer's noise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DsrfauError
from ..runtimes.base import Crops, Floats
from . import onnx
from .calibration import in_batches
from .graph import INPUT, INTENSITIES, cast_first, weighted_sums
from .onnx import QdqScheme
from .release import before_quantization, released

_CROPS = 32


@dataclass(frozen=True, slots=True)
class Layer:
    """What int8 does to one convolution or matrix product.

    Attributes:
        name: of its node in the portable graph.
        gain: share of the mean error of the intensities that goes away if this layer alone is float; may be negative.
        snr_db: of its output in the quantized graph against the float one.
    """

    name: str
    gain: float
    snr_db: float


def layers_by_gain(model: Any, crops: Crops, scheme: QdqScheme, method: str, compared: Crops) -> list[Layer]:
    """The quantized layers of a graph, the most sensitive first.

    Args:
        model: the fp32 graph.
        crops: to calibrate on.
        scheme: of the target; OpenVINO's own differs a little, and takes `CPU_SCHEME`.
        method: of calibration.
        compared: crops the errors are measured on; the first 32 are used.

    Raises:
        DsrfauError: ONNX Runtime cannot quantize the graph.
    """
    exact = cast_first(onnx.prepare(model))
    quantized = onnx.to_int8(model, crops, scheme, method)
    batch = _batch(exact)
    seen = compared[np.arange(max(_CROPS // batch, 1) * batch) % len(compared)]
    names = [name for name in weighted_sums(exact) if _is_quantized(quantized, name)]
    expected = _run(exact, seen, batch)
    error = float(np.abs(_run(quantized, seen, batch) - expected).mean())
    noise = _noise(exact, quantized, names, seen, batch)
    layers = []
    for name in names:
        left = float(np.abs(_run(released(quantized, exact, [name]), seen, batch) - expected).mean())
        layers.append(Layer(name, 1 - left / error if error > 0 else 0.0, noise[name]))
    return sorted(layers, key=lambda layer: -layer.gain)


def keep_pattern(names: Sequence[str]) -> str:
    """The regular expression to type after `--keep-float` for these layers."""
    return f"^({'|'.join(map(re.escape, names))})$" if len(names) > 1 else f"^{re.escape(names[0])}$"


def _is_quantized(quantized: Any, name: str) -> bool:
    producers = {output: node for node in quantized.graph.node for output in node.output}
    node = next((node for node in quantized.graph.node if node.name == name), None)
    return node is not None and before_quantization(node.input[0], producers) != node.input[0]


def _noise(exact: Any, quantized: Any, names: Sequence[str], crops: Crops, batch: int) -> dict[str, float]:
    """Signal to noise in dB of each layer's output, everything before it quantized too."""
    true, noisy = (_outputs_of(model, names, crops, batch) for model in (exact, quantized))
    return {name: _snr(true[name], noisy[name]) for name in names}


def _outputs_of(model: Any, names: Sequence[str], crops: Crops, batch: int) -> dict[str, Floats]:
    """What these nodes give. Their outputs' names differ: the quantizer leaves out a ReLU that its ranges stand for."""
    tensors = {node.name: node.output[0] for node in model.graph.node if node.name in names}
    found = _run_all(_exposed(model, list(tensors.values())), crops, batch, list(tensors.values()))
    return {name: found[tensor] for name, tensor in tensors.items()}


def _snr(signal: Floats, noisy: Floats) -> float:
    noise = float(np.square(noisy - signal, dtype=np.float64).sum())
    power = float(np.square(signal, dtype=np.float64).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10(max(power, 1e-30) / noise))


def _exposed(model: Any, tensors: Sequence[str]) -> Any:
    """A copy that gives these tensors as outputs too."""
    import onnx as library

    copied = library.ModelProto()
    copied.CopyFrom(model)
    have = {output.name for output in copied.graph.output}
    copied.graph.output.extend(
        library.helper.make_tensor_value_info(name, library.TensorProto.FLOAT, None)
        for name in tensors
        if name not in have
    )
    return copied


def _run(model: Any, crops: Crops, batch: int) -> Floats:
    return _run_all(model, crops, batch, [INTENSITIES])[INTENSITIES]


def _run_all(model: Any, crops: Crops, batch: int, names: Sequence[str]) -> dict[str, Floats]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(onnx.serialized(model), options, providers=["CPUExecutionProvider"])
        parts = [session.run(list(names), {INPUT: part}) for part in in_batches(crops, batch)]
    except Exception as error:
        raise DsrfauError(f"ONNX Runtime cannot run the quantized graph: {error}. Update onnxruntime.") from error
    return {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}


def _batch(model: Any) -> int:
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value) or 1
