"""Fixtures for all tests: a tiny but real network that honours the graph's contract, as checkpoint and as bundle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.bundle import Bundle, write_bundle
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.manifest import Manifest

TINY_SIZE = 32
TINY_AUS = ("AU04", "AU12", "AU25")
TINY_SITES = tuple(site.name for site in sites_of(TINY_AUS))


class _Net:
    """Collects nodes and weights of an ONNX graph; weights are drawn so that activations keep their scale."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, kind: str, name: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        out = output or f"{name}_out"
        self.nodes.append(helper.make_node(kind, inputs, [out], name=name, **attributes))
        return out

    def conv(
        self,
        name: str,
        x: str,
        channels: tuple[int, int],
        *,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        **k: Any,
    ) -> str:
        inputs, outputs = channels
        fan_in = inputs // groups * kernel * kernel
        weight = self.random.normal(0, (2 / fan_in) ** 0.5, (outputs, inputs // groups, kernel, kernel))
        bias = k.pop("bias", self.random.normal(0, 0.1, outputs))
        names = [
            self.constant(f"{name}.weight", (weight * k.pop("gain", 1.0)).astype(np.float32)),
            self.constant(f"{name}.bias", np.asarray(bias, np.float32)),
        ]
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4, "group": groups}
        return self.add("Conv", name, [x, *names], k.pop("output", None), **sizes)

    def norm(self, name: str, x: str, channels: int) -> str:
        draws = [self.random.uniform(0.7, 1.3, channels), *(self.random.normal(0, 0.1, (2, channels)))]
        draws.append(self.random.uniform(0.7, 1.3, channels))
        parts = [self.constant(f"{name}.{i}", draw.astype(np.float32)) for i, draw in enumerate(draws)]
        return self.add("BatchNormalization", name, [x, *parts])

    def clip(self, name: str, x: str, low: float, high: float, output: str | None = None) -> str:
        bounds = [self.constant(f"{name}.{key}", np.float32(v)) for key, v in (("low", low), ("high", high))]
        return self.add("Clip", name, [x, *bounds], output)


def tiny_graph(*, size: int = TINY_SIZE, sites: int = len(TINY_SITES), seed: int = 7) -> bytes:
    """A small convolutional network from uint8 crops to heatmaps and intensities, as serialized ONNX of opset 20."""
    from onnx import TensorProto, checker, helper

    net = _Net(seed)
    x = net.add("Cast", "preprocess_cast", ["crops"], to=TensorProto.FLOAT)
    x = net.add("Sub", "preprocess_mean", [x, net.constant("mean", np.float32(127))])
    x = net.add("Div", "preprocess_scale", [x, net.constant("scale", np.float32(128))])
    x = net.add("Transpose", "preprocess_layout", [x], perm=[0, 3, 1, 2])
    x = net.clip("stem_relu", net.norm("stem_norm", net.conv("stem", x, (3, 16), stride=2), 16), 0, 6)
    x = net.clip("depthwise_relu", net.conv("depthwise", x, (16, 16), stride=2, groups=16), 0, 6)
    fine = net.conv("pointwise", x, (16, 24), kernel=1)
    x = net.clip("coarse_relu", net.conv("coarse", fine, (24, 24), stride=2), 0, 6)
    scales = net.constant("scales", np.array([1, 1, 2, 2], np.float32))
    x = net.add(
        "Resize", "enlarge", [x, "", scales], mode="nearest", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )  # fmt: skip
    x = net.add("Relu", "lateral_relu", [net.add("Add", "lateral", [x, fine])])
    net.conv("head", x, (24, sites), kernel=1, gain=0.5, bias=np.linspace(0.3, 0.9, sites), output="heatmaps")
    axes = net.constant("decode.axes", np.array([2, 3], np.int64))
    net.clip("decode_clip", net.add("ReduceMax", "decode_max", ["heatmaps", axes], keepdims=0), 0, 5, "intensities")
    cells = size // 4
    graph = helper.make_graph(
        net.nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["N", size, size, 3])],
        [
            helper.make_tensor_value_info("intensities", TensorProto.FLOAT, ["N", sites]),
            helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, ["N", sites, cells, cells]),
        ],
        net.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def smooth_crops(count: int, size: int = TINY_SIZE, seed: int = 3) -> np.ndarray[Any, Any]:
    """Pictures with structure at several scales and of different brightness, uint8 `[count, size, size, 3]`."""
    random = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        layers = [
            cv2.resize(random.normal(0, 1, (cells, cells, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
            for cells in (2, 4, 8, 16)
        ]
        picture = 127 + 40 * sum(layers) * random.uniform(0.3, 1.2) + random.normal(0, 25)
        crops.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(crops)


def crops_zip(crops: np.ndarray[Any, Any]) -> bytes:
    """A calibration archive: one JPEG a crop, named in order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, crop in enumerate(crops):
            archive.writestr(f"{index:04d}.jpg", cv2.imencode(".jpg", crop)[1].tobytes())
    return buffer.getvalue()


@pytest.fixture(scope="session")
def tiny_onnx() -> bytes:
    """The tiny network's portable graph."""
    pytest.importorskip("onnx", reason="the tiny network is built with onnx, of the export extra")
    return tiny_graph()


@pytest.fixture(scope="session")
def tiny_crops() -> np.ndarray[Any, Any]:
    """Eight crops for the tiny network."""
    return smooth_crops(8, seed=11)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: bytes) -> Path:
    """A checkpoint folder as training writes it. Shared by all tests: copy it before changing anything."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    folder.mkdir()
    header = b'{"__metadata__":{"format":"pt"}}'
    weights = len(header).to_bytes(8, "little") + header
    files = {"model.safetensors": weights, "model.onnx": tiny_onnx, "calibration.zip": crops_zip(smooth_crops(120))}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    description = {
        "schema": 1,
        "network": {"backbone": "tiny"},
        "aus": list(TINY_AUS),
        "sites": list(TINY_SITES),
        "input_size": TINY_SIZE,
        "template": DEFAULT_TEMPLATE.to_dict(),
        "heatmap": {"size": TINY_SIZE // 4, "sigma": TINY_SIZE / 128},
        "training": {"seed": 7},
        "data": {"sets": [], "licences": []},
        "metrics": {},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    (folder / "checkpoint.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, tiny_onnx: bytes) -> Path:
    """A bundle with the tiny network in fp32. Shared by all tests: copy it before changing anything."""
    manifest = Manifest(
        name="tiny",
        created="2026-01-01T00:00:00+00:00",
        target="onnx",
        precision="fp32",
        aus=TINY_AUS,
        sites=TINY_SITES,
        input_size=TINY_SIZE,
        batch="dynamic",
        template=DEFAULT_TEMPLATE.to_dict(),
        heatmap={"size": TINY_SIZE // 4, "sigma": TINY_SIZE / 128},
        model="model.onnx",
        portable="model.onnx",
    )
    files: dict[str, Path | bytes] = {"model.onnx": tiny_onnx, "calibration.zip": crops_zip(smooth_crops(120))}
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny.dsrfau", manifest, files).path


@pytest.fixture
def opened_bundle(tiny_bundle: Path) -> Bundle:
    """The tiny bundle, opened."""
    return Bundle.open(tiny_bundle)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What this user has measured or compiled before must not reach the tests, nor theirs the user."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before
