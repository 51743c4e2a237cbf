"""The package's face models (TFLite), run by OpenCV or, where the predictor uses it anyway, by OpenVINO."""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import BundleError
from ..runtimes.openvino import shared_core

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "face"
Engine = Literal["opencv", "openvino"]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FaceModel:
    """A model of the package's assets: side of its square RGB picture, which it takes as RGB * scale + offset."""

    file: str
    size: int
    outputs: tuple[str, ...]
    scale: float
    offset: float = 0.0


class FaceNetwork(Protocol):
    """A face model, safe for threads."""

    def __call__(self, picture: Picture) -> list[npt.NDArray[np.float32]]:
        """Outputs for a BGR picture of the model's size."""


def load(model: FaceModel, engine: Engine = "opencv", threads: int | None = None) -> FaceNetwork:
    """Read a model.

    Args:
        model: which one.
        engine: `openvino` takes a third of the time of `opencv` and gives the same to within a tenth of a pixel, but is
            not part of every installation.
        threads: CPU threads of OpenVINO, by default one: the models are so small that to wake another takes longer, and
            now and then much longer. OpenCV's are set for the whole process, by `cv2.setNumThreads`.

    Raises:
        BundleError: the file is missing or damaged.
    """
    try:
        return _OpenVino(model, threads) if engine == "openvino" else _OpenCv(model)
    except (cv2.error, RuntimeError) as error:
        raise BundleError(
            f"The face model {model.file} cannot be read: {error}. Reinstall dsrfau-edge; its files are incomplete."
        ) from error


class _OpenCv:
    def __init__(self, model: FaceModel) -> None:
        self._model = model
        self._lock = threading.Lock()  # cv2.dnn keeps a network's activations in the network itself
        # The newer engine of OpenCV 5 keeps only a TFLite model's last output; the classic one has them all. Only
        # reading by path heeds the engine asked for; reading from a buffer does not.
        self._net = cv2.dnn.readNetFromTFLite(str(ASSETS / model.file), engine=cv2.dnn.ENGINE_CLASSIC)

    def __call__(self, picture: Picture) -> list[npt.NDArray[np.float32]]:
        blob = cv2.dnn.blobFromImage(picture, self._model.scale, swapRB=True)
        if self._model.offset:
            blob += np.float32(self._model.offset)
        with self._lock:
            self._net.setInput(blob)
            # Copies: what forward() returns lies in the network's own buffers, which the next call overwrites.
            return [np.array(output, np.float32) for output in self._net.forward(self._model.outputs)]


class _OpenVino:
    def __init__(self, model: FaceModel, threads: int | None) -> None:
        core = shared_core()
        network = core.read_model(str(ASSETS / model.file))
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": str(threads or 1),
        }
        self._request = core.compile_model(_from_bgr(network, model), "CPU", properties).create_infer_request()
        self._outputs = model.outputs
        self._lock = threading.Lock()

    def __call__(self, picture: Picture) -> list[npt.NDArray[np.float32]]:
        with self._lock:
            np.copyto(self._request.get_input_tensor(0).data[0], picture)
            self._request.infer(share_outputs=True)
            return [np.array(self._request.get_tensor(name).data, np.float32) for name in self._outputs]


def _from_bgr(network: Any, model: FaceModel) -> Any:
    """The model with what comes before it inside, so that it takes the picture as it is."""
    preprocess: Any = importlib.import_module("openvino.preprocess")
    types: Any = importlib.import_module("openvino").Type
    colour = preprocess.ColorFormat
    steps = preprocess.PrePostProcessor(network)
    layout = importlib.import_module("openvino").Layout("NHWC")
    steps.input().tensor().set_element_type(types.u8).set_layout(layout).set_color_format(colour.BGR)
    steps.input().model().set_layout(layout)
    made = steps.input().preprocess().convert_element_type(types.f32).convert_color(colour.RGB).scale(1 / model.scale)
    if model.offset:
        made.mean(-model.offset)
    return steps.build()


def sigmoid(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logistic function; logits are clipped to where float32 has no more to say."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)
