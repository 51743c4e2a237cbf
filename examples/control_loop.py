"""A control loop at 100 Hz that knows the faces and never waits for them.

    python control_loop.py 0 --hertz 50 --deadline 0.2

Camera and network run in a thread of their own and leave their newest result in a slot. The loop looks into the slot:
what it finds there is at most `--deadline` seconds old, or nothing. Frames that come while the network is busy are
dropped, never queued.
"""

import argparse
import threading
import time

from dsrfau_edge import LiveOptions, Predictor
from dsrfau_edge.errors import DsrfauError


class LatestFaces:
    """Follows a live stream in a thread. `look` returns at once, whatever camera and network do."""

    def __init__(self, stream, clock=time.monotonic) -> None:
        """Take what iterates over results with `latency_ms`, and has `close`, such as `Predictor.live(...)`."""
        self._stream, self._clock = stream, clock
        self._slot = None  # a result and when its frame came: one attribute, set and read whole
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, name="faces", daemon=True)
        self._thread.start()

    def look(self, deadline: float):
        """The newest result if its frame came at most `deadline` seconds ago, else None."""
        slot = self._slot
        if slot is None or self._clock() - slot[1] > deadline:
            return None
        return slot[0]

    def close(self) -> None:
        """Stop following."""
        self._stream.close()
        self._thread.join()

    def _follow(self) -> None:
        try:
            for result in self._stream:
                self._slot = (result, self._clock() - result.latency_ms / 1000)
        except DsrfauError as error:
            self.failure = error


def control(faces: LatestFaces, deadline: float) -> float:
    """One step of the robot: here, how much to smile back, 0 to 1. Without fresh faces it keeps a straight face."""
    result = faces.look(deadline)
    return result.faces[0]["AU12"] / 5 if result is not None and result.faces else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="0", help="camera number, video, address (default: 0)")
    parser.add_argument("--hertz", type=float, default=100.0, help="of the loop (default: 100)")
    parser.add_argument("--deadline", type=float, default=0.15, help="oldest frame to act on, in s (default: 0.15)")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with Predictor() as predictor, predictor.live(options.source, live=LiveOptions(wait=True)) as stream:
        faces, steps = LatestFaces(stream), round(options.seconds * options.hertz)
        start = time.monotonic()
        for step in range(steps):
            smile = control(faces, options.deadline)
            if step % round(options.hertz) == 0:
                print(f"{step / options.hertz:5.1f} s  smile back {smile:.2f}  dropped {stream.stats.dropped} frames")
            time.sleep(max(0.0, start + (step + 1) / options.hertz - time.monotonic()))
        faces.close()
        if faces.failure is not None:
            raise faces.failure


if __name__ == "__main__":
    try:
        main()
    except DsrfauError as error:
        raise SystemExit(f"error: {error}") from None
