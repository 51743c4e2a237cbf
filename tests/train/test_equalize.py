"""Equalization: the same function in float, less error in int8, and nothing where there is nothing to do."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.train.networks.heatmap import HeatmapNetwork, NetworkConfig  # noqa: E402
from dsrfau_edge.train.quantization.equalize import equalize  # noqa: E402
from dsrfau_edge.train.quantization.network import FakeQuantizedNetwork  # noqa: E402
from dsrfau_edge.train.quantization.scheme import S8S8, U8S8  # noqa: E402


def made(*, skips: bool = True, upsampler: str = "separable", backbone: str = "tiny") -> HeatmapNetwork:
    torch.manual_seed(0)
    config = NetworkConfig(backbone, upsampler, (8, 8, 8), skips, pretrained=False)
    return HeatmapNetwork(config, 5).eval()


@pytest.fixture(scope="module")
def crops():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (8, 64, 64, 3), dtype=torch.uint8, generator=generator)


def enlarge_a_channel(network: HeatmapNetwork, factor: float) -> None:
    """One channel of the second stage, written larger and read smaller: float says the same."""
    blocks = list(network.backbone.stages[1])
    readers = [*(block.expand[0] for block in blocks[1:]), next(iter(network.backbone.stages[2])).expand[0]]
    if network.upsampler.lateral is not None:
        readers.append(network.upsampler.lateral[2][0])
    with torch.no_grad():
        for block in blocks:
            block.project[1].weight[2] *= factor
            block.project[1].bias[2] *= factor
        for reader in readers:
            reader.weight[:, 2] /= factor


@torch.no_grad()
@pytest.mark.parametrize("scheme", [U8S8, S8S8], ids=["u8s8", "s8s8"])
@pytest.mark.parametrize("skips", [True, False])
def test_what_unequal_channels_cost_comes_back(crops, scheme, skips):
    network = made(skips=skips)
    before = network(crops).heatmaps

    def error():
        return float((FakeQuantizedNetwork(network, scheme, crops).eval()(crops).heatmaps - before).abs().mean())

    healthy = error()
    enlarge_a_channel(network, 300.0)
    torch.testing.assert_close(network(crops).heatmaps, before, rtol=1e-3, atol=1e-4)
    hurt = error()
    assert hurt > 2 * healthy
    assert equalize(network, crops) > 10
    torch.testing.assert_close(network(crops).heatmaps, before, rtol=1e-3, atol=1e-4)
    assert error() < 0.5 * hurt


@torch.no_grad()
def test_a_dead_channel_is_left_alone_and_gives_no_infinity(crops):
    network = made()
    norm = next(iter(network.backbone.stages[1])).project[1]
    for block in network.backbone.stages[1]:
        block.project[1].weight[0] = block.project[1].bias[0] = 0
    before = network(crops).heatmaps
    equalize(network, crops)
    assert torch.isfinite(norm.weight).all()
    assert norm.weight[0] == 0
    torch.testing.assert_close(network(crops).heatmaps, before, rtol=1e-3, atol=1e-4)


def test_other_networks_are_left_as_they_are(crops):
    for network in (made(upsampler="deconv"), made(backbone="resnet18", upsampler="deconv", skips=False)):
        state = {name: value.clone() for name, value in network.state_dict().items()}
        assert equalize(network, crops) == 1.0
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
