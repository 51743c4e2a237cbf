"""What an engine says of itself: its layers by kind, and its weighted sums by the precision they are computed in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: How TensorRT 10 and 11 write the type of a tensor ("Thirty-two wide channel vectorized row major Int8 format"), and
#: our name for it. Earlier ones win: a sum that reads int8 is int8, whatever it writes.
_TYPES = (
    ("int8", "int8"),
    ("fp8", "fp8"),
    ("bf16", "bf16"),
    ("bfloat16", "bf16"),
    ("fp16", "fp16"),
    ("half", "fp16"),
    ("fp32", "fp32"),
    ("float", "fp32"),
)
_WEIGHTED = ("conv", "gemm", "matrixmultiply", "matmul")


@dataclass(frozen=True, slots=True)
class EngineSummary:
    """An engine in numbers.

    Attributes:
        layers: how many there are, after TensorRT has merged them.
        kinds: layers by kind; empty where the engine was built without detail.
        precisions: weighted sums by precision; empty where it does not tell.
        memory: bytes on the GPU that one execution needs besides weights, inputs and outputs; None if not told.
    """

    layers: int
    kinds: Mapping[str, int] = field(default_factory=dict)
    precisions: Mapping[str, int] = field(default_factory=dict)
    memory: int | None = None

    @property
    def precision(self) -> str:
        """That of most weighted sums; "" where it is not told."""
        return max(self.precisions, key=lambda name: self.precisions[name]) if self.precisions else ""

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "layers": self.layers,
            "kinds": dict(self.kinds),
            "precisions": dict(self.precisions),
            "execution_memory_bytes": self.memory,
        }


def inspect_engine(trt: Any, engine: Any) -> EngineSummary:
    """Ask a loaded engine.

    Raises:
        ValueError: the answer is not understood.
    """
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return summarize(text, memory=int(engine.device_memory_size_v2))


def summarize(text: str, memory: int | None = None) -> EngineSummary:
    """Read the engine inspector's JSON.

    Raises:
        ValueError: it is no JSON with a list of layers.
    """
    content = json.loads(text)
    layers = content.get("Layers") if isinstance(content, dict) else None
    if not isinstance(layers, list):
        raise ValueError("the engine inspector lists no layers")  # noqa: TRY004 - what is wrong is the value
    told = [layer for layer in layers if isinstance(layer, dict)]  # without detail, a layer is but its name
    kinds = Counter(str(layer.get("LayerType", "unknown")) for layer in told)
    sums = Counter(_precision(layer) for layer in told if _is_weighted(layer))
    precisions = {name: count for name, count in sums.most_common() if name}
    return EngineSummary(len(layers), dict(kinds.most_common()), precisions, memory)


def _is_weighted(layer: Mapping[str, Any]) -> bool:
    kinds = f"{layer.get('LayerType', '')} {layer.get('ParameterType', '')}".lower()
    return any(word in kinds for word in _WEIGHTED)


def _precision(layer: Mapping[str, Any]) -> str:
    """Of what the layer reads; its kernel's name tells whether it rounds fp32 to tf32."""
    words = " ".join(_types(layer.get("Inputs", ()))).lower()
    found = next((name for word, name in _TYPES if word in words), "")
    return "tf32" if found == "fp32" and "tf32" in str(layer.get("TacticName", "")).lower() else found


def _types(tensors: Any) -> Iterator[str]:
    for tensor in tensors if isinstance(tensors, list) else ():
        if isinstance(tensor, dict):
            for key, value in tensor.items():
                if "type" in key.lower() or "format" in key.lower():
                    yield str(value)
