"""The network that int8 hurts: unequal channels, the same function."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.train.networks.heatmap import HeatmapNetwork, NetworkConfig  # noqa: E402

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "unequal.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("unequal", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("skips", [False, True])
def test_float_says_the_same_and_ranges_differ(script, skips):
    torch.manual_seed(0)
    network = HeatmapNetwork(NetworkConfig("tiny", "separable", (8, 8, 8), skips, pretrained=False), 5).eval()
    crops = torch.rand(2, 64, 64, 3) * 255
    streams = []
    network.backbone.stages[1].register_forward_hook(lambda *call: streams.append(call[2]))
    with torch.no_grad():
        before = network(crops).heatmaps
        script.unequal(network, 64.0)
        after = network(crops).heatmaps
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    spans = [stream.amax((0, 2, 3)) - stream.amin((0, 2, 3)) for stream in streams]
    ratio = spans[1] / spans[0]
    assert float(ratio.max() / ratio.min()) > 4


def test_what_makes_no_sense_is_refused(script, tmp_path, capsys):
    for arguments in (["x", "--factor", "1", "-o", str(tmp_path / "new")], ["x", "-o", str(tmp_path)]):
        with pytest.raises(SystemExit):
            script.main(arguments)
    assert "already there" in capsys.readouterr().err
