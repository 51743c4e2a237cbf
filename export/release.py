"""Taking single nodes of a Q/DQ graph back to float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def released(quantized: Any, exact: Any, names: Sequence[str]) -> Any:
    """A copy of a Q/DQ graph in which these nodes take their inputs, weights and biases in float.

    ONNX Runtime's own exclusion of a node leaves its input in 8 bits wherever the layer before is quantized, which is
    no help to a layer that suffers from just that.

    Args:
        quantized: what ONNX Runtime's quantizer made of `exact`.
        exact: the float graph with the same node names.
        names: of nodes.
    """
    import onnx as library

    copied = library.ModelProto()
    copied.CopyFrom(quantized)
    _Releaser(copied, exact).release(names)
    _drop_unused(copied.graph)
    return copied


def _drop_unused(graph: Any) -> None:
    """Take away nodes and weights that nothing reads any more."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(list(graph.node)):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    weights = [weight for weight in graph.initializer if weight.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)


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
        tensor = before_quantization(current, self._producers)
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


def before_quantization(name: str, producers: dict[str, Any]) -> str:
    """The float tensor behind a Q/DQ pair, or the tensor itself where there is no pair."""
    dequantize = producers.get(name)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return name
    quantize = producers.get(dequantize.input[0])
    return str(quantize.input[0]) if quantize is not None and quantize.op_type == "QuantizeLinear" else name
