"""Several cameras with one network: each in a thread of its own, none waiting for another.

    python multi_camera.py 0 1 rtsp://camera/stream
    python multi_camera.py left.mp4 right.mp4

The network is loaded once; threads may share a `Predictor`. Each camera has its own faces, numbered from 0. A camera
that is unplugged is waited for while the others go on.
"""

import argparse
import sys
import threading

from dsrfau_edge import LiveOptions, Predictor
from dsrfau_edge.errors import DsrfauError


def watch(name, stream, tell) -> None:
    """Report each frame of a stream, and why it ended if that was no usual end."""
    try:
        for result in stream:
            tell(name, result)
    except DsrfauError as error:
        print(f"{name}: {error}", file=sys.stderr)


def show(name, result) -> None:
    """One line a frame."""
    faces = "  ".join(f"face {face.id}: AU12 {face['AU12']:.1f} AU04 {face['AU04']:.1f}" for face in result.faces)
    print(f"{name:>20}  {result.timestamp:7.2f} s  {faces or 'nobody'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", help="camera numbers, videos, addresses")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of one inference (default: 1)")
    options = parser.parse_args()
    # One thread an inference by default, since the cameras share the cores.
    with Predictor(threads=options.threads) as predictor:
        streams = {source: predictor.live(source, live=LiveOptions(wait=True)) for source in options.sources}
        threads = [threading.Thread(target=watch, args=(source, stream, show)) for source, stream in streams.items()]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            pass
        finally:
            for stream in streams.values():
                stream.close()
            for thread in threads:
                thread.join()
        for source, stream in streams.items():
            stats = stream.stats
            print(f"{source}: {stats.frames} frames, {stats.dropped} dropped, {stats.reconnects} reconnections")


if __name__ == "__main__":
    try:
        main()
    except DsrfauError as error:
        sys.exit(f"error: {error}")
