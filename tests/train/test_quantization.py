"""Fake quantization: the integers and places of the exported graph, and gradients that train through them."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import smooth_crops

torch = pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")
onnx = pytest.importorskip("onnx", reason="the graph is quantized by the export extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="the graph is quantized by the export extra")
pytest.importorskip("sympy", reason="ONNX Runtime's quantizer needs it")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from dsrfau_edge.errors import UsageError  # noqa: E402
from dsrfau_edge.export import graph as graphs  # noqa: E402
from dsrfau_edge.export import onnx as exporter  # noqa: E402
from dsrfau_edge.train.graph import export_graph  # noqa: E402
from dsrfau_edge.train.networks.heatmap import BACKBONES, UPSAMPLERS, HeatmapNetwork, NetworkConfig  # noqa: E402
from dsrfau_edge.train.quantization.network import FakeQuantizedNetwork  # noqa: E402
from dsrfau_edge.train.quantization.plan import plan  # noqa: E402
from dsrfau_edge.train.quantization.scheme import (  # noqa: E402
    S8S8,
    SCHEMES,
    U8S8,
    rounded_bias,
    rounded_weight,
    scheme_named,
    weight_scale,
)

EXPORTED = {"u8s8": exporter.CPU_SCHEME, "s8s8": exporter.GPU_SCHEME}
SIDE = 64
CROPS = smooth_crops(12, SIDE, seed=1)
UNSEEN = torch.from_numpy(smooth_crops(6, SIDE, seed=2))


def made(backbone="tiny", upsampler="separable", *, skips=True, widths=(16, 16, 16)):
    """A network whose norms know what they see, and scale and shift it, so that folding them changes the weights."""
    torch.manual_seed(0)
    network = HeatmapNetwork(NetworkConfig(backbone, upsampler, widths, skips, pretrained=False), 3)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data.uniform_(0.6, 1.4)
        norm.bias.data.normal_(0, 0.2)
        norm.momentum = None
    nn.init.normal_(network.head.weight, std=0.3)
    with torch.no_grad():
        network.train()(torch.from_numpy(CROPS))
    return network.eval()


def fake(network, scheme=U8S8, **options):
    return FakeQuantizedNetwork(network, scheme, torch.from_numpy(CROPS), **options).eval()


def maps(network, crops=UNSEEN):
    with torch.no_grad():
        return network(crops).heatmaps.numpy()


def quantized(network, scheme):
    """The exporter's graph of a network, calibrated on the same crops."""
    exported = graphs.with_batch(export_graph(network, input_size=SIDE, metadata={}), 1)
    return exporter.to_int8(exported, CROPS, EXPORTED[scheme.name], "minmax")


def run(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # As it is written: ONNX Runtime's optimizer rounds the biases that the signed scheme leaves in float.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["heatmaps"], {"crops": crop[None]})[0] for crop in UNSEEN.numpy()])


def scales(model):
    """The different scales of the graph's rounded activations, in order of size."""
    values = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    of_pairs = [values[node.input[1]] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return np.unique([float(value) for value in of_pairs if value.ndim == 0])


def rms(difference):
    return float(np.sqrt((difference**2).mean()))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize(
    ("backbone", "upsampler", "skips", "share"),
    [
        ("tiny", "separable", True, 0.1),
        ("tiny", "separable", False, 0.1),
        ("tiny", "deconv", True, 0.1),
        # Sums in another order put a few numbers on the other side of a rounding; 20 layers carry that to every map.
        ("resnet18", "deconv", False, 0.8),
    ],
)
def test_it_computes_what_the_exported_graph_computes(backbone, upsampler, skips, share, scheme):
    network = made(backbone, upsampler, skips=skips)
    simulated = fake(network, scheme)
    model = quantized(network, scheme)
    mine = np.unique(scheme.integers(simulated.ranges)[0].numpy().astype(float))
    np.testing.assert_allclose(mine, scales(model), rtol=1e-5, err_msg="rounded at other places, or on other ranges")
    exact, rounded, wanted = maps(network), maps(simulated), run(model)
    assert rms(exact - wanted) > 1e-3 * rms(exact), "int8 has to differ from float for this to say anything"
    shares = [rms(rounded[i] - wanted[i]) / rms(exact[i] - wanted[i]) for i in range(len(wanted))]
    assert np.median(shares) < share, "a crop in which one number fell the other way may differ more"


@pytest.mark.parametrize("upsampler", UPSAMPLERS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_network_is_known(backbone, upsampler):
    network = made(backbone, upsampler)
    for scheme in SCHEMES.values():
        followed = plan(network, scheme)
        sums = [step for step in followed.steps if step.kind == "conv"]
        convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
        assert len(sums) == len(convolutions) - 1, "all but the head"
        assert followed.points > len(sums) / 2
        assert set(followed.stages) == {"stride16", "stride8", "stride4"}
    simulated = fake(network)
    with simulated.in_float():
        assert rms(maps(simulated) - maps(network)) < 1e-4 * rms(maps(network))
    assert rms(maps(simulated) - maps(network)) > 1e-4 * rms(maps(network))


class _Doubling(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)


class _Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(x) * 2


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (nn.SiLU(), "SiLU"),
        (_Doubling(), "_Doubling"),
        (_Twice(), "mul"),
        (nn.BatchNorm2d(8), "batch norm"),
        (nn.Upsample(scale_factor=1, mode="bilinear"), "bilinear"),
        (nn.Conv2d(8, 8, 1, padding_mode="reflect"), "reflect"),
    ],
)
def test_what_it_does_not_know_is_no_float_in_secret(module, named):
    network = made()
    network.backbone.stem[2] = nn.Sequential(nn.ReLU6(), module)
    with pytest.raises(UsageError, match=named):
        plan(network, U8S8)


@settings(max_examples=50, deadline=None)
@given(
    st.floats(-300, 300, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3),
    st.floats(0, 300, width=32).filter(lambda x: x == 0 or x > 1e-3),
)
def test_integers_are_those_of_onnxruntime(low, width):
    from onnxruntime.quantization.quant_utils import compute_scale_zp

    low, high = np.float32(low), np.float32(low + width)
    for scheme, lowest, highest in ((U8S8, np.uint8(0), np.uint8(255)), (S8S8, np.int8(-127), np.int8(127))):
        zero, scale = compute_scale_zp(low, high, lowest, highest, scheme.symmetric)
        mine, mine_zero = scheme.integers(torch.tensor([[low, high]]))
        assert float(mine) == pytest.approx(float(scale), rel=1e-6)
        assert abs(int(mine_zero) - int(zero)) <= 1, "a tie may fall either way"
        assert int(mine_zero) == int(zero) or abs((-float(low) / float(scale)) % 1 - 0.5) < 1e-3


def test_unknown_scheme():
    with pytest.raises(UsageError, match="u8s8, s8s8"):
        scheme_named("s4s4")


def test_clipping_stops_the_gradient_and_rounding_does_not():
    scale, zero = U8S8.integers(torch.tensor([[-1.0, 1.0]]))
    x = torch.tensor([-1.5, -0.9, 0.001, 0.9, 1.5], requires_grad=True)
    out = U8S8.rounded(x, scale[0], zero[0])
    out.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    assert (out - x.detach().clamp(-1, 1)).abs().max() <= scale[0]


def test_weights_keep_their_largest_and_are_rounded_by_channel():
    weight = torch.tensor([[1.0, 0.3], [0.01, 0.003]])
    scale = weight_scale(weight, 0)
    out = rounded_weight(weight, scale, 0)
    torch.testing.assert_close(out.amax(1), weight.amax(1))
    assert ((out - weight).abs().amax(1) <= weight.amax(1) / 254 * 1.001).all()
    torch.testing.assert_close(rounded_weight(weight.T, scale, 1), out.T)


def test_biases_are_rounded_and_trained():
    bias = torch.tensor([0.26, -7.0], requires_grad=True)
    out = rounded_bias(bias, torch.tensor([0.1, 0.5]))
    torch.testing.assert_close(out, torch.tensor([0.3, -7.0]))
    out.sum().backward()
    assert bias.grad.tolist() == [1, 1]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_gradients_reach_all_that_is_trained(scheme):
    network = made(upsampler="deconv")
    simulated = fake(network, scheme).train()
    simulated(UNSEEN).heatmaps.square().mean().backward()
    for name, parameter in simulated.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    silent = [name for name, p in simulated.named_parameters() if not p.grad.any()]
    assert not silent


def test_the_head_is_trained_in_float():
    simulated = fake(made(), S8S8).train()
    crops, weight = UNSEEN, simulated.head.weight
    prediction = simulated(crops)
    prediction.heatmaps.square().sum().backward()
    found = weight.grad.clone()
    stage = prediction.stages["stride4"].detach()
    weight.grad = None
    exact = simulated.head(stage)
    torch.testing.assert_close(exact, prediction.heatmaps)
    exact.square().sum().backward()
    torch.testing.assert_close(found, weight.grad)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_what_is_always_zero_gives_no_nan(scheme):
    network = made()
    dead = network.backbone.stem
    dead[1].weight.data[0] = 0  # a channel that is one number everywhere
    dead[1].bias.data[0] = 0
    last = network.upsampler.mix[2]
    for norm in (last[1], last[4]):  # tensors of zeros alone
        norm.weight.data.zero_()
        norm.bias.data.zero_()
    simulated = fake(network, scheme).train()
    prediction = simulated(UNSEEN)
    assert torch.isfinite(prediction.heatmaps).all()
    assert not prediction.stages["stride4"].any()
    prediction.heatmaps.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in simulated.parameters())
    assert torch.isfinite(torch.from_numpy(maps(fake(network, scheme), torch.zeros(1, SIDE, SIDE, 3)))).all()


def test_norms_keep_their_statistics_and_ranges_follow_the_weights():
    network = made()
    simulated = fake(network, every=2).train()
    means = {name: value.clone() for name, value in simulated.state_dict().items() if "running" in name}
    before = simulated.ranges.clone()
    simulated(UNSEEN)  # the first step measures; what it finds is what there was
    torch.testing.assert_close(simulated.ranges, before)
    network.backbone.stem[1].weight.data *= 0.5
    simulated(UNSEEN)
    torch.testing.assert_close(simulated.ranges, before)
    simulated(UNSEEN)
    assert (simulated.ranges != before).any()
    for name, value in means.items():
        torch.testing.assert_close(simulated.state_dict()[name], value)


def test_it_gives_back_an_ordinary_network():
    network = made()
    plain = fake(network).unquantized()
    assert type(plain) is HeatmapNetwork
    assert plain.state_dict().keys() == network.state_dict().keys()
    np.testing.assert_array_equal(maps(plain), maps(network))
    plain.head.weight.data.zero_()
    assert network.head.weight.any(), "a copy"
