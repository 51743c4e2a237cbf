"""MediaPipe's Face Landmarker run from its `.task` file by OpenVINO: 52 blendshape scores of one face.

The file is a zip of TFLite networks: one places 478 points on a face, one scores blendshapes from 146 of them. Face and
region come from this project's own front end. `mediapipe` itself is not needed, which would install an OpenCV of its
own over the project's.

Source: the networks and the choice of points are MediaPipe's (Apache-2.0); Grishchenko et al., "Blendshapes GHUM:
Real-time Monocular Facial Blendshape Prediction", 2023.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dsrfau_edge.errors import DataError, RuntimeUnavailable
from dsrfau_edge.face.alignment import warp
from dsrfau_edge.face.images import Image
from dsrfau_edge.face.landmarks import Landmarks, roi_from_landmarks
from dsrfau_edge.face.network import sigmoid

_POINTS, _SHAPES = "face_landmarks_detector.tflite", "face_blendshapes.tflite"
_SIZE, _MIN_PRESENCE = 256, 0.5
#: Points of the 478 that the blendshapes are scored from.
_CHOSEN = (
    *(0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80),
    *(81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153),
    *(154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249),
    *(251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311),
    *(312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380),
    *(381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471),
    *(472, 473, 474, 475, 476, 477),
)
#: The scores, in the network's order.
BLENDSHAPES = (
    "_neutral",
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft"),
    *("eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft"),
    *("eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft"),
    *("jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight"),
    *("mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft"),
    *("mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)


class FaceLandmarker:
    """Scores the blendshapes of a face whose points are roughly known."""

    def __init__(self, task: Path) -> None:
        """Read the networks out of a `.task` file.

        Args:
            task: MediaPipe's `face_landmarker.task`, the one with blendshapes.

        Raises:
            DataError: the file is missing or something else.
            RuntimeUnavailable: OpenVINO is not installed.
        """
        parts = read_task(task)
        self._points, self._shapes = (_compiled(parts[name], name) for name in (_POINTS, _SHAPES))

    def __call__(self, image: Image, face: Landmarks) -> Mapping[str, float] | None:
        """Scores 0 to 1 by name; None where the network sees no face.

        Args:
            image: BGR `[H, W, 3]`.
            face: the face's points by FaceMesh, in pixels of the picture.
        """
        matrix = roi_from_landmarks(face.points).matrix(_SIZE)
        picture = warp(image, matrix, _SIZE, border=cv2.BORDER_REPLICATE)
        rgb = np.ascontiguousarray(picture[None, :, :, ::-1], np.float32) / 255
        found = self._points(rgb)
        points, presence = np.asarray(found[0]).reshape(-1, 3), sigmoid(np.asarray(found[1]).reshape(-1))[0]
        if presence < _MIN_PRESENCE:
            return None
        scores = np.asarray(self._shapes(_placed(points, matrix)[None])[0]).reshape(-1)
        return {name: float(score) for name, score in zip(BLENDSHAPES, scores, strict=True)}


def _placed(points: npt.NDArray[np.float32], matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The chosen points `[146, 2]` in pixels of the picture."""
    back = cv2.invertAffineTransform(matrix)
    chosen = points[list(_CHOSEN), :2].astype(np.float64) - 0.5  # the network counts from a pixel's edge
    return np.asarray(chosen @ back[:, :2].T + back[:, 2], np.float32)


def read_task(task: Path) -> dict[str, bytes]:
    """The files in a `.task` file.

    Raises:
        DataError: it is missing, no such file, or one without blendshapes.
    """
    try:
        with zipfile.ZipFile(task) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except OSError as error:
        raise DataError(f"{task} cannot be read: {error.strerror or error}. Check --tracker.") from error
    except zipfile.BadZipFile as error:
        raise DataError(f"{task} is no .task file ({error}). Give MediaPipe's face_landmarker.task.") from error
    missing = [name for name in (_POINTS, _SHAPES) if name not in parts]
    if missing:
        raise DataError(
            f"{task} holds no {' and no '.join(missing)}. Give MediaPipe's face_landmarker.task with blendshapes."
        )
    return parts


def digest(task: Path) -> str:
    """SHA-256 of the file."""
    return hashlib.sha256(task.read_bytes()).hexdigest()


def _compiled(content: bytes, name: str) -> Any:
    """A network ready to run, one thread, in full precision so that every machine says the same."""
    try:
        import openvino
    except ImportError as error:
        raise RuntimeUnavailable(
            "The tracker needs OpenVINO, which is not installed. Install it: pip install 'dsrfau-edge[openvino]'"
        ) from error
    with tempfile.TemporaryDirectory() as folder:  # OpenVINO reads TFLite from files alone
        path = Path(folder, name)
        path.write_bytes(content)
        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "CACHE_DIR": ""}
        try:
            return core.compile_model(core.read_model(path), "CPU", settings)
        except RuntimeError as error:
            raise DataError(
                f"{name} of the tracker cannot be read ({error}). Download the .task file again."
            ) from error
