"""A checkpoint's own network in torch against its graph in the other runtimes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the train extra")
pytest.importorskip("onnxscript", reason="a checkpoint's graph is made with the train extra")

from dsrfau_edge.errors import RuntimeUnavailable  # noqa: E402
from dsrfau_edge.train.checkpoint import save_checkpoint  # noqa: E402
from dsrfau_edge.train.data.prepared import load_prepared  # noqa: E402
from dsrfau_edge.train.evaluation.evaluation import Request, evaluate_models  # noqa: E402
from dsrfau_edge.train.evaluation.subjects import open_session, open_subject  # noqa: E402
from dsrfau_edge.train.networks.heatmap import HeatmapNetwork, NetworkConfig  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, faces):
    """An untrained network whose intensities nevertheless spread over the scale."""
    torch.manual_seed(0)
    data = load_prepared([faces])
    crops = torch.from_numpy(np.stack([data.frame(number)[0] for number in range(len(data))]))
    network = HeatmapNetwork(NetworkConfig("tiny", "separable", (16, 16, 16), skips=True, pretrained=False), 5)
    with torch.no_grad():
        for _ in range(50):
            network.train()(crops)  # norms with statistics of their own
        peaks = network.eval()(crops).heatmaps.amax((2, 3))
        network.head.weight.div_(peaks.std(0)[:, None, None, None])
        network.head.bias.copy_(2.5 - peaks.mean(0) / peaks.std(0))
    folder = tmp_path_factory.mktemp("checkpoints") / "student"
    options = {"calibration": np.arange(8), "training": {}, "metrics": {}}
    save_checkpoint(folder, network, data, **options)
    return folder


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_numbers_agree_on_the_same_crops(checkpoint, faces, runtime):
    pytest.importorskip(runtime)
    options = {"models": (checkpoint,), "folders": (faces,), "split": "all", "bootstrap": 0, "threads": 1}
    graph, own = (evaluate_models(Request(**options, runtime=name)) for name in (runtime, "torch"))
    assert [graph.ran[0].runtime, own.ran[0].runtime] == [runtime, "torch"]
    assert graph.pooled.views[""].std(0).min() > 0.5, "it tells crops apart"
    np.testing.assert_allclose(own.pooled.views[""], graph.pooled.views[""], atol=1e-4)
    for scores, other in ((own.per_au, graph.per_au), (own.per_site, graph.per_site)):
        for name, row in other.rows.items():
            for metric in ("icc", "pcc", "mae", "mse"):
                expected = row.metrics[metric].value
                assert scores.rows[name].metrics[metric].value == pytest.approx(expected, abs=1e-4)


def test_heatmaps_agree_too(checkpoint):
    subject = open_subject(checkpoint)
    crops = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3)).astype(np.uint8)
    outputs = []
    for runtime in ("onnxruntime", "torch"):
        opened = open_session(subject, runtime, heatmaps=True)
        outputs.append(opened.session.infer(crops))
        opened.session.close()
    np.testing.assert_allclose(outputs[0].heatmaps, outputs[1].heatmaps, atol=1e-4)
    with pytest.raises(RuntimeUnavailable, match="closed"):
        opened.session.infer(crops)


def test_a_device_that_is_not_there(checkpoint):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeUnavailable, match="cannot use the device 'cuda:0'"):
        open_session(open_subject(checkpoint), "torch", "cuda:0")
    with pytest.raises(RuntimeUnavailable, match="cannot use the device 'toaster'"):
        open_session(open_subject(checkpoint), "torch", "toaster")
