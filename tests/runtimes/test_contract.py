"""What every runtime must do; run over each one that is installed, with the same crops and the same expected values."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.bundle import Bundle
from dsrfau_edge.errors import DsrfauError, InputError, RuntimeUnavailable, UsageError
from dsrfau_edge.runtimes.base import ModelFiles, Outputs, Runtime, Session, SessionOptions
from dsrfau_edge.runtimes.registry import runtimes

TOLERANCE = 1e-3


@pytest.fixture(params=["onnxruntime", "openvino", "tensorrt"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    found = runtimes()[request.param]
    availability = found.availability()
    if not availability.ok:
        pytest.skip(f"{found.name}: {availability.reason}")
    return found


@pytest.fixture
def files(opened_bundle: Bundle) -> ModelFiles:
    return opened_bundle.model_files().as_portable()


@pytest.fixture(scope="module")
def reference(tiny_onnx: bytes, tiny_crops: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """The graph by onnx's own reference implementation, which shares no code with any runtime."""
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(tiny_onnx).run(None, {"crops": tiny_crops}))


class TestContract:
    def test_same_intensities(self, runtime: Runtime, files: ModelFiles, tiny_crops: Any, reference: Any) -> None:
        session = runtime.load(files)
        assert isinstance(session, Session)
        outputs = session.infer(tiny_crops)
        assert outputs.intensities.dtype == np.float32
        assert outputs.heatmaps is None
        np.testing.assert_allclose(outputs.intensities, reference[0], atol=TOLERANCE)
        assert np.ptp(outputs.intensities, axis=0).min() > 0.1, "the network must react to the crop"
        session.close()

    def test_heatmaps_on_request(self, runtime: Runtime, files: ModelFiles, tiny_crops: Any, reference: Any) -> None:
        outputs = runtime.load(files, options=SessionOptions(heatmaps=True)).infer(tiny_crops)
        assert outputs.heatmaps is not None
        np.testing.assert_allclose(outputs.heatmaps, reference[1], atol=TOLERANCE)
        np.testing.assert_allclose(outputs.intensities, reference[0], atol=TOLERANCE)

    @pytest.mark.parametrize("count", [1, 3, 8])
    @pytest.mark.parametrize("batch", [1, 2])
    def test_a_fixed_batch_takes_any_number(
        self,
        runtime: Runtime,
        files: ModelFiles,
        tmp_path: Path,
        tiny_crops: Any,
        reference: Any,
        batch: int,
        count: int,
    ) -> None:
        from dsrfau_edge.export.graph import with_batch
        from dsrfau_edge.export.onnx import serialized

        onnx = pytest.importorskip("onnx")
        (tmp_path / "fixed.onnx").write_bytes(serialized(with_batch(onnx.load(files.path), batch)))
        fixed = replace(files, path=tmp_path / "fixed.onnx", batch=batch)
        outputs = runtime.load(fixed, options=SessionOptions(heatmaps=True)).infer(tiny_crops[:count])
        np.testing.assert_allclose(outputs.intensities, reference[0][:count], atol=TOLERANCE)
        assert outputs.heatmaps is not None
        assert len(outputs.heatmaps) == count

    def test_threads_share_a_session(
        self, runtime: Runtime, files: ModelFiles, tiny_crops: Any, reference: Any
    ) -> None:
        session = runtime.load(files, options=SessionOptions(threads=1, heatmaps=True))

        def call(turn: int) -> tuple[int, int, Outputs]:
            start, count = turn % 8, 1 + turn % 5
            return start, count, session.infer(tiny_crops[start : start + count])

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(call, range(8 * 50)))
        assert len(found) == 400
        for start, count, outputs in found:
            stop = min(start + count, 8)
            np.testing.assert_allclose(outputs.intensities, reference[0][start:stop], atol=TOLERANCE)
            np.testing.assert_allclose(outputs.heatmaps, reference[1][start:stop], atol=TOLERANCE)

    def test_closing_while_threads_compute_ends_them_cleanly(
        self, runtime: Runtime, files: ModelFiles, tiny_crops: Any, reference: Any
    ) -> None:
        session = runtime.load(files, options=SessionOptions(threads=1))
        begun = threading.Barrier(5)

        def work(index: int) -> str:
            begun.wait()
            for _ in range(100_000):
                try:
                    found = session.infer(tiny_crops[index : index + 1]).intensities
                except RuntimeUnavailable as error:
                    return str(error)
                np.testing.assert_allclose(found[0], reference[0][index], atol=TOLERANCE)
            return "it was never closed"

        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(work, index) for index in range(4)]
            begun.wait()
            session.infer(tiny_crops)  # so that the others are under way
            session.close()
            assert ["is closed" in future.result() for future in working] == [True] * 4

    def test_info_says_what_it_runs_on(self, runtime: Runtime, files: ModelFiles, tiny_crops: Any) -> None:
        session = runtime.load(files, options=SessionOptions(threads=1))
        before = session.infer(tiny_crops).intensities
        info = session.info
        assert info.runtime == runtime.name
        assert info.version == runtime.availability().version
        assert info.device
        assert info.precision in ("fp32", "tf32", "bf16", "fp16", "int8")
        assert info.precision == max(info.layers, key=lambda name: info.layers[name])
        np.testing.assert_array_equal(session.infer(tiny_crops).intensities, before)
        session.close()

    def test_earlier_results_are_not_overwritten(self, runtime: Runtime, files: ModelFiles, tiny_crops: Any) -> None:
        session = runtime.load(files)
        first = session.infer(tiny_crops[:1]).intensities
        kept = first.copy()
        session.infer(tiny_crops[1:2])
        np.testing.assert_array_equal(first, kept)

    def test_what_is_no_crop_is_refused(self, runtime: Runtime, files: ModelFiles, tiny_crops: Any) -> None:
        session = runtime.load(files)
        with pytest.raises(UsageError):
            session.infer(tiny_crops.astype(np.float32))
        with pytest.raises(InputError):
            session.infer(tiny_crops[:, :16])

    def test_closing_twice_is_fine_and_using_it_after_is_not(
        self, runtime: Runtime, files: ModelFiles, tiny_crops: Any
    ) -> None:
        session = runtime.load(files)
        session.close()
        session.close()
        with pytest.raises(RuntimeUnavailable, match="closed"):
            session.infer(tiny_crops)

    @pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x08\x09" * 50])
    def test_a_file_that_is_no_model_is_named(
        self, runtime: Runtime, files: ModelFiles, tmp_path: Path, content: bytes
    ) -> None:
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(DsrfauError, match="cannot|refuses"):
            runtime.load(replace(files, path=tmp_path / "broken.onnx"))

    def test_an_unknown_device_is_refused(self, runtime: Runtime, files: ModelFiles) -> None:
        with pytest.raises(RuntimeUnavailable, match="(?i)quantum"):
            runtime.load(files, "quantum:0")
