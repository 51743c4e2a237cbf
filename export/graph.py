"""Reading and rewriting the portable graph: its contract, its batch axis, and which of its nodes stay in float."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..errors import DataError, UsageError

INPUT, INTENSITIES, HEATMAPS = "crops", "intensities", "heatmaps"
_SUMS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def parse_graph(graph: bytes, *, size: int, sites: int, heatmap_size: int, where: str) -> Any:
    """The portable graph as an ONNX model, once it is checked to honour the contract of all graphs.

    Raises:
        DataError: it is not ONNX, or has other inputs or outputs.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(graph)
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises protobuf's and its own types
        raise DataError(f"{where} is not a valid ONNX graph: {error}. Write the checkpoint again.") from error
    wanted = {
        INPUT: (onnx.TensorProto.UINT8, [size, size, 3]),
        INTENSITIES: (onnx.TensorProto.FLOAT, [sites]),
        HEATMAPS: (onnx.TensorProto.FLOAT, [sites, heatmap_size, heatmap_size]),
    }
    found = {
        value.name: (
            value.type.tensor_type.elem_type,
            [axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]],
        )
        for value in (*model.graph.input, *model.graph.output)
    }
    if found != wanted:
        raise DataError(
            f"{where} does not fit its description: it has {_spell(found)}, expected {_spell(wanted)}. Write the "
            "checkpoint again."
        )
    return model


def with_batch(model: Any, batch: int | Literal["dynamic"]) -> Any:
    """A copy whose first axes are fixed to `batch` crops, or left open."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.graph.value_info[:]  # the shapes in between are inferred anew
    for value in (*copied.graph.input, *copied.graph.output):
        axis = value.type.tensor_type.shape.dim[0]
        axis.ClearField("dim_param")
        axis.ClearField("dim_value")
        if batch == "dynamic":
            axis.dim_param = "N"
        else:
            axis.dim_value = batch
    return onnx.shape_inference.infer_shapes(copied)


def float_nodes(model: Any) -> list[str]:
    """Names of the nodes that stay in float: the head, which is the last convolution before the maps, and the decode.

    They are told by structure, since exporters rename nodes: everything between the last weighted sum and the outputs.
    An intensity is read off the maps directly, so that a step of an int8 map would be a step of the result.
    """
    producers = {output: node for node in model.graph.node for output in node.output}
    kept: dict[str, None] = {}
    pending = [output.name for output in model.graph.output]
    while pending:
        node = producers.get(pending.pop())
        if node is None or node.name in kept:
            continue
        kept[node.name] = None
        if node.op_type not in _SUMS:
            pending.extend(node.input)
    return list(kept)


def input_nodes(model: Any) -> list[str]:
    """Names of the nodes before the first weighted sum: cast, layout and scale of the crop."""
    names: list[str] = []
    reached = {INPUT}
    for node in model.graph.node:
        if node.op_type not in _SUMS and reached & set(node.input):
            names.append(node.name)
            reached |= set(node.output)
    return names


def cast_first(model: Any) -> Any:
    """A copy in which the crop is cast before its layout is changed: TensorRT takes uint8 into nothing but a cast."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    users = [node for node in copied.graph.node if INPUT in node.input]
    if len(users) != 1 or users[0].op_type != "Transpose":
        return copied
    transpose = users[0]
    casts = [node for node in copied.graph.node if transpose.output[0] in node.input]
    if len(casts) != 1 or casts[0].op_type != "Cast":
        return copied
    cast = casts[0]
    before, after = transpose.output[0], cast.output[0]
    cast.input[0], cast.output[0] = INPUT, before
    transpose.input[0], transpose.output[0] = before, after
    nodes = [node for node in copied.graph.node if node not in (cast, transpose)]
    del copied.graph.node[:], copied.graph.value_info[:]
    copied.graph.node.extend([cast, transpose, *nodes])
    return onnx.shape_inference.infer_shapes(copied)


def weighted_sums(model: Any) -> list[str]:
    """Names of the convolutions and matrix products before the head, in order: the layers that int8 is about."""
    kept = set(float_nodes(model))
    return [node.name for node in model.graph.node if node.op_type in _SUMS and node.name not in kept]


def nodes_matching(model: Any, patterns: Sequence[str]) -> tuple[str, ...]:
    """Names of the nodes that any of the regular expressions is found in.

    Raises:
        UsageError: one is no regular expression, or is found in no name.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        try:
            names = [node.name for node in model.graph.node if re.search(pattern, node.name)]
        except re.error as error:
            raise UsageError(f"--keep-float {pattern!r} is no regular expression: {error}.") from error
        if not names:
            layers = weighted_sums(model)
            raise UsageError(
                f"--keep-float {pattern!r} is found in no layer's name. There are {len(layers)}, such as "
                f"{', '.join(layers[:3])}; dsrfau-export inspect lists them."
            )
        found.update(dict.fromkeys(names))
    return tuple(found)


def set_metadata(model: Any, metadata: Mapping[str, str]) -> None:
    """Write what the model says of itself to `metadata_props`, in place of older values of the same keys."""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key not in metadata]
    del model.metadata_props[:]
    for key, value in [*kept, *metadata.items()]:
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def _spell(tensors: dict[str, tuple[int, list[int]]]) -> str:
    from onnx import TensorProto

    return ", ".join(
        f"{name} {TensorProto.DataType.Name(kind).lower()} [N, {', '.join(map(str, shape))}]"
        for name, (kind, shape) in sorted(tensors.items())
    )
