"""A checkpoint's own network in torch against its graph in the other runtimes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from endurance import BOUND, growth

torch = pytest.importorskip("torch", reason="torch is in the train extra")
pytest.importorskip("onnxscript", reason="a checkpoint's graph is made with the train extra")

from dsrfau_edge import Predictor  # noqa: E402
from dsrfau_edge.bundle import Bundle  # noqa: E402
from dsrfau_edge.errors import RuntimeUnavailable, UsageError  # noqa: E402
from dsrfau_edge.runtimes import registry  # noqa: E402
from dsrfau_edge.runtimes.base import Runtime, Session, SessionOptions  # noqa: E402
from dsrfau_edge.runtimes.onnxruntime import OnnxRuntime  # noqa: E402
from dsrfau_edge.runtimes.registry import choose, runtimes  # noqa: E402
from dsrfau_edge.train import runtime as runtime_module  # noqa: E402
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


@pytest.fixture(scope="module")
def files(checkpoint):
    return Bundle.open(checkpoint).model_files()


@pytest.fixture(scope="module")
def some_crops():
    return np.random.default_rng(1).integers(0, 255, (8, 32, 32, 3)).astype(np.uint8)


def test_the_runtime_keeps_the_protocol(files, some_crops):
    runtime = runtimes()["torch"]
    assert isinstance(runtime, Runtime)
    session = runtime.load(files, None, SessionOptions(threads=1))
    assert isinstance(session, Session)
    expected = OnnxRuntime().load(files).infer(some_crops).intensities
    np.testing.assert_allclose(session.infer(some_crops).intensities, expected, atol=1e-4)
    info = session.info
    assert (info.runtime, info.device, info.precision, info.threads) == ("torch", "cpu", "fp32", 1)
    assert info.layers == {"fp32": sum(OnnxRuntime().load(files).info.layers.values())}
    assert info.version == torch.__version__
    with pytest.raises(UsageError, match="uint8"):
        session.infer(some_crops.astype(np.float32))
    session.close()
    session.close()
    with pytest.raises(RuntimeUnavailable, match="closed"):
        _ = session.info


def test_a_predictor_runs_a_checkpoint_in_torch(checkpoint, some_crops):
    with Predictor(checkpoint, runtime="torch") as predictor, Predictor(checkpoint) as other:
        assert other.selection.runtime.name != "torch"
        assert predictor.selection.runtime.name == "torch"
        found = predictor.infer(some_crops).intensities
        np.testing.assert_allclose(found, other.infer(some_crops).intensities, atol=1e-4)


def test_it_is_never_chosen_by_itself(files, monkeypatch):
    alone = {"torch": runtimes()["torch"]}
    monkeypatch.setattr(registry, "runtimes", lambda: alone)
    with pytest.raises(RuntimeUnavailable, match="only where it is named"):
        choose(files)
    assert choose(files, "torch").model.checkpoint == files.checkpoint


def test_threads_are_put_back(files, some_crops):
    before = torch.get_num_threads()
    runtimes()["torch"].load(files, None, SessionOptions(threads=before + 1)).infer(some_crops)
    assert torch.get_num_threads() == before


def test_threads_share_a_session(files, some_crops):
    session = runtimes()["torch"].load(files, None, SessionOptions(threads=1))
    expected = session.infer(some_crops).intensities

    def check(turn):
        start, count = turn % 8, 1 + turn % 3
        found = session.infer(some_crops[start : start + count]).intensities
        np.testing.assert_allclose(found, expected[start : start + count], atol=1e-4)

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(check, range(400)))) == 400


def test_crops_that_may_not_be_written_to(files, some_crops, recwarn):
    locked = some_crops.copy()
    locked.flags.writeable = False
    runtimes()["torch"].load(files).infer(locked)
    assert not [warning for warning in recwarn if "writable" in str(warning.message)]


def test_asking_whether_it_is_there_does_not_import_it(tmp_path):
    code = (
        "import sys; from dsrfau_edge.runtimes.registry import runtimes\n"
        "assert runtimes()['torch'].availability().ok and 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0


def test_without_torch_it_says_what_to_install(files, monkeypatch):
    monkeypatch.setattr(runtime_module.importlib.util, "find_spec", lambda name: None)
    availability = runtimes()["torch"].availability()
    assert not availability.ok
    assert "torch, safetensors" in availability.reason
    assert "dsrfau-edge[train]" in availability.fix


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="open files and memory are read from /proc")
def test_a_thousand_sessions_leave_nothing(checkpoint, tmp_path):
    kept = growth(checkpoint, "torch", tmp_path)
    assert kept.files <= 0
    assert kept.threads <= 0
    assert kept.memory < BOUND
