"""`--target onnx`: ONNX Runtime's own format on any CPU, and on whatever its execution providers reach."""

from __future__ import annotations

from .. import graph, onnx
from .base import Converted, Job, Target


def convert(job: Job) -> Converted:
    """fp32 as it is, fp16 with float in- and outputs, or int8 as U8S8 Q/DQ pairs."""
    model, quantization = graph.with_batch(job.model, job.batch), None
    if job.precision == "fp16":
        model = onnx.to_fp16(model)
    elif job.precision == "int8":
        model = onnx.to_int8(model, job.crops, onnx.CPU_SCHEME, job.method, keep=job.keep)
        quantization = onnx.CPU_SCHEME.describe(job.method, job.keep)
    graph.set_metadata(model, job.metadata)
    (job.folder / "model.onnx").write_bytes(onnx.serialized(model))
    return Converted("model.onnx", ("model.onnx",), "model.onnx", "onnxruntime", quantization=quantization)


TARGET = Target(
    "onnx",
    "ONNX Runtime, on any CPU",
    onnx.METHODS,
    {"": ("onnx", "onnxruntime"), "int8": ("sympy",), "fp16": ("sympy",)},
    convert,
)
