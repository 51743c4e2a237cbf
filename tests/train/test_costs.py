"""Costs against counts made by hand and in another way."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")
onnx = pytest.importorskip("onnx", reason="training needs the train extra")

from dsrfau_edge.train.costs import Activations, activation_memory, count_macs, count_parameters, cpu_latency  # noqa: E402
from dsrfau_edge.train.graph import export_graph  # noqa: E402
from dsrfau_edge.train.networks.heatmap import HeatmapNetwork, NetworkConfig  # noqa: E402

SIDE, SITES = 64, 3


@pytest.mark.parametrize(("backbone", "millions", "giga"), [("resnet50", 34.00, 7.23), ("resnet18", 15.37, 3.86)])
def test_reference_pair_has_the_published_baselines_size(backbone, millions, giga):
    """ResNet-50 and -18 with three deconvolutions of 256 channels, 10 maps, 256 px: counted in the method's notes."""
    network = HeatmapNetwork(NetworkConfig(backbone, "deconv", (256,) * 3, skips=False, pretrained=False), 10)
    assert count_parameters(network) / 1e6 == pytest.approx(millions, abs=0.005)
    assert count_macs(network, 256) / 1e9 == pytest.approx(giga, abs=0.005)
    assert network.training, "it is left as it was"


def test_a_deconvolution_counts_its_input_positions():
    network = HeatmapNetwork(NetworkConfig("tiny", "deconv", (16, 12, 8), skips=False, pretrained=False), SITES)
    channels = network.backbone.channels[-1]
    backbone = count_macs(network, SIDE) - SITES * 8 * 16 * 16
    backbone -= 16 * (channels * 16 * 2 * 2 + 16 * 12 * 4 * 4 + 12 * 8 * 8 * 8)
    plain = HeatmapNetwork(NetworkConfig("tiny", "deconv", (1, 1, 1), skips=False, pretrained=False), 1)
    assert backbone == count_macs(plain, SIDE) - 16 * 16 - 16 * (channels * 2 * 2 + 4 * 4 + 8 * 8)


def test_operations_grow_with_the_area():
    network = HeatmapNetwork(NetworkConfig("tiny", pretrained=False), SITES)
    assert count_macs(network, 128) == 4 * count_macs(network, 64)


def graph(nodes, *, outputs, shapes):
    """A model of float tensors `[N, 1, 1, values]` with the uint8 input `crops` of 10 bytes."""

    def value(name, kind=onnx.TensorProto.FLOAT):
        return onnx.helper.make_tensor_value_info(name, kind, ["N", 1, 1, shapes[name]])

    made = onnx.helper.make_graph(
        nodes, "by hand", [value("crops", onnx.TensorProto.UINT8)], [value(name) for name in outputs],
        value_info=[value(name) for name in shapes if name not in ("crops", *outputs)],
    )  # fmt: skip
    return onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 20)])


def node(kind, inputs, output, name="body", **attributes):
    return onnx.helper.make_node(kind, inputs, [output], name=f"{name}/{output}", **attributes)


BRANCH = (
    node("Cast", ["crops"], "a", to=1),  # crops 10 + a 40
    node("Relu", ["a"], "b"),  # in a's place
    node("Neg", ["b"], "c"),  # b is still read below: b 40 + c 40
    node("Relu", ["c"], "d"),  # in c's place
    node("Add", ["b", "d"], "e"),  # in one of them: 80 alive
    node("ReduceMax", ["e"], "f", keepdims=1),
)


def test_live_tensors_by_hand():
    model = graph(BRANCH, outputs=["f"], shapes=dict(crops=10, a=10, b=10, c=10, d=10, e=10, f=10))
    # Made: crops 10, a, c, f of 40 each. Alive at once: two of 40, once the crop is gone.
    assert activation_memory(model, value_bytes=4) == Activations(peak=80, total=130)
    assert activation_memory(model, value_bytes=1) == Activations(peak=20, total=40)


def test_what_is_read_again_is_not_written_over():
    nodes = [*BRANCH[:2], node("Relu", ["b"], "c"), node("Relu", ["b"], "d"), *BRANCH[4:5]]
    nodes[4] = node("Concat", ["c", "d"], "e", axis=3)
    model = graph(nodes, outputs=["e"], shapes=dict(crops=10, a=10, b=10, c=10, d=10, e=20))
    # b stays for d, which then takes its place; c and d are joined to e.
    assert activation_memory(model, value_bytes=4) == Activations(peak=160, total=10 + 40 + 40 + 80)


def test_an_output_lives_to_the_end_and_head_and_decode_stay_float():
    nodes = [
        node("Cast", ["crops"], "a", to=1),
        node("Neg", ["a"], "heatmaps", name="head"),
        node("Clip", ["heatmaps"], "intensities", name="decode"),
    ]
    model = graph(nodes, outputs=["intensities", "heatmaps"], shapes=dict(crops=10, a=10, heatmaps=10, intensities=10))
    # The clip may not write over the heatmaps, which are asked for.
    assert activation_memory(model, value_bytes=4) == Activations(peak=80, total=130)
    assert activation_memory(model, value_bytes=1) == Activations(peak=80, total=10 + 10 + 40 + 40)


@pytest.mark.parametrize("upsampler", ["separable", "deconv"])
@pytest.mark.parametrize("skips", [False, True])
def test_total_is_what_the_modules_make(upsampler, skips):
    """Counted a second time with hooks: what convolutions and doublings put out; all else writes over its input."""
    network = HeatmapNetwork(NetworkConfig("tiny", upsampler, (16, 12, 8), skips, pretrained=False), SITES).eval()
    model = export_graph(network, input_size=SIDE, metadata={})
    made = []
    makers = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Upsample)
    for module in network.modules():
        if isinstance(module, makers):
            module.register_forward_hook(lambda module, inputs, output: made.append(output.numel()))
    with torch.no_grad():
        network(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8))
    pixels, heatmaps = 3 * SIDE * SIDE, SITES * (SIDE // 4) ** 2
    # The crop as bytes, as floats, and with the channels in front; the maxima.
    assert activation_memory(model, value_bytes=4).total == pixels + 4 * (2 * pixels + sum(made) + SITES)
    hidden = sum(made) - heatmaps
    int8 = activation_memory(model, value_bytes=1)
    assert int8.total == pixels + 2 * pixels + hidden + 4 * (heatmaps + SITES)
    assert int8.peak < int8.total


def test_the_peak_of_the_small_student_is_its_first_expansion():
    """At 128 px: 96 channels on the 64 grid and, made from them, 96 on the 32 grid."""
    network = HeatmapNetwork(NetworkConfig("efficientnet_lite0", pretrained=False), SITES)
    model = export_graph(network, input_size=128, metadata={})
    assert activation_memory(model, value_bytes=4).peak == 4 * 96 * (64**2 + 32**2)


def test_latency_is_the_median_of_the_runs_asked_for(monkeypatch):
    network = HeatmapNetwork(NetworkConfig("tiny", pretrained=False), SITES)
    model = export_graph(network, input_size=SIDE, metadata={}).SerializeToString()
    # Five runs to warm up that do not count, then 3, 1 and 8 ms.
    durations = [9.0] * 5 + [0.003, 0.001, 0.008]
    clock, now = [], 0.0
    for duration in durations:
        clock += [now, now + duration]
        now += duration + 1
    monkeypatch.setattr("dsrfau_edge.train.costs.time.perf_counter", iter(clock).__next__)
    timed = cpu_latency(model, SIDE, runs=3)
    assert timed["milliseconds"] == 3.0
    assert (timed["threads"], timed["runs"]) == (1, 3)
    assert timed["runtime"].startswith("onnxruntime ")
