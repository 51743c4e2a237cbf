"""The portable ONNX graph of a trained network: what every target is built from.

Input `crops` uint8 `[N, size, size, 3]`; outputs `intensities` `[N, S]` and `heatmaps` `[N, S, h, h]`, float32; the
batch is dynamic. Norms are folded. The head's node is named `head/...` and all behind the heatmaps `decode/...`, so
that a quantizer can leave both in float.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dsrfau_edge.errors import VerificationFailed

from .networks.heatmap import DecodedNetwork, HeatmapNetwork

OPSET = 20
#: Largest difference allowed between torch and onnxruntime, in intensity (0–5) and heatmap units.
TOLERANCE = 1e-4
_INPUT, _OUTPUTS = "crops", ("intensities", "heatmaps")


def export_graph(network: HeatmapNetwork, *, input_size: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Export a network with its decode.

    Args:
        network: the trained network; not changed.
        input_size: side of the crops.
        metadata: written to the model's metadata.

    Returns:
        A checked ONNX model with all weights inside.
    """
    decoded = DecodedNetwork(copy.deepcopy(network).cpu().eval()).eval()
    fold_norms(decoded)
    example = torch.zeros(2, input_size, input_size, 3, dtype=torch.uint8)
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            decoded,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[_INPUT],
            output_names=list(_OUTPUTS),
            dynamic_shapes={"crops": {0: torch.export.Dim("N", min=1)}},
            external_data=False,
            verbose=False,
        )
    assert program is not None  # only the exporter's other modes return nothing
    model = program.model_proto
    _name_nodes(model)
    _strip(model)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's remarks about packages it does not find, and its passes' chatter, out of our log."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def fold_norms(network: nn.Module) -> None:
    """Fold every batch norm into the (transposed) convolution before it, in place; for evaluation only."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            _fold_sequence(module)


def _fold_sequence(sequence: nn.Sequential) -> None:
    for position in range(len(sequence) - 1):
        first, second = sequence[position], sequence[position + 1]
        if isinstance(first, (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(second, nn.BatchNorm2d):
            sequence[position] = fuse_conv_bn_eval(first, second, transpose=isinstance(first, nn.ConvTranspose2d))
            sequence[position + 1] = nn.Identity()


def _name_nodes(model: onnx.ModelProto) -> None:
    """Give nodes short names: `head/…` for the 1×1 head, `decode/…` for all from the heatmaps to the intensities."""
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    decode: set[str] = set()
    frontier = ["intensities"]
    while frontier:
        value = frontier.pop()
        if value != "heatmaps" and value in makers and value not in decode:
            decode.add(value)
            frontier.extend(makers[value].input)
    for number, node in enumerate(graph.node):
        if any(name.endswith("head.weight") for name in node.input):
            part = "head"
        else:
            part = "decode" if decode.intersection(node.output) else "body"
        node.name = f"{part}/{node.op_type}_{number}"


def _strip(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes for debugging (stack traces with this machine's paths)."""
    model.producer_name, model.doc_string = "dsrfau-edge", ""
    del model.functions[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


def parity(network: HeatmapNetwork, model: bytes, crops: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Largest differences between torch and onnxruntime on the same crops `[N, size, size, 3]`.

    Raises:
        VerificationFailed: they differ by more than `TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: Sequence[npt.NDArray[np.float32]] = session.run(list(_OUTPUTS), {_INPUT: crops})
    reference = DecodedNetwork(copy.deepcopy(network).cpu()).eval()
    with torch.no_grad():
        expected = [value.numpy() for value in reference(torch.from_numpy(crops))]
    pairs = zip(_OUTPUTS, found, expected, strict=True)
    differences = {name: float(np.abs(mine - theirs).max()) for name, mine, theirs in pairs}
    worst = max(differences.values())
    if not worst <= TOLERANCE:
        raise VerificationFailed(
            f"The exported graph differs from the network by {worst:.2g} (allowed: {TOLERANCE:g}). Nothing was "
            "written. Check the versions of torch and onnxscript against the ones in pyproject.toml."
        )
    return {"runtime": f"onnxruntime {onnxruntime.__version__}", "crops": len(crops), "largest_difference": differences}
