"""`--target openvino`: OpenVINO's own format in fp32, fp16 (weights) and int8 (NNCF's post-training quantization)."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DsrfauError
from ...runtimes.base import Crops
from ..calibration import in_batches
from .base import Converted, Job, Target

#: The method `minmax` takes in every value that was seen. NNCF's own default averages the extremes of each crop, which
#: clips strong expressions: on our network it loses several times more.
_RANGES = {"minmax": "MINMAX", "mean-minmax": "MEAN_MINMAX", "percentile": "MEAN_QUANTILE"}
METHODS = tuple(_RANGES)
_SUMS = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
)


def convert(job: Job) -> Converted:
    """Read the portable graph, quantize it if asked to, and write `.xml` and `.bin`."""
    import openvino as ov

    from .. import graph, onnx

    source = job.folder / "source.onnx"
    source.write_bytes(onnx.serialized(graph.with_batch(job.model, job.batch)))
    model, quantization = read_model(source), None
    build = {"openvino": str(ov.__version__)}
    if job.precision == "int8":
        model = to_int8(model, job.crops, job.method, keep=job.keep)
        quantization, version = describe(job.method, job.keep)
        build["nncf"] = version
    set_metadata(model, job.metadata)
    save_model(model, job.folder / "model.xml", half=job.precision == "fp16")
    files = ("model.xml", "model.bin")
    return Converted("model.xml", files, "model.xml", "openvino", quantization=quantization, build=build)


def read_model(path: Path) -> Any:
    """An ONNX file as OpenVINO's model, with constants folded, so that a bias is a constant that NNCF can correct.

    Raises:
        DsrfauError: OpenVINO cannot read it.
    """
    import openvino
    from openvino.passes import ConstantFolding, Manager

    try:
        model = openvino.Core().read_model(path)
    except Exception as error:  # pybind raises RuntimeError and its own types
        raise DsrfauError(f"OpenVINO cannot read the graph: {error}. Update openvino.") from error
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    return model


def save_model(model: Any, path: Path, *, half: bool = False) -> None:
    """Write `path` (.xml) and its weights (.bin) beside it, the weights in fp16 if `half`."""
    import openvino

    openvino.save_model(model, path, compress_to_fp16=half)


def set_metadata(model: Any, metadata: Mapping[str, str]) -> None:
    """Write what the model says of itself to its runtime info, under `dsrfau`, where stock tools show it."""
    for key, value in metadata.items():
        model.set_rt_info(value, ["dsrfau", key.removeprefix("dsrfau.")])


def to_int8(model: Any, crops: Crops, method: str, *, keep: Sequence[str] = ()) -> Any:
    """Quantize with NNCF: symmetric weights, asymmetric activations, head and decode in float.

    Args:
        model: fp32 model of a fixed batch or a dynamic one.
        crops: calibration crops `[n, size, size, 3]`.
        method: one of `METHODS`.
        keep: names of the ONNX graph's nodes that stay in float besides.

    Raises:
        DsrfauError: NNCF cannot do it.
    """
    shape = model.input(0).get_partial_shape()
    batch = shape[0].get_length() if shape[0].is_static else 1
    batches = list(in_batches(crops, batch))
    with _quiet_nncf() as nncf:
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        ranges = getattr(RangeEstimatorParametersSet, _RANGES[method])
        try:
            return nncf.quantize(
                model,
                nncf.Dataset(batches, lambda batch: {0: batch}),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(batches),
                ignored_scope=nncf.IgnoredScope(names=[*float_nodes(model), *_named(model, keep)], validate=False),
                advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges),
            )
        except Exception as error:  # NNCF has several families of errors
            raise DsrfauError(
                f"NNCF cannot quantize the graph: {error}. Update nncf and openvino, or use --fp16."
            ) from error


def float_nodes(model: Any) -> list[str]:
    """Names of the head and the decode: everything from the last convolution on, told by structure as in `graph`."""
    kept: dict[str, None] = {}
    pending = [result.input_value(0).get_node() for result in model.get_results()]
    while pending:
        node = pending.pop()
        name = node.get_friendly_name()
        if name in kept or node.get_type_name() in ("Constant", "Parameter"):
            continue
        kept[name] = None
        if node.get_type_name() not in _SUMS:
            pending.extend(value.get_source_output().get_node() for value in node.inputs())
    return list(kept)


def _named(model: Any, names: Sequence[str]) -> list[str]:
    """Operations that came from ONNX nodes of these names, a bias behind a convolution among them."""
    wanted = set(names)
    found = []
    for operation in model.get_ops():
        name = operation.get_friendly_name()
        if name in wanted or name.rsplit("/", 1)[0] in wanted:
            found.append(name)
    return found


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[Any]:
    """NNCF without its usage statistics, which it would send over the network, and without its progress bars."""
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"  # read when it is imported; the one switch it has
    try:
        import nncf
    finally:
        if before is None:
            del os.environ["NNCF_CI"]
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield nncf
    finally:
        log.setLevel(level)


def describe(method: str, keep: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """What the manifest says of the scheme, and NNCF's version."""
    with _quiet_nncf() as nncf:
        version = str(nncf.__version__)
    scheme = {
        "scheme": "NNCF post-training, mixed preset",
        "activations": "8 bit, asymmetric where signed",
        "weights": "int8, symmetric, per channel",
        "method": method,
        "tool": "nncf",
        **({"kept_in_float": list(keep)} if keep else {}),
    }
    return scheme, version


TARGET = Target(
    "openvino",
    "OpenVINO, on Intel CPUs, GPUs and NPUs",
    METHODS,
    {"": ("onnx", "openvino"), "int8": ("nncf",)},
    convert,
)
