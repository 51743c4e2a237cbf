"""A TFLite network read by OpenCV, made safe for threads."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import BundleError

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "face"


class TfliteNetwork:
    """One of the package's face models: a square RGB picture in, named float tensors out."""

    def __init__(self, file: str, outputs: tuple[str, ...]) -> None:
        """Read the model `file` of the package's assets.

        Raises:
            BundleError: the file is missing or damaged.
        """
        self._outputs = list(outputs)
        self._lock = threading.Lock()  # cv2.dnn keeps a network's activations in the network itself
        try:
            # The newer engine of OpenCV 5 keeps only a TFLite model's last output; the classic one has them all. Only
            # reading by path heeds the engine asked for; reading from a buffer does not.
            self._net = cv2.dnn.readNetFromTFLite(str(ASSETS / file), engine=cv2.dnn.ENGINE_CLASSIC)
        except cv2.error as error:
            raise BundleError(
                f"The face model {file} cannot be read: {error}. Reinstall dsrfau-edge; its files are incomplete."
            ) from error

    def __call__(
        self, picture: npt.NDArray[np.uint8], *, scale: float, offset: float = 0.0
    ) -> list[npt.NDArray[np.float32]]:
        """Run on one BGR picture of the model's size, as RGB * scale + offset."""
        blob = cv2.dnn.blobFromImage(picture, scale, swapRB=True)
        if offset:
            blob += np.float32(offset)
        with self._lock:
            self._net.setInput(blob)
            # Copies: what forward() returns lies in the network's own buffers, which the next call overwrites.
            return [np.array(output, np.float32) for output in self._net.forward(self._outputs)]


def sigmoid(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logistic function; logits are clipped to where float32 has no more to say."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)
