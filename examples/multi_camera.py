"""Several cameras in one program: one predictor for all, a thread and a live stream for each.

    python examples/multi_camera.py 0 2
    python examples/multi_camera.py front.mp4 left.mp4

Models are loaded once. A camera that is lost or slow keeps no other one waiting; ids of faces are each camera's own.
For a process that has to stay up, with outputs, health and restarts, there is `dsrfau-serve`.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Sequence

from dsrfau_edge import Predictor
from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.results import FrameResult

#: A camera's number, and its next result; None when it has ended, or why it did.
News = tuple[int, FrameResult | DsrfauError | None]


def watch(predictor: Predictor, number: int, source: str, news: queue.Queue[News], ended: threading.Event) -> None:
    """One camera's thread."""
    try:
        with predictor.live(source) as stream:
            for result in stream:
                if ended.is_set():
                    break
                news.put((number, result))
        news.put((number, None))
    except DsrfauError as error:  # this camera's own trouble
        news.put((number, error))


def main(sources: Sequence[str]) -> None:
    """Print the strongest AU of the largest face of each camera, as it comes."""
    news: queue.Queue[News] = queue.Queue()
    ended = threading.Event()
    with Predictor() as predictor:
        threads = [
            threading.Thread(target=watch, args=(predictor, number, source, news, ended), daemon=True)
            for number, source in enumerate(sources)
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                number, told = news.get()
                if isinstance(told, FrameResult):
                    show(sources[number], told)
                else:
                    running -= 1
                    print(f"{sources[number]}: {told or 'ended'}")
        except KeyboardInterrupt:
            ended.set()
        for thread in threads:
            thread.join(5)


def show(camera: str, result: FrameResult) -> None:
    """One line a result with a face."""
    for face in result.faces[:1]:
        au = max(face.aus, key=lambda name: face.aus[name])
        print(f"{camera} {result.timestamp:8.3f} s  face {face.id}  {au} {face[au]:.2f}")


if __name__ == "__main__":
    if not sys.argv[1:]:
        raise SystemExit("Which cameras? Give some, such as: python examples/multi_camera.py 0 2")
    main(sys.argv[1:])
