"""`LiveStream`: results of a camera, an address, a pipeline, a file or an iterator of frames as they come."""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..following import StreamOptions
from ..results import FrameResult
from ..signals.checks import check_type
from .capture import Capture
from .feeds import origin_of
from .options import LiveOptions
from .stats import LiveStats, Meter
from .stopping import StopOnSignals
from .worker import Worker

if TYPE_CHECKING:
    from ..predictor import Predictor
    from ..signals.baseline import NeutralBaseline
    from ..stream import Frame

_log = logging.getLogger(__name__)


class LiveStream(Iterator[FrameResult], AsyncIterator[FrameResult]):
    """The results of a live source; made by `Predictor.live`. For one consumer, by `for` or `async for`.

    Example:
        >>> with predictor.live(0) as stream:
        ...     for result in stream:
        ...         print(result.timestamp, result.latency_ms, [face["AU12"] for face in result.faces])
    """

    def __init__(
        self, predictor: Predictor, source: Any, options: StreamOptions | None = None, live: LiveOptions | None = None
    ) -> None:
        """Nothing is opened until the first result is asked for, or the stream is entered as a context.

        Args:
            predictor: predicts; it stays open when the stream is closed.
            source: camera number, device path, address, GStreamer pipeline, file, folder; an iterator of pictures,
                pairs of a time in seconds and a picture, or `Frame`s; or a function that returns such an iterator,
                called again when that is lost.
            options: what is done with a face from frame to frame.
            live: how the source is read.

        Raises:
            InputError: there is no such file, or its kind is not known.
            UsageError: the source is none, or the options do not suit it.
        """
        live = LiveOptions() if live is None else live
        check_type("live", live, (LiveOptions,), "LiveOptions()")
        options = StreamOptions() if options is None else options
        check_type("options", options, (StreamOptions,), "StreamOptions()")
        # The clock of a source may jump; what is counted here as a restart is no reason to stop.
        self._stream = predictor.stream(replace(options, restart_time=True))
        self._capture = Capture(origin_of(source, live), live)
        self._meter = Meter()
        self._signals = StopOnSignals(self._capture.stop) if live.signals else None
        self._clock = self._capture.exchange.clock
        self._time: float | None = None
        self._worker: Worker | None = None
        self._pending: Future[FrameResult | None] | None = None
        weakref.finalize(self, self._capture.close)

    @property
    def stats(self) -> LiveStats:
        """How it goes."""
        return self._meter.stats(self._capture.exchange.stats())

    @property
    def baselines(self) -> dict[int, NeutralBaseline]:
        """As `FaceStream.baselines`."""
        return self._stream.baselines

    @property
    def stopped_by(self) -> int | None:
        """The signal that ended the iteration, if one did and `LiveOptions.signals` is set."""
        return self._signals.received if self._signals else None

    def reset(self) -> None:
        """Forget the faces, as when other people come before the camera; ids are not used again."""
        self._stream.reset()
        self._time = None

    def stop(self) -> None:
        """End the iteration, without waiting; from any thread, also in a signal handler."""
        self._capture.stop()

    def close(self) -> None:
        """End the iteration and free the source; from any thread. Calling it again does nothing."""
        self._capture.close()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def __iter__(self) -> LiveStream:
        return self

    def __next__(self) -> FrameResult:
        """The result of the newest frame; waits for one.

        Raises:
            InputError: the source cannot be opened, or was lost for good.
            UsageError: the predictor is closed.
        """
        result = self._next()
        if result is None:
            self.close()
            raise StopIteration
        return result

    def __aiter__(self) -> LiveStream:
        return self

    async def __anext__(self) -> FrameResult:
        """As `__next__`, without blocking the event loop: waiting and prediction run in a thread of this stream.

        After a cancellation the stream goes on, and the next call gets the frame that this one was waiting for.
        """
        pending = self._pending
        if pending is None or pending.cancelled():
            pending = self._pending = self._submit(self._next)
        try:
            result = await asyncio.wrap_future(pending)
        finally:
            if pending.done():
                self._pending = None
        if result is None:
            await self.aclose()
            raise StopAsyncIteration
        return result

    async def aclose(self) -> None:
        """As `close`, without blocking the event loop."""
        self._capture.stop()
        await asyncio.wrap_future(self._submit(self._capture.close))
        self.close()

    def __enter__(self) -> LiveStream:
        self._check_open()
        if self._signals:
            self._signals.install()
        try:
            self._capture.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def __aenter__(self) -> LiveStream:
        self._check_open()
        if self._signals:
            self._signals.install()
        try:
            await asyncio.wrap_future(self._submit(self._capture.start))
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._signals:
            self._signals.restore()
        self.close()

    def _check_open(self) -> None:
        if self._capture.exchange.stopped:
            raise UsageError("This live stream is closed. Make a new one with Predictor.live().")

    def _submit(self, call: Any) -> Future[Any]:
        if self._worker is None:
            self._worker = Worker("live prediction")
            weakref.finalize(self, self._worker.close)
        return self._worker.submit(call)

    def _next(self) -> FrameResult | None:
        self._capture.start()
        while (taken := self._capture.take()) is not None:
            frame, dropped = taken
            if self._in_time(frame):
                return self._predicted(frame, dropped)
        return None

    def _predicted(self, frame: Frame, dropped: int) -> FrameResult:
        result = self._stream(frame)
        now = self._clock()
        latency_ms = 1000 * (now - (frame.arrival if frame.arrival is not None else now))
        self._meter.result(now, latency_ms)
        return replace(result, latency_ms=latency_ms, dropped=dropped)

    def _in_time(self, frame: Frame) -> bool:
        time, last = frame.timestamp, self._time
        if time is None or not math.isfinite(time) or time == last:
            self._meter.rejected += 1
            return False
        if last is not None and time < last:
            self._meter.restarts += 1
            _log.info("%s: the time goes back from %.3f to %.3f s.", frame.source, last, time)
        self._time = time
        return True
