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


def released(quantized: Any, exact: Any, names: Sequence[str]) -> Any:
    """A copy of a Q/DQ graph in which these nodes take their inputs, weights and biases in float.

    Args:
        quantized: what ONNX Runtime's quantizer made of `exact`.
        exact: the float graph with the same node names.
        names: of nodes.
    """
    import onnx as library

    copied = library.ModelProto()
    copied.CopyFrom(quantized)
    _Releaser(copied, exact).release(names)
    return copied


class _Releaser:
    """Rewires nodes of a Q/DQ graph to float inputs; what it adds is named after the float graph's own tensors."""

    def __init__(self, model: Any, exact: Any) -> None:
        self._graph = model.graph
        self._producers = {output: node for node in model.graph.node for output in node.output}
        self._weights = {weight.name: weight for weight in exact.graph.initializer}
        self._originals = {node.name: node for node in exact.graph.node}
        self._exact_producers = {output: node for node in exact.graph.node for output in node.output}
        self._added: set[str] = set()

    def release(self, names: Sequence[str]) -> None:
        nodes: list[Any] = []
        for node in list(self._graph.node):
            if node.name in names:
                for position, original in enumerate(self._originals[node.name].input):
                    node.input[position] = self._float(original, node.input[position], nodes)
            nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(nodes)

    def _float(self, original: str, current: str, before: list[Any]) -> str:
        """The float tensor of one input; what must be computed for it goes to `before`."""
        if original in self._weights:
            return self._weight(original)
        tensor = _before_quantization(current, self._producers)
        source, now = self._exact_producers.get(original), self._producers.get(tensor)
        if source is None or now is None or source.op_type == now.op_type:
            return tensor
        # The quantizer leaves out a ReLU whose bounds the 8-bit range stands for; float needs it again.
        if f"{original}_float" not in self._added:
            again = type(source)()
            again.CopyFrom(source)
            again.name, again.output[0] = f"{source.name}_float", f"{original}_float"
            again.input[:] = [tensor, *(self._weight(name) if name else "" for name in source.input[1:])]
            before.append(again)
            self._added.add(f"{original}_float")
        return f"{original}_float"

    def _weight(self, name: str) -> str:
        own = f"{name}_float"  # a dequantized bias has the name that the float one had
        if own not in self._added:
            self._graph.initializer.append(self._weights[name])
            self._graph.initializer[-1].name = own
            self._added.add(own)
        return own


def _before_quantization(name: str, producers: dict[str, Any]) -> str:
    """The float tensor behind a Q/DQ pair, or the tensor itself where there is no pair."""
    dequantize = producers.get(name)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return name
    quantize = producers.get(dequantize.input[0])
    return str(quantize.input[0]) if quantize is not None and quantize.op_type == "QuantizeLinear" else name


def _is_quantized(quantized: Any, name: str) -> bool:
    producers = {output: node for node in quantized.graph.node for output in node.output}
    node = next((node for node in quantized.graph.node if node.name == name), None)
    return node is not None and _before_quantization(node.input[0], producers) != node.input[0]


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
