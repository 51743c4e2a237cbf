"""A network as the steps of its exported graph: sums with their norms folded, activations, and where int8 rounds."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import fx, nn

from dsrfau_edge.errors import UsageError

from ..networks.heatmap import HeatmapNetwork
from .scheme import Scheme

Kind = Literal["conv", "relu", "relu6", "add", "pool", "resize"]
_MODULES: dict[type[nn.Module], Kind] = {
    nn.Conv2d: "conv",
    nn.ConvTranspose2d: "conv",
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.MaxPool2d: "pool",
    nn.Upsample: "resize",
}
_ACTIVATIONS = ("relu", "relu6")
#: These hand on what they are given: on the grid of their input's integers already.
_HAND_ON = ("pool", "resize")


@dataclass(frozen=True, slots=True)
class Step:
    """One operation.

    Attributes:
        name: of its output.
        kind: what it does.
        inputs: names of other steps' outputs.
        module: name of the network's module that does it, "" for an addition.
        norm: name of the batch norm behind a convolution, "" where there is none.
        point: which of the rounded tensors its output is, or None where it is not rounded.
        grid: of a convolution: the rounded tensor whose integers it reads.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    module: str = ""
    norm: str = ""
    point: int | None = None
    grid: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps between the scaled crop and the head.

    Attributes:
        source: name of the scaled crop, the first of the rounded tensors.
        steps: in order.
        stages: steps whose outputs are the hidden stages, by stage.
        points: how many tensors are rounded.
    """

    source: str
    steps: tuple[Step, ...]
    stages: Mapping[str, str]
    points: int


def plan(network: HeatmapNetwork, scheme: Scheme) -> Plan:
    """Follow a network's forward pass.

    Raises:
        UsageError: it holds an operation of which it is not known how int8 does it.
    """
    graph = _Tracer().trace(_Body(network.backbone, network.upsampler))
    _drop_identities(graph, network)
    source, steps, stages = "", list[Step](), dict[str, str]()
    for node in graph.nodes:
        if node.op == "placeholder":
            source = node.name
        elif node.op == "output":
            stages = {name: _named(value, network) for name, value in node.args[0].items()}
        elif not _is_norm(node, network):
            steps.append(_step(node, network))
    rounded = [source, *(step.name for step in steps if _is_rounded(step, steps, scheme))]
    points = {name: number for number, name in enumerate(rounded)}
    return Plan(source, _pointed(steps, points), stages, len(points))


def _pointed(steps: Sequence[Step], points: Mapping[str, int]) -> tuple[Step, ...]:
    """The steps with their rounded tensors' numbers."""
    grids, pointed = dict(points), []
    for step in steps:
        if step.kind in _HAND_ON and step.name not in grids and step.inputs[0] in grids:
            grids[step.name] = grids[step.inputs[0]]
        grid = grids[step.inputs[0]] if step.kind == "conv" else 0
        pointed.append(replace(step, point=points.get(step.name), grid=grid))
    return tuple(pointed)


def _is_rounded(step: Step, steps: Sequence[Step], scheme: Scheme) -> bool:
    """Whether the exported graph rounds a step's output.

    ONNX Runtime's quantizer drops a ReLU behind a sum, since the range of the rounding has the same bounds.
    """
    readers = [reader for reader in steps if step.name in reader.inputs]
    if scheme.sums_alone:
        return any(reader.kind == "conv" for reader in readers)
    if step.kind in _ACTIVATIONS:
        return True
    return step.kind not in _HAND_ON and not (len(readers) == 1 and readers[0].kind in _ACTIVATIONS)


class _Body(nn.Module):
    """What is between the scaled crop and the head, under the network's own names."""

    def __init__(self, backbone: nn.Module, upsampler: nn.Module) -> None:
        super().__init__()
        self.backbone, self.upsampler = backbone, upsampler

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        stages: dict[str, torch.Tensor] = self.upsampler(self.backbone(x))
        return stages


class _Tracer(fx.Tracer):
    """Stops at modules without parts, whoever wrote them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return next(m.children(), None) is None


def _drop_identities(graph: fx.Graph, network: nn.Module) -> None:
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _is_norm(node: fx.Node, network: nn.Module) -> bool:
    """Whether it is a batch norm that is folded into the convolution before it.

    Raises:
        UsageError: a batch norm that cannot be.
    """
    if node.op != "call_module" or not isinstance(network.get_submodule(str(node.target)), nn.BatchNorm2d):
        return False
    before = node.args[0]
    if isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1:
        made_by = network.get_submodule(str(before.target))
        if isinstance(made_by, (nn.Conv2d, nn.ConvTranspose2d)):
            return True
    raise UsageError(f"The batch norm {node.target} does not follow a convolution of its own: int8 cannot fold it.")


def _norm(node: fx.Node, network: nn.Module) -> fx.Node | None:
    following = next(iter(node.users), None)
    return following if following is not None and _is_norm(following, network) else None


def _named(node: fx.Node, network: nn.Module) -> str:
    """Name of the step whose output this is; a norm's is its convolution's."""
    if _is_norm(node, network):
        node = node.all_input_nodes[0]
    return node.name


def _step(node: fx.Node, network: nn.Module) -> Step:
    inputs = tuple(_named(value, network) for value in node.all_input_nodes)
    if node.op == "call_function" and node.target in (operator.add, operator.iadd, torch.add) and len(inputs) == 2:
        return Step(node.name, "add", inputs)
    if node.op != "call_module":
        raise UsageError(f"The network does {node.target} ({node.op}), of which it is not known how int8 does it.")
    module, name = network.get_submodule(str(node.target)), str(node.target)
    kind = next((kind for known, kind in _MODULES.items() if isinstance(module, known)), None)
    if kind is None or not _is_plain(module):
        raise UsageError(f"The network's {name} is {module}, of which it is not known how int8 does it.")
    norm = _norm(node, network) if kind == "conv" else None
    return Step(node.name, kind, inputs, name, "" if norm is None else str(norm.target))


def _is_plain(module: nn.Module) -> bool:
    """Whether a module of a known type is set to what its step computes."""
    if isinstance(module, nn.ConvTranspose2d):
        return module.groups == 1 and module.padding_mode == "zeros"
    if isinstance(module, nn.Conv2d):
        return module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return not isinstance(module, nn.Upsample) or module.mode == "nearest"
