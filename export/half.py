"""Half precision for part of a graph: casts stand only where the parts meet, so that what stays float stays exact."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

#: Inputs that are float32 whatever the type of the data, by operation and position.
_ALWAYS_FLOAT = {("Resize", 1), ("Resize", 2)}


def halved(model: Any, *, keep: Collection[str]) -> Any:
    """A copy of an fp32 model in which every node but those named in `keep` computes in fp16.

    The nodes that compute the graph's outputs must be among the kept, so that its outputs keep their type. Weights too
    large or too small for fp16 saturate or vanish, which the parity check shows.
    """
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.graph.value_info[:]
    halver = _Halver(copied, onnx)
    nodes = []
    for node in list(copied.graph.node):
        nodes.extend(halver.rewritten(node, half=node.name not in keep))
    halver.drop_unused(nodes)
    del copied.graph.node[:]
    copied.graph.node.extend(nodes)
    return onnx.shape_inference.infer_shapes(copied)


class _Halver:
    """Tracks the type of every tensor while the nodes are walked in order."""

    def __init__(self, model: Any, onnx: Any) -> None:
        self._graph, self._onnx = model.graph, onnx
        # Types before the rewrite: only float tensors are touched (axes and sizes are int64, the crop is uint8).
        known = onnx.shape_inference.infer_shapes(model).graph
        self._float = {
            value.name
            for value in (*known.value_info, *known.input, *known.output)
            if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        }
        self._weights = {weight.name: weight for weight in self._graph.initializer}
        self._float |= {name for name, weight in self._weights.items() if weight.data_type == onnx.TensorProto.FLOAT}
        self._is_half: set[str] = set()  # tensors that are fp16 under their own name
        self._casts: dict[tuple[str, bool], str] = {}

    def rewritten(self, node: Any, *, half: bool) -> list[Any]:
        """The casts that a node needs before it, and the node."""
        before: list[Any] = []
        for position, name in enumerate(node.input):
            if name in self._float:
                wants_half = half and (node.op_type, position) not in _ALWAYS_FLOAT
                node.input[position] = self._as(name, before, half=wants_half)
        if half:
            if node.op_type == "Cast":
                self._retarget(node)
            self._is_half |= {name for name in node.output if name in self._float}
        return [*before, node]

    def drop_unused(self, nodes: list[Any]) -> None:
        """Take away the fp32 weights whose fp16 copies are used instead."""
        used = {name for node in nodes for name in node.input}
        kept = [weight for weight in self._graph.initializer if weight.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _as(self, name: str, before: list[Any], *, half: bool) -> str:
        """The name under which a tensor is found in the wanted type."""
        if half == (name in self._is_half):
            return name
        key = (name, half)
        if key not in self._casts:
            self._casts[key] = f"{name}_{'half' if half else 'float'}"
            if name in self._weights:
                self._copy_weight(name, self._casts[key])
            else:
                before.append(self._cast(name, self._casts[key], to_half=half))
        return self._casts[key]

    def _copy_weight(self, name: str, copy: str) -> None:
        values = self._onnx.numpy_helper.to_array(self._weights[name])
        limit = float(np.finfo(np.float16).max)
        small = np.clip(values, -limit, limit).astype(np.float16)
        self._graph.initializer.append(self._onnx.numpy_helper.from_array(small, copy))

    def _cast(self, source: str, result: str, *, to_half: bool) -> Any:
        kind = self._onnx.TensorProto.FLOAT16 if to_half else self._onnx.TensorProto.FLOAT
        return self._onnx.helper.make_node("Cast", [source], [result], name=f"{result}_cast", to=kind)

    def _retarget(self, node: Any) -> None:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == self._onnx.TensorProto.FLOAT:
                attribute.i = self._onnx.TensorProto.FLOAT16
