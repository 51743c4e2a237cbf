"""The checkpoint folder and its graph: what is written can be read, verified, and runs elsewhere."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from toy_data import write_toy

torch = pytest.importorskip("torch", reason="training needs the train extra")
onnx = pytest.importorskip("onnx", reason="training needs the train extra")

from dsrfau_edge.bundle import read_crops  # noqa: E402
from dsrfau_edge.checkpoint import read_checkpoint  # noqa: E402
from dsrfau_edge.errors import DataError, UsageError, VerificationFailed  # noqa: E402
from dsrfau_edge.train import checkpoint as checkpoint_module  # noqa: E402
from dsrfau_edge.train import graph as graph_module  # noqa: E402
from dsrfau_edge.train.checkpoint import load_network, save_checkpoint  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.graph import export_graph, parity  # noqa: E402
from dsrfau_edge.train.networks.heatmap import DecodedNetwork, HeatmapNetwork, NetworkConfig  # noqa: E402


def make_network(backbone="tiny", upsampler="separable", skips=True, sites=3):
    torch.manual_seed(0)
    network = HeatmapNetwork(NetworkConfig(backbone, upsampler, (16, 16, 16), skips, pretrained=False), sites)
    with torch.no_grad():
        network.head.weight.mul_(5000)
        network.train()(torch.randint(0, 256, (8, 64, 64, 3)))  # norms with statistics of their own
    return network.eval()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_prepared([write_toy(tmp_path_factory.mktemp("toy"))])


@pytest.fixture(scope="module")
def saved(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("checkpoints") / "student"
    save_checkpoint(
        folder, make_network(), data, calibration=np.arange(20), training={"seed": 3}, metrics={"held_out": {}}
    )
    return folder


def test_what_is_saved_is_loaded(saved, data):
    network, checkpoint = load_network(saved)
    assert checkpoint.sites == data.index.sites
    assert checkpoint.heatmap == {"size": 16, "sigma": 0.5}
    assert checkpoint.training == {"seed": 3}
    assert checkpoint.data["licences"] == ["CC0-1.0"]
    assert checkpoint.metrics["parameters"] > 0
    assert checkpoint.metrics["parity"]["largest_difference"]["heatmaps"] <= 1e-4
    expected = make_network().state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_the_folder_holds_no_pickle_and_nothing_else(saved):
    assert {path.name for path in saved.iterdir()} == {
        "model.safetensors", "model.onnx", "calibration.zip", "checkpoint.json"
    }  # fmt: skip
    assert [path.name for path in saved.parent.iterdir()] == ["student"]


def test_the_graph_matches_the_network_at_any_batch(saved):
    import onnxruntime

    network, _ = load_network(saved)
    session = onnxruntime.InferenceSession(str(saved / "model.onnx"))
    for count in (1, 3):
        crops = np.random.default_rng(count).integers(0, 256, (count, 64, 64, 3), np.uint8)
        intensities, heatmaps = session.run(["intensities", "heatmaps"], {"crops": crops})
        with torch.no_grad():
            expected = DecodedNetwork(network)(torch.from_numpy(crops))
        np.testing.assert_allclose(intensities, expected[0].numpy(), atol=1e-4)
        np.testing.assert_allclose(heatmaps, expected[1].numpy(), atol=1e-4)
        assert np.ptp(heatmaps) > 0.1


def test_calibration_crops_are_the_training_frames(saved, data):
    crops = read_crops(saved / "calibration.zip", 64)
    assert len(crops) == 20
    assert np.abs(crops[5].astype(int) - data.frame(5)[0]).mean() < 3


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "calibration.zip"])
def test_one_flipped_byte_is_noticed(saved, tmp_path, name):
    copy = shutil.copytree(saved, tmp_path / "copy")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(DataError, match="does not match its checksum"):
        read_checkpoint(copy)
    (copy / name).unlink()
    with pytest.raises(DataError, match="is missing"):
        read_checkpoint(copy)


def test_folders_that_are_no_checkpoint(tmp_path, saved):
    with pytest.raises(DataError, match="dsrfau-train"):
        read_checkpoint(tmp_path)
    copy = shutil.copytree(saved, tmp_path / "copy")
    description = json.loads((copy / "checkpoint.json").read_text())
    (copy / "checkpoint.json").write_text(json.dumps({**description, "schema": 99}))
    with pytest.raises(DataError, match="schema 99"):
        read_checkpoint(copy)
    (copy / "checkpoint.json").write_text(json.dumps({**description, "surprise": 1}))
    with pytest.raises(DataError, match="cannot be read"):
        read_checkpoint(copy)
    other = {**description, "network": {**description["network"], "widths": [8, 8, 8]}}
    (copy / "checkpoint.json").write_text(json.dumps(other))
    with pytest.raises(DataError, match="does not hold the network"):
        load_network(copy)


def test_a_graph_that_differs_leaves_nothing_behind(tmp_path, data, monkeypatch):
    monkeypatch.setattr(graph_module, "TOLERANCE", -1.0)
    with pytest.raises(VerificationFailed, match="Nothing was written"):
        save_checkpoint(tmp_path / "x", make_network(), data, calibration=np.arange(4), training={}, metrics={})
    assert list(tmp_path.iterdir()) == []


def test_saving_replaces(tmp_path, data, saved, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "export_graph", lambda *a, **k: onnx.load(saved / "model.onnx"))
    for seed in (1, 2):
        save_checkpoint(
            tmp_path / "x", make_network(), data, calibration=np.arange(4), training={"seed": seed}, metrics={}
        )
    assert read_checkpoint(tmp_path / "x").training == {"seed": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_a_folder_that_is_no_checkpoint_is_left_alone(tmp_path, data, saved, monkeypatch, moment):
    photo = tmp_path / "student" / "photo.jpg"

    def export(*args, **options):
        photo.parent.mkdir(exist_ok=True)
        photo.write_bytes(b"a photo")
        return onnx.load(saved / "model.onnx")

    monkeypatch.setattr(checkpoint_module, "export_graph", export)
    if moment == "before":
        export()
    with pytest.raises(UsageError, match=r"student is not training's.*no checkpoint\.json.*-o"):
        save_checkpoint(photo.parent, make_network(), data, calibration=np.arange(4), training={}, metrics={})
    assert photo.read_bytes() == b"a photo"
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


@pytest.mark.parametrize(("backbone", "upsampler", "skips"), [("tiny", "deconv", True), ("resnet18", "deconv", False)])
def test_other_networks_export_alike(backbone, upsampler, skips):
    network = make_network(backbone, upsampler, skips)
    model = export_graph(network, input_size=64, metadata={"key": "value"}).SerializeToString()
    parity(network, model, np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))


def test_the_graph_keeps_the_contract(saved):
    model = onnx.load(saved / "model.onnx")
    assert [entry.version for entry in model.opset_import if not entry.domain] == [20]
    crops = model.graph.input[0]
    assert crops.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in crops.type.tensor_type.shape.dim] == ["N", 64, 64, 3]
    outputs = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in model.graph.output
    }
    assert outputs == {"intensities": ["N", 3], "heatmaps": ["N", 3, 16, 16]}
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    parts = [node.name.split("/")[0] for node in model.graph.node]
    assert set(parts) == {"body", "head", "decode"}
    head = next(node for node in model.graph.node if node.name.startswith("head/"))
    assert (parts.count("head"), head.op_type, list(head.output)) == (1, "Conv", ["heatmaps"])
    decode = [node for node in model.graph.node if node.name.startswith("decode/")]
    assert {node.op_type for node in decode} <= {"ReduceMax", "Clip", "Cast"}
    assert decode[0].input[0] == "heatmaps"
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["dsrfau.sites"]) == ["AU12_left", "AU12_right", "AU25"]
    assert b".py" not in (saved / "model.onnx").read_bytes(), "no traces of the exporting machine"


def test_openvino_and_tensorrt_read_the_graph(saved):
    openvino = pytest.importorskip("openvino")
    assert len(openvino.Core().read_model(saved / "model.onnx").outputs) == 2
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse((saved / "model.onnx").read_bytes())
    assert parsed, [parser.get_error(number).desc() for number in range(parser.num_errors)]
