"""Several cameras with one network: each in a thread of its own, none waiting for another.

    python multi_camera.py 0 1 rtsp://camera/stream
    python multi_camera.py left.mp4 right.mp4

The network is loaded once; threads may share a `Predictor`. Each camera has its own faces, numbered from 0. A camera
that is unplugged is waited for while the others go on. For a process that has to stay up, with outputs, health and
restarts, there is `dsrfau-serve`.
"""

import argparse
import contextlib
import threading

from dsrfau_edge import LiveOptions, Predictor
from dsrfau_edge.errors import DsrfauError


def watch(predictor, source, streams) -> None:
    """One camera's thread: report each frame, and how it ended."""
    try:
        streams[source] = stream = predictor.live(source, live=LiveOptions(wait=True))
        for result in stream:
            show(source, result)
        print(f"{source}: ended, {stream.stats.frames} frames, {stream.stats.dropped} dropped")
    except DsrfauError as error:  # this camera's own trouble
        print(f"{source}: {error}")


def show(source, result) -> None:
    """One line a frame."""
    faces = "  ".join(f"face {face.id}: AU12 {face['AU12']:.1f} AU04 {face['AU04']:.1f}" for face in result.faces)
    print(f"{source} {result.timestamp:8.2f} s  {faces or 'nobody'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", help="camera numbers, videos, addresses")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one inference (default: 1)")
    options = parser.parse_args()
    streams = {}
    # One thread an inference by default, since the cameras share the cores.
    with Predictor(threads=options.threads) as predictor:
        threads = [
            threading.Thread(target=watch, args=(predictor, source, streams))
            for source in dict.fromkeys(options.sources)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:  # after Ctrl-C too
            for stream in list(streams.values()):
                stream.close()
            for thread in threads:
                thread.join()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
