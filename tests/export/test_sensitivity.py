"""Which layers int8 hurts, and the search for those to keep in float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("sympy")

from dsrfau_edge.bundle import Bundle  # noqa: E402
from dsrfau_edge.errors import VerificationFailed  # noqa: E402
from dsrfau_edge.export import graph, sensitivity  # noqa: E402
from dsrfau_edge.export.conversion import ExportOptions  # noqa: E402
from dsrfau_edge.export.onnx import CPU_SCHEME, GPU_SCHEME, QdqScheme, prepare, serialized, to_int8  # noqa: E402
from dsrfau_edge.export.pipeline import export  # noqa: E402
from dsrfau_edge.export.release import released  # noqa: E402
from dsrfau_edge.export.search import fewest_kept  # noqa: E402
from dsrfau_edge.export.sensitivity import Layer, keep_pattern, layers_by_gain  # noqa: E402

LAYERS = ["stem", "depthwise", "pointwise", "coarse"]


@pytest.fixture(scope="module")
def model(tiny_onnx: bytes) -> Any:
    return graph.with_batch(graph.parse_graph(tiny_onnx, size=32, sites=5, heatmap_size=8, where="tiny"), 1)


@pytest.fixture(scope="module")
def spoiled(tiny_onnx: bytes) -> bytes:
    """The tiny network with one channel before the pointwise layer a thousand times the others, undone behind it.

    In float nothing changes; in 8 bits the other channels of that tensor are lost.
    """
    spoilt = onnx.load_model_from_string(tiny_onnx)
    weights = {weight.name: weight for weight in spoilt.graph.initializer}

    def scale(name: str, place: Any, factor: float) -> None:
        values = onnx.numpy_helper.to_array(weights[name]).copy()
        values[place] *= factor
        weights[name].CopyFrom(onnx.numpy_helper.from_array(values, name))

    for name in ("depthwise.weight", "depthwise.bias"):
        scale(name, 3, 1000)
    high = np.float32(6000)
    weights["depthwise_relu.high"].CopyFrom(onnx.numpy_helper.from_array(high, "depthwise_relu.high"))
    scale("pointwise.weight", np.s_[:, 3], 1e-3)
    return bytes(spoilt.SerializeToString())


def intensities(model: Any, crops: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(serialized(model), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["intensities"], {"crops": crop[None]})[0] for crop in crops])


@pytest.mark.parametrize("scheme", [CPU_SCHEME, GPU_SCHEME], ids=lambda scheme: scheme.name)
def test_with_every_layer_released_little_is_left_of_the_error(model: Any, tiny_crops: Any, scheme: QdqScheme) -> None:
    exact = graph.cast_first(prepare(model))
    quantized = to_int8(model, tiny_crops, scheme, "minmax")
    expected = intensities(exact, tiny_crops)
    all_int8 = np.abs(intensities(quantized, tiny_crops) - expected).mean()
    free = released(quantized, exact, LAYERS)
    onnx.checker.check_model(free)
    left = np.abs(intensities(free, tiny_crops) - expected).mean()
    assert left < 0.8 * all_int8, "what is left is of additions and enlargements"
    kinds = {node.op_type for node in free.graph.node}
    assert "QuantizeLinear" in kinds
    everything = released(quantized, exact, [*LAYERS, "enlarge", "lateral", "lateral_relu", "head"])
    assert not any(node.op_type.endswith("Linear") for node in everything.graph.node if node.name)
    np.testing.assert_allclose(intensities(everything, tiny_crops), expected, atol=1e-4)


def test_the_layer_that_suffers_is_found(model: Any, spoiled: bytes, tiny_crops: Any) -> None:
    parsed = graph.with_batch(graph.parse_graph(spoiled, size=32, sites=5, heatmap_size=8, where="spoilt"), 1)
    layers = layers_by_gain(parsed, tiny_crops, CPU_SCHEME, "minmax", tiny_crops)
    assert sorted(layer.name for layer in layers) == sorted(LAYERS)
    assert layers[0].name == "pointwise", "it reads the tensor whose small channels are lost"
    assert layers[0].gain > 0.5
    healthy = {layer.name: layer for layer in layers_by_gain(model, tiny_crops, CPU_SCHEME, "minmax", tiny_crops)}
    assert layers[0].snr_db < healthy["pointwise"].snr_db - 6


def test_the_pattern_names_these_and_no_others(model: Any) -> None:
    assert graph.nodes_matching(model, [keep_pattern(["stem", "coarse"])]) == ("stem", "coarse")
    assert graph.nodes_matching(model, [keep_pattern(["stem"])]) == ("stem",)


class Attempted:
    """An attempt that passes once enough is kept."""

    def __init__(self, keep: tuple[str, ...], enough: int) -> None:
        self.keep, self._enough = keep, enough

    def broken(self, max_drop: float | None) -> dict[str, float]:
        return {} if len(self.keep) >= self._enough else {"AU12": 1.0}


@pytest.mark.parametrize("enough", [*range(1, 14), 99])
def test_the_fewest_are_found_with_few_conversions(enough: int) -> None:
    layers, tries = [Layer(f"l{number}", 0.0, 0.0) for number in range(13)], []

    def attempt(keep: tuple[str, ...]) -> Any:
        tries.append(keep)
        return Attempted(keep, enough)

    found = fewest_kept(layers, ("l12",), attempt, 0.1)
    if enough > 13:
        assert found is None
    else:
        assert found is not None
        assert found.keep == ("l12", *(f"l{number}" for number in range(max(enough - 1, 1))))
    assert len(tries) <= 8
    assert fewest_kept([], (), attempt, 0.1) is None


@pytest.fixture
def spoiled_checkpoint(tiny_checkpoint: Path, spoiled: bytes, tmp_path: Path) -> Path:
    import hashlib
    import json
    import shutil

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "spoilt"))
    (folder / "model.onnx").write_bytes(spoiled)
    raw = json.loads((folder / "checkpoint.json").read_text())
    raw["files"]["model.onnx"] = hashlib.sha256(spoiled).hexdigest()
    (folder / "checkpoint.json").write_text(json.dumps(raw))
    return folder


@pytest.mark.parametrize("target", ["onnx", "openvino", "tensorrt"])
def test_layers_are_kept_in_float_until_the_gate_passes(spoiled_checkpoint: Path, tmp_path: Path, target: str) -> None:
    from dsrfau_edge.export.targets import TARGETS

    if not TARGETS[target].availability("int8").ok:
        pytest.skip("its packages are not installed")
    options = {"precision": "int8", "calib_count": 40}
    (plain,) = export(spoiled_checkpoint, target, tmp_path / "plain", ExportOptions(**options))  # type: ignore[arg-type]
    assert plain.parity is not None
    gate = 0.8 * max(au.mean for au in plain.parity.aus.values())
    with pytest.raises(VerificationFailed, match=r"(?s)most sensitive of 4.*pointwise: .*--keep-float '\^") as refusal:
        export(spoiled_checkpoint, target, tmp_path / "b", ExportOptions(max_drop=gate, **options))  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()
    assert "Nothing was written" in str(refusal.value)
    (kept,) = export(
        spoiled_checkpoint,
        target,
        tmp_path / "c",
        ExportOptions(max_drop=gate, auto_keep_float=True, **options),  # type: ignore[arg-type]
    )
    assert "pointwise" in kept.kept
    assert len(kept.kept) < 4
    assert kept.path is not None
    quantization = Bundle.open(kept.path).manifest.quantization
    assert quantization is not None
    assert list(kept.kept) == quantization["kept_in_float"]
    assert f"{len(kept.kept)} nodes in float (pointwise" in "\n".join(kept.lines())
    if target != "tensorrt":
        assert kept.all_int8_latency_ms is not None
    (typed,) = export(
        spoiled_checkpoint,
        target,
        tmp_path / "d",
        ExportOptions(max_drop=gate, keep_float=(keep_pattern(kept.kept),), **options),  # type: ignore[arg-type]
    )
    assert typed.parity is not None
    assert kept.parity is not None
    assert typed.parity.aus == kept.parity.aus, "what the message says to type gives the same model"


def test_every_layer_is_reported_on_request(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (report,) = export(tiny_checkpoint, "onnx", tmp_path, ExportOptions(precision="int8", sensitivity=True))
    assert sorted(layer["name"] for layer in report.to_dict()["layers"]) == sorted(LAYERS)
    assert "layers, the most sensitive first" in "\n".join(report.lines())
    assert sensitivity._snr(np.ones(3, np.float32), np.ones(3, np.float32)) == float("inf")
