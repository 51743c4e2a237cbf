"""ONNX in every precision: fp32, fp16 with float in- and outputs, and int8 as Q/DQ pairs for each kind of runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DsrfauError
from ..runtimes.base import Crops
from .calibration import in_batches
from .graph import INPUT, cast_first, float_nodes, input_nodes
from .half import halved
from .release import released

METHODS = ("minmax", "percentile", "entropy")
#: Crops per pass of the methods that keep every activation of a pass in memory.
_STRIDE = 10


@dataclass(frozen=True, slots=True)
class QdqScheme:
    """An int8 scheme: which integers, which operations, and what the runtime's parser insists on."""

    name: str
    activation: str
    options: dict[str, Any]
    operations: tuple[str, ...] | None = None

    def describe(self, method: str, keep: Sequence[str] = ()) -> dict[str, Any]:
        """As stored in the manifest."""
        return {
            "scheme": self.name,
            "activations": self.activation.lower(),
            "weights": "qint8, per channel",
            "method": method,
            "tool": "onnxruntime",
            **({"kept_in_float": list(keep)} if keep else {}),
        }


#: The fastest int8 of ONNX Runtime's CPU kernels.
CPU_SCHEME = QdqScheme("QDQ U8S8", "QUInt8", {"WeightSymmetric": True})
_SUMS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
#: What TensorRT's parser takes: symmetric, weights quantized in the graph, biases in float; and what its builder fuses
#: best: pairs on the inputs of weighted sums alone, none between a convolution and its ReLU.
GPU_SCHEME = QdqScheme(
    "QDQ S8S8",
    "QInt8",
    {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,
        "AddQDQPairToWeight": True,
        "OpTypesToExcludeOutputQuantization": list(_SUMS),
    },
    _SUMS,
)


def prepare(model: Any) -> Any:
    """Fold batch norm and constants, and infer shapes, which int8 and fp16 both need.

    Raises:
        DsrfauError: ONNX Runtime cannot do it.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, result = Path(folder, "source.onnx"), Path(folder, "result.onnx")
        onnx.save_model(model, source)
        try:
            quant_pre_process(str(source), str(result), skip_symbolic_shape=True)
        except Exception as error:
            raise DsrfauError(f"The graph cannot be prepared: {error}. Update onnxruntime and onnx.") from error
        return onnx.load_model(result)


def to_fp16(model: Any) -> Any:
    """Half precision between the scaled crop and the head; uint8 in, float32 out, head and decode in float32."""
    prepared = cast_first(prepare(model))
    return halved(prepared, keep={*input_nodes(prepared), *float_nodes(prepared)})


def to_int8(model: Any, crops: Crops, scheme: QdqScheme, method: str, *, keep: Sequence[str] = ()) -> Any:
    """Static post-training quantization with Q/DQ pairs.

    Args:
        model: fp32 graph.
        crops: calibration crops `[n, size, size, 3]`.
        scheme: which runtime it is for.
        method: `minmax`, `entropy` or `percentile`.
        keep: names of nodes that stay in float besides head and decode.

    Raises:
        DsrfauError: ONNX Runtime cannot do it.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
    prepared = cast_first(prepare(model))
    options = dict(scheme.options)
    if method != "minmax":
        crops = crops[: max(len(crops) // _STRIDE, 1) * _STRIDE]
        options["CalibStridedMinMax"] = min(_STRIDE, len(crops))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, result = Path(folder, "source.onnx"), Path(folder, "result.onnx")
        onnx.save_model(prepared, source)
        try:
            quantize_static(
                str(source),
                str(result),
                _Reader(crops, _batch(prepared)),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=getattr(QuantType, scheme.activation),
                weight_type=QuantType.QInt8,
                op_types_to_quantize=list(scheme.operations) if scheme.operations else None,
                nodes_to_exclude=[*input_nodes(prepared), *float_nodes(prepared)],
                calibrate_method=methods[method],
                extra_options=options,
            )
        except Exception as error:
            raise DsrfauError(
                f"ONNX Runtime cannot quantize the graph with {method}: {error}. Try --calib-method minmax, or --fp16."
            ) from error
        quantized = onnx.load_model(result)
    return released(quantized, prepared, keep) if keep else quantized


def serialized(model: Any) -> bytes:
    """The model as the contents of an `.onnx` file."""
    return bytes(model.SerializeToString())


def _batch(model: Any) -> int:
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value) or 1


class _Reader:
    """Gives ONNX Runtime's calibrator one batch after the other, or those of a range of crops."""

    def __init__(self, crops: Crops, batch: int) -> None:
        self._crops, self._batch = crops, batch
        self.set_range(0, len(crops))

    def __len__(self) -> int:
        return len(self._crops)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._feeds = ({INPUT: batch} for batch in in_batches(self._crops[start_index:end_index], self._batch))

    def get_next(self) -> dict[str, Crops] | None:
        return next(self._feeds, None)

    def __iter__(self) -> Iterator[dict[str, Crops]]:
        return self._feeds


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantizer prints its progress and writes advice for its own users to the root logger.

    Where that logger has no handler, the first such line would give it one, which then repeats our own lines.
    """
    root, handler = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.setLevel(logging.ERROR)
    root.addHandler(handler)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
