"""Which rows there are, from bundles and runtimes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from dsrfau_edge.bench.candidates import Wanted, candidates
from dsrfau_edge.bench.job import Job
from dsrfau_edge.errors import RuntimeUnavailable, UsageError
from dsrfau_edge.runtimes.base import Availability


@dataclass
class Fake:
    name: str
    formats: tuple = ("onnx",)
    ok: bool = True
    portable: bool = True
    broken: bool = False

    def availability(self, device=None):
        if self.broken:
            raise OSError("no such library")
        return Availability(ok=self.ok, reason="It is not here.", fix="Buy one.", version="1")


ORT, VINO = Fake("onnxruntime"), Fake("openvino", ("openvino", "onnx"))
RT, TORCH = Fake("tensorrt", ("tensorrt",), ok=False), Fake("torch", (), portable=False)
KNOWN = {one.name: one for one in (ORT, VINO, RT, TORCH)}
TEMPLATE = Job("crops", "", "")


class FakeBundle:
    def __init__(self, bundle, **changes):
        self.path, self.manifest, self.checkpoint = bundle.path, bundle.manifest, False
        self._files = replace(bundle.model_files(), **changes)

    def model_files(self):
        return self._files


def plan(bundle, known=KNOWN, **wanted):
    jobs, impossible = candidates(bundle, Wanted(**wanted), known, TEMPLATE)
    return [job.what for job in jobs], [(one.runtime, one.reason) for one in impossible]


def test_an_fp32_onnx_bundle(opened_bundle):
    assert plan(opened_bundle) == (
        ["onnxruntime fp32", "onnxruntime fp32, native", "openvino fp32", "openvino fp32, native"],
        [("tensorrt", "It is not here.")],
    )


def test_an_int8_openvino_bundle_has_its_portable_graph_too(opened_bundle):
    jobs, _ = plan(FakeBundle(opened_bundle, format="openvino", precision="int8"))
    assert jobs == [
        "onnxruntime portable fp32", "onnxruntime portable fp32, native",
        "openvino int8", "openvino int8, native", "openvino portable fp32", "openvino portable fp32, native",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("precisions", "expected"),
    [
        (("int8",), ["openvino int8"]),
        (("fp32",), ["openvino portable fp32"]),
        (("native",), ["openvino int8, native", "openvino portable fp32, native"]),
        (("int8", "native"), ["openvino int8", "openvino int8, native"]),
        (("fp16",), []),
    ],
)
def test_precisions_narrow(opened_bundle, precisions, expected):
    bundle = FakeBundle(opened_bundle, format="openvino", precision="int8")
    assert plan(bundle, runtimes=("openvino",), precisions=precisions)[0] == expected


def test_threads_and_device_reach_every_job(opened_bundle):
    template = replace(TEMPLATE, device="cpu")
    jobs, _ = candidates(opened_bundle, Wanted(("onnxruntime",), "cpu", ("fp32",), (1, 2)), KNOWN, template)
    assert [(job.threads, job.device) for job in jobs] == [(1, "cpu"), (2, "cpu")]


def test_a_baseline_only_where_it_is_asked_for_and_can_run(opened_bundle, tmp_path):
    jobs, impossible = plan(opened_bundle, baselines=("torch",))
    assert not [job for job in jobs if "torch" in job]
    assert impossible[-1] == ("torch", "It runs a checkpoint's own network, and this is none.")
    jobs, _ = plan(FakeBundle(opened_bundle, checkpoint=tmp_path), baselines=("torch",))
    assert jobs[-2:] == ["torch fp32", "torch fp32, native"]
    assert not [job for job in plan(FakeBundle(opened_bundle, checkpoint=tmp_path))[0] if "torch" in job]


def test_names_that_are_not_known_or_cannot_be_used(opened_bundle):
    with pytest.raises(UsageError, match="Unknown runtime 'tflite'"):
        plan(opened_bundle, runtimes=("tflite",))
    with pytest.raises(RuntimeUnavailable, match="It is not here. Buy one."):
        plan(opened_bundle, runtimes=("tensorrt",))
    with pytest.raises(RuntimeUnavailable, match="checkpoint"):
        plan(opened_bundle, runtimes=("torch",))


def test_a_third_party_that_raises_is_listed(opened_bundle):
    jobs, impossible = plan(opened_bundle, {"odd": Fake("odd", broken=True), "onnxruntime": ORT})
    assert jobs[0] == "onnxruntime fp32"
    assert impossible == [("odd", "It fails when it is asked whether it can be used: no such library.")]
