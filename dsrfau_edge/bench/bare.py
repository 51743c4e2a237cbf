"""The runtime's own loop on the same artifact, without anything of ours, to measure our share of the time against."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import RuntimeUnavailable
from ..runtimes.base import Crops, ModelFiles, SessionOptions
from .timing import Series

#: Runtimes whose own loop is known here, and what to use for others.
KNOWN = ("onnxruntime", "openvino")
BareCall = Callable[[Crops], object]
_RESAMPLES = 1000


def bare_call(model: ModelFiles, runtime: str, device: str | None, options: SessionOptions, batch: int = 1) -> BareCall:
    """A call of the runtime itself, made with the options that our session would give it, for crops `[batch, …]`.

    Raises:
        RuntimeUnavailable: this runtime's own loop is not known.
    """
    require_known(runtime)
    if runtime == "onnxruntime":
        return _onnxruntime(model, device, options)
    return _openvino(model, device, options, batch)


def require_known(runtime: str) -> None:
    """Refuse a runtime whose own loop is not known here.

    Raises:
        RuntimeUnavailable: it is not.
    """
    if runtime not in KNOWN:
        raise RuntimeUnavailable(
            f"No bare loop is written for {runtime}; there is one for {' and '.join(KNOWN)}. Give these with --runtime "
            "beside --bare, or use the runtime's own tool (trtexec for TensorRT)."
        )


def _onnxruntime(model: ModelFiles, device: str | None, options: SessionOptions) -> BareCall:
    import onnxruntime as ort

    from ..runtimes.execution_providers import options_of, parse, session_entries

    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.inter_op_num_threads = 1
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    for name, value in session_entries(platform.machine(), options, strict=False).items():
        settings.add_session_config_entry(name, value)
    providers: list[Any] = []
    for one in parse(device, ort.get_available_providers()):
        found = options_of(one, model, options)
        providers.append((one.kind.provider, found) if found else one.kind.provider)
    session = ort.InferenceSession(str(model.path), settings, providers=providers)
    name, wanted = session.get_inputs()[0].name, ["intensities"]
    return lambda crops: session.run(wanted, {name: crops})


def _openvino(model: ModelFiles, device: str | None, options: SessionOptions, batch: int) -> BareCall:
    import openvino

    from ..runtimes import openvino as ours

    network = ours.shared_core().read_model(model.path)
    ours._drop_heatmaps(network)
    network.reshape([batch, model.input_size, model.input_size, 3])  # as benchmark_app does: a fixed shape is faster
    name = ours._device(device)
    properties = ours._properties(model, name, options)
    request = ours.shared_core().compile_model(network, name, properties).create_infer_request()

    def call(crops: Crops) -> object:
        request.set_input_tensor(0, openvino.Tensor(crops, shared_memory=True))
        request.infer(share_outputs=True)
        return request.get_tensor("intensities").data

    return call


def overhead(ours: Series, bare: Series) -> dict[str, Any]:
    """What ours takes more than the bare loop, of calls made in turn.

    Returns:
        `percent` of the medians with its 95 % `interval` (percentiles of 1,000 bootstrap samples of the pairs), the
        same of p90; `microseconds` of the medians; `cpu_percent` of the median processor times, which other programs
        hardly change.
    """
    random = np.random.default_rng(0)
    medians = []
    for _ in range(_RESAMPLES):
        chosen = random.integers(0, len(ours.wall), len(ours.wall))
        medians.append(_percent(ours.wall[chosen], bare.wall[chosen], 50))
    low, high = np.percentile(medians, [2.5, 97.5])
    return {
        "percent": round(_percent(ours.wall, bare.wall, 50), 2),
        "interval": [round(float(low), 2), round(float(high), 2)],
        "p90_percent": round(_percent(ours.wall, bare.wall, 90), 2),
        "microseconds": round(float(np.median(ours.wall) - np.median(bare.wall)) / 1e3, 2),
        "cpu_percent": round(_percent(ours.cpu, bare.cpu, 50), 2),
        "cpu_microseconds": round(float(np.median(ours.cpu) - np.median(bare.cpu)) / 1e3, 2),
        "pairs": len(ours.wall),
    }


def _percent(ours: npt.NDArray[np.int64], bare: npt.NDArray[np.int64], share: int) -> float:
    one, other = (float(np.percentile(times, share, method="inverted_cdf")) for times in (ours, bare))
    return 100 * (one / max(other, 1.0) - 1)
