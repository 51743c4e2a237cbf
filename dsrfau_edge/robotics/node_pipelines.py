"""From a picture to messages: of whole pictures, and of faces that another node has cut out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dsrfau_edge.results import FrameResult

from .face_messages import Batch, FaceMessages, TopicMessage, action_units_message
from .messages import Header
from .node_settings import NodeSettings

if TYPE_CHECKING:
    from dsrfau_edge.face.images import Image
    from dsrfau_edge.face_stream import FaceStream


class Pipeline(Protocol):
    """Predicting takes time and changes nothing that is published; making the messages is quick."""

    def predict(self, key: str, image: Image, seconds: float) -> FrameResult:
        """Follow a picture's faces.

        Raises:
            InputError: it is no picture.
        """

    def messages(self, key: str, result: FrameResult, header: Header) -> Batch:
        """What to publish of a result."""

    def forget(self, key: str, header: Header) -> Batch:
        """What to publish and to destroy where a source of pictures is gone."""

    def change(self, settings: NodeSettings) -> None:
        """Publish otherwise from the next result on."""


class WholePictures:
    """Finds and follows the faces of one camera."""

    def __init__(self, predictor: Any, settings: NodeSettings) -> None:
        self._stream: FaceStream = predictor.stream(settings.stream())
        self._messages = FaceMessages(settings.messages())
        self._size: tuple[int, ...] | None = None

    def predict(self, key: str, image: Image, seconds: float) -> FrameResult:
        """Follow; where the picture's size has changed, faces are looked for anew."""
        del key
        if self._size not in (None, image.shape):
            self._stream.reset()
        self._size = image.shape
        return self._stream(image, seconds)

    def messages(self, key: str, result: FrameResult, header: Header) -> Batch:
        """Those of REP-155."""
        del key
        return self._messages(result, header)

    def forget(self, key: str, header: Header) -> Batch:
        """An empty `/tracked`."""
        del key
        return self._messages.end(header)

    def change(self, settings: NodeSettings) -> None:
        """Faces keep their names."""
        self._messages.options = settings.messages()


class FaceCrops:
    """Reads faces that another node has found, and publishes nothing but their action units, under its names."""

    def __init__(self, predictor: Any, settings: NodeSettings) -> None:
        self._predictor, self._settings = predictor, settings
        self._options = settings.messages()
        self._streams: dict[str, FaceStream] = {}
        self._published: set[str] = set()

    def predict(self, key: str, image: Image, seconds: float) -> FrameResult:
        """Read the largest face of a crop; it has landmarks and smoothing of its own."""
        if key not in self._streams:
            self._streams[key] = self._predictor.stream(self._settings.stream())
        return self._streams[key](image, seconds)

    def messages(self, key: str, result: FrameResult, header: Header) -> Batch:
        """`/facs`, where the crop shows a face."""
        if not result.faces:
            return Batch(header, ())
        facs = action_units_message(result.faces[0], header, scale=self._options.intensity_scale, aus=self._options.aus)
        appeared = () if key in self._published else (key,)
        self._published.add(key)
        topic = f"{self._options.namespace}/humans/faces/{key}/facs"
        return Batch(header, (TopicMessage(topic, facs, key),), appeared)

    def forget(self, key: str, header: Header) -> Batch:
        """Its publisher goes."""
        self._streams.pop(key, None)
        self._published.discard(key)
        return Batch(header, (), (), (key,))

    def change(self, settings: NodeSettings) -> None:
        """From the next crop on."""
        self._options = settings.messages()
