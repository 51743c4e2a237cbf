"""What ONNX Runtime really computes, where and in which precision: read from the profile of one run.

The session that predicts is left alone. A second one of the same model and options records which provider got which
node, and runs one empty crop under ONNX Runtime's own profiler.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

#: Types in a profile by the name that we give the precision.
_PRECISIONS = {
    "float": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "uint8": "int8",
    "int8": "int8",
    "double": "fp64",
}
#: Makes a session remember which provider got which node.
RECORD = "session.record_ep_graph_assignment_info"
_WEIGHTED = ("conv", "gemm", "matmul")


@dataclass(frozen=True, slots=True)
class Executed:
    """Nodes and weighted sums (convolutions, matrix products).

    Attributes:
        nodes: of the graph by the provider that computes them.
        sums: weighted sums among them, by provider.
        layers: weighted sums by precision, where the provider tells: one that compiles them into one does not.
        told: weighted sums whose precision is known, by provider.
    """

    nodes: Mapping[str, int] = field(default_factory=dict)
    sums: Mapping[str, int] = field(default_factory=dict)
    layers: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)

    @property
    def precision(self) -> str:
        """That of most weighted sums; "" where it is not known."""
        return max(self.layers, key=lambda name: self.layers[name]) if self.layers else ""

    def notes(self) -> tuple[str, ...]:
        """Who computes what, where it is not simply the CPU that computes all."""
        nodes, sums = sum(self.nodes.values()), sum(self.sums.values())
        lines = [
            f"{name} computes {count} of {nodes} nodes, with {self.sums.get(name, 0)} of {sums} weighted sums."
            for name, count in self.nodes.items()
        ]
        hidden = {name: count - self.told.get(name, 0) for name, count in self.sums.items()}
        quiet = [
            f"{name} does not tell in which precision it computes {count} of them."
            for name, count in hidden.items()
            if count > 0
        ]
        return (*(lines if len(self.nodes) > 1 or quiet else ()), *quiet)


def is_weighted(operation: str) -> bool:
    """Whether an operation of the graph is a weighted sum, such as `Conv`, `QLinearConv` or `FusedMatMul`."""
    return any(part in operation.lower() for part in _WEIGHTED)


def examine(make: Callable[[Any], Any], options: Any, shape: tuple[int, ...]) -> Executed:
    """Run one empty input in a session of its own and read what happened.

    Args:
        make: gives a session for session options.
        options: the session options, which are changed.
        shape: of the input.
    """
    with tempfile.TemporaryDirectory(prefix="dsrfau-profile-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "run")
        options.add_session_config_entry(RECORD, "1")
        session = make(options)
        session.run(None, {session.get_inputs()[0].name: np.zeros(shape, np.uint8)})
        profile = Path(session.end_profiling())
        return summarise(json.loads(profile.read_text(encoding="utf-8")), assigned(session))


def summarise(events: Iterable[Mapping[str, Any]], given: Mapping[str, Iterable[str]] | None) -> Executed:
    """Count a profile's kernels.

    Args:
        events: of the profile.
        given: operations by the provider that got them, before any was fused; None where this version of ONNX
            Runtime does not say, so that the kernels that ran are counted instead.
    """
    kernels = [
        event["args"]
        for event in events
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time")
    ]
    layers: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for kernel in kernels:
        if is_weighted(kernel["op_name"]):
            layers[_precision(kernel)] += 1
            told[kernel["provider"]] += 1
    by_provider = _by_provider(kernels) if given is None else {name: list(found) for name, found in given.items()}
    nodes = {name: len(operations) for name, operations in by_provider.items()}
    sums = {name: sum(map(is_weighted, operations)) for name, operations in by_provider.items()}
    return Executed(nodes, sums, dict(layers), dict(told))


def _by_provider(kernels: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kernel in kernels:
        found.setdefault(kernel["provider"], []).append(kernel["op_name"])
    return found


def _precision(kernel: Mapping[str, Any]) -> str:
    name = str(kernel["op_name"])
    if "Integer" in name or "DynamicQuantize" in name:
        return "int8"
    types = [kind for entry in kernel.get("input_type_shape", ()) for kind in entry]
    return _PRECISIONS.get(types[0], types[0]) if types else ""


def assigned(session: Any) -> dict[str, list[str]] | None:
    """Operations by the provider that got them; ONNX Runtime tells since 1.24."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return None
    found: dict[str, list[str]] = {}
    for part in tell():
        found.setdefault(part.ep_name, []).extend(node.op_type for node in part.get_nodes())
    return found or None
