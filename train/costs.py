"""What a network costs for one crop: weights, operations, activation memory, time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from .networks.heatmap import HeatmapNetwork

#: Operators that write over an input of theirs which nothing else needs any more.
_IN_PLACE = frozenset({"Add", "Clip", "Div", "Identity", "Mul", "Relu", "Reshape", "Sub"})
_FLOAT = 4
_LATENCY_WARMUP = 5


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes of a forward pass's tensors: most that are alive at once, and all together."""

    peak: int
    total: int


def count_parameters(network: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: HeatmapNetwork, input_size: int) -> int:
    """Multiply-accumulates of the convolutions and deconvolutions for one crop.

    Convention: a convolution counts its kernel once per *output* position, a deconvolution once per *input* position
    (that is what a deconvolution computes); additions, norms (folded when exported) and activations count nothing.
    """
    macs = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs
        weight = module.get_parameter("weight")
        positions = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        macs += weight.numel() * positions.shape[2] * positions.shape[3]

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, kinds)]
    was_training = network.training
    try:
        device = next(network.parameters()).device
        with torch.no_grad():
            network.eval()(torch.zeros(1, input_size, input_size, 3, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return macs


def activation_memory(model: onnx.ModelProto, *, value_bytes: int) -> Activations:
    """Memory of one crop's activations in an exported graph, computed from its shapes.

    Convention: the graph's nodes run in their order; a tensor lives from the node that makes it to the last that reads
    it, and an output of the graph to the end. Norms are folded, and elementwise operators write over an input that
    nothing else reads. The uint8 crop counts, weights and a runtime's scratch memory do not. The head's heatmaps and
    the decode stay in float32, as they do in a quantized model.

    Args:
        model: an exported graph; its first axis is the batch and counts as one.
        value_bytes: bytes of an activation: 4 for float32, 1 for int8.
    """
    graph = model.graph
    sizes = _value_sizes(model, value_bytes)
    last_use = {name: number for number, node in enumerate(graph.node) for name in node.input}
    last_use |= {output.name: len(graph.node) for output in graph.output}
    weights = {weight.name for weight in graph.initializer}
    live = {value.name: sizes[value.name] for value in graph.input if value.name not in weights}
    inputs = set(live)
    peak = total = sum(live.values())
    for number, node in enumerate(graph.node):
        for output in filter(None, node.output):
            taken = _taken_over(node, sizes[output], live, last_use, number, inputs)
            if taken is None:
                total += sizes[output]
            else:
                del live[taken]
            live[output] = sizes[output]
        peak = max(peak, sum(live.values()))
        live = {name: size for name, size in live.items() if last_use.get(name, number) > number}
    return Activations(peak, total)


def _taken_over(
    node: onnx.NodeProto, size: int, live: Mapping[str, int], last_use: Mapping[str, int], number: int, inputs: set[str]
) -> str | None:
    """The input whose memory an elementwise node's output takes."""
    if node.op_type not in _IN_PLACE:
        return None
    dying = (name for name in node.input if name not in inputs and last_use[name] == number)
    return next((name for name in dying if live.get(name) == size), None)


def _value_sizes(model: onnx.ModelProto, value_bytes: int) -> dict[str, int]:
    """Bytes of every value of one crop."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    in_float = {name for node in graph.node if node.name.startswith(("head/", "decode/")) for name in node.output}
    sizes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        count = math.prod(dim.dim_value if dim.HasField("dim_value") else 1 for dim in tensor.shape.dim)
        floating = _FLOAT if value.name in in_float else value_bytes
        sizes[value.name] = count * (1 if tensor.elem_type == onnx.TensorProto.UINT8 else floating)
    return sizes


def cpu_latency(model: bytes, input_size: int, *, runs: int = 30) -> dict[str, Any]:
    """Median time of one crop through onnxruntime on one CPU thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    crop = {"crops": np.zeros((1, input_size, input_size, 3), np.uint8)}
    times = []
    for _ in range(runs + _LATENCY_WARMUP):
        start = time.perf_counter()
        session.run(["intensities"], crop)
        times.append(time.perf_counter() - start)
    median = float(np.median(times[_LATENCY_WARMUP:]))
    return {
        "milliseconds": round(median * 1e3, 2),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "threads": 1,
        "runs": runs,
    }
