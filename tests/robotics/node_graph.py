"""A graph that records what is published, a clock that stands still, and a predictor whose faces are scripted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from faces import AUS, make_face, make_result

from dsrfau_edge.errors import InputError

SECOND = 1_000_000_000


class Clock:
    def __init__(self, now=100.0):
        self.now = now

    def __call__(self):
        return self.now


class RecordingGraph:
    """`sent` holds pairs of topic and message; publishers and subscriptions that are alive are known by topic."""

    def __init__(self, clock):
        self.clock = clock
        self.sent = []
        self.publishers, self.subscriptions = {}, {}
        self.made, self.closed, self.warnings = [], [], []

    def publisher(self, topic, kind):
        assert topic not in self.publishers, f"two publishers of {topic}"
        self.publishers[topic] = kind
        self.made.append(topic)
        return _Publisher(self, topic, kind)

    def subscribe(self, topic, kind, callback):
        assert topic not in self.subscriptions, f"two subscriptions of {topic}"
        self.subscriptions[topic] = (kind, callback)
        return SimpleNamespace(close=lambda: self.subscriptions.pop(topic))

    def now(self):
        return round(self.clock() * SECOND)

    def warn(self, text):
        self.warnings.append(text)

    def arrive(self, topic, message):
        self.subscriptions[topic][1](message)

    def last(self, ending):
        return [message for topic, message in self.sent if topic.endswith(ending)][-1]


class _Publisher:
    def __init__(self, graph, topic, kind):
        self._graph, self._topic, self._kind = graph, topic, kind

    def publish(self, message):
        assert self._topic in self._graph.publishers, f"{self._topic} is closed"
        assert self._kind == message.TYPE
        self._graph.sent.append((self._topic, message))

    def close(self):
        del self._graph.publishers[self._topic]
        self._graph.closed.append(self._topic)


class ScriptedPredictor:
    """Its streams find the faces whose numbers `script` gives for one picture after another, the last for ever."""

    def __init__(self, script=((0,),), during=None):
        self.script, self.during = list(script), during
        self.streams, self.times, self.closed = [], [], 0
        self.aus = AUS
        self.info = SimpleNamespace(runtime="scripted", version="1", device="none", precision="fp32")

    def stream(self, options):
        made = _Stream(self, options)
        self.streams.append(made)
        return made

    def close(self):
        self.closed += 1


class _Stream:
    def __init__(self, predictor, options):
        self.predictor, self.options, self.resets = predictor, options, 0

    def __call__(self, image, seconds):
        predictor = self.predictor
        assert not predictor.closed, "predicting with a closed predictor"
        predictor.times.append(seconds)
        if predictor.during is not None:
            predictor.during()
        script = predictor.script
        numbers = script.pop(0) if len(script) > 1 else script[0]
        if numbers is None:
            raise InputError("This picture is bad.")
        result = make_result(*(make_face(number) for number in numbers), timestamp=seconds, source="")
        return result if not self.options.keep_images else _with(result, image)

    def reset(self):
        self.resets += 1


def _with(result, image):
    from dataclasses import replace

    return replace(result, image=image)


def picture(stamp, *, encoding="bgr8", size=(8, 6), frame_id="eye"):
    """A `sensor_msgs/msg/Image` by its fields; `stamp` in nanoseconds."""
    width, height = size
    data = np.zeros((height, width, 3), np.uint8)
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp // SECOND, nanosec=stamp % SECOND), frame_id=frame_id)
    return SimpleNamespace(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=3 * width,
        data=data.tobytes(),
    )
