"""The live predictor on a real video: its speed beside MediaPipe's, and ten minutes at full speed.

    python benchmarks/live.py speed VIDEO --landmarker face_landmarker.task --mediapipe-python mp/bin/python
    python benchmarks/live.py soak VIDEO --minutes 10

`speed` shows the same 640 x 480 frames, decoded beforehand, to this project's stream and to MediaPipe's Face Landmarker
with blendshapes in VIDEO mode, in turns of a few seconds within one run, each in its own process on the same cores.
`soak` plays the video over and over through the live predictor and watches memory, descriptors and results.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 640, 480
_PEER = Path(__file__).with_name("live_mediapipe.py")
Frames = npt.NDArray[np.uint8]


def read_frames(video: Path, limit: int | None = None) -> Frames:
    """Frames of a video, fitted into 640 x 480 with black above and below: `[N, 480, 640, 3]` in BGR."""
    capture, frames = cv2.VideoCapture(str(video)), []
    while limit is None or len(frames) < limit:
        more, image = capture.read()
        if not more:
            break
        frames.append(fitted(image))
    capture.release()
    if not frames:
        raise SystemExit(f"{video} gave no frames")
    return np.stack(frames)


def fitted(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A picture of any size centred in one of 640 x 480."""
    scale = min(WIDTH / image.shape[1], HEIGHT / image.shape[0])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    left, top = (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas


class Ours:
    """This project's stream in this process."""

    def __init__(self, frames: Frames, runtime: str | None, threads: int | None) -> None:
        from dsrfau_edge import Predictor
        from dsrfau_edge.bench.worker import StageWatch

        self.stages = StageWatch()
        self._frames, self._count = frames, 0
        self._predictor = Predictor(max_faces=1, runtime=runtime, threads=threads, stage=self.stages.stage)
        self._stream = self._predictor.stream()
        self.name = str(self._predictor.selection).splitlines()[0]

    def block(self, first: int, last: int) -> tuple[list[float], int]:
        """Milliseconds of each frame, and the faces found."""
        times, faces = [], 0
        for index in range(first, last):
            frame = self._frames[index % len(self._frames)]
            self._count += 1
            start = time.perf_counter()
            result = self._stream(frame, self._count / 30)
            times.append(1e3 * (time.perf_counter() - start))
            faces += len(result.faces)
            self.stages.frame()
        return times, faces

    def close(self) -> None:
        """Free the model."""
        self._predictor.close()


class Theirs:
    """MediaPipe in a process of its own."""

    def __init__(self, python: str, frames: Path, landmarker: Path) -> None:
        self._process = subprocess.Popen(
            [python, str(_PEER), str(frames), str(landmarker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.name = f"MediaPipe {self._line()['mediapipe']} Face Landmarker with blendshapes, VIDEO mode"

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"MediaPipe's process ended with {self._process.wait()}; run it by hand to see why")
        found: dict[str, Any] = json.loads(line)
        return found

    def block(self, first: int, last: int) -> tuple[list[float], int]:
        """Milliseconds of each frame, and the faces found."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{first} {last}\n")
        self._process.stdin.flush()
        told = self._line()
        return told["ms"], told["faces"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def summary(times: Sequence[float]) -> dict[str, float]:
    """Median, p90 and p99 in milliseconds."""
    return {f"p{q}": round(float(np.percentile(times, q)), 2) for q in (50, 90, 99)}


def speed(options: argparse.Namespace) -> Mapping[str, Any]:
    """Take turns, and compare."""
    frames = read_frames(options.video)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = Path(folder) / "frames.npy"
        np.save(file, frames[..., ::-1])
        theirs = Theirs(options.mediapipe_python, file, options.landmarker)
        stack.callback(theirs.close)
        ours = Ours(frames, options.runtime, options.threads)
        stack.callback(ours.close)
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        faces = {"ours": 0, "theirs": 0}
        for what in (ours, theirs):
            what.block(0, 60)  # to warm up
        ours.stages.clear()
        for turn in range(options.turns):
            first = turn * options.block
            for who, what in (("ours", ours), ("theirs", theirs)):
                found, seen = what.block(first, first + options.block)
                times[who] += found
                faces[who] += seen
        told = {
            "frames": len(times["ours"]),
            "ours": {"name": ours.name, **summary(times["ours"]), "faces": faces["ours"]},
            "theirs": {"name": theirs.name, **summary(times["theirs"]), "faces": faces["theirs"]},
            "stages": ours.stages.report({"calls": len(times["ours"]), "mean": statistics.mean(times["ours"])}),
        }
    told["ratio"] = {q: round(told["theirs"][q] / told["ours"][q], 2) for q in ("p50", "p90", "p99")}
    return told


def soak(options: argparse.Namespace) -> Mapping[str, Any]:
    """Play the video over and over; memory and descriptors once a second, results at the first and the last loop."""
    import psutil

    from dsrfau_edge import Predictor

    frames = read_frames(options.video, options.frames)
    process = psutil.Process()
    loops: list[list[dict[str, float]]] = []
    memory, descriptors, threads = [], [], []
    with Predictor(runtime=options.runtime, threads=options.threads) as predictor:
        stream = predictor.stream()
        begun, count, next_look = time.monotonic(), 0, 0.0
        while time.monotonic() - begun < 60 * options.minutes or len(loops) < 2:
            stream.reset()  # each loop is a recording of its own, so that its results can be compared
            seen = []
            for number, frame in enumerate(frames):
                result = stream(frame, number / 30)
                seen.append({au: value for face in result.faces[:1] for au, value in face.aus.items()})
                count += 1
                if time.monotonic() - begun >= next_look:
                    next_look += 1.0
                    memory.append(process.memory_info().rss / 1e6)
                    descriptors.append(process.num_fds())
                    threads.append(process.num_threads())
            loops = [loops[0], seen] if loops else [seen]
        took = time.monotonic() - begun
    warm = memory[min(30, len(memory) // 4) :]
    return {
        "minutes": round(took / 60, 2),
        "frames": count,
        "fps": round(count / took, 1),
        "rss_mb": {"after warm-up": round(warm[0], 1), "least": round(min(warm), 1), "most": round(max(warm), 1)},
        "rss_end_mb": round(warm[-1], 1),
        "descriptors": [min(descriptors), max(descriptors)],
        "threads": [min(threads), max(threads)],
        "first loop equals last": loops[0] == loops[1],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = parser.add_subparsers(dest="job", required=True)
    for name in ("speed", "soak"):
        job = jobs.add_parser(name)
        job.add_argument("video", type=Path)
        job.add_argument("--runtime")
        job.add_argument("--threads", type=int)
        job.add_argument("-o", "--output", type=Path)
    jobs.choices["speed"].add_argument(
        "--landmarker", type=Path, required=True, help="MediaPipe's face_landmarker.task"
    )
    jobs.choices["speed"].add_argument("--mediapipe-python", default=sys.executable)
    jobs.choices["speed"].add_argument("--turns", type=int, default=10)
    jobs.choices["speed"].add_argument("--block", type=int, default=300, help="frames of one turn")
    jobs.choices["soak"].add_argument("--minutes", type=float, default=10.0)
    jobs.choices["soak"].add_argument("--frames", type=int, help="take only the first so many")
    options = parser.parse_args(arguments)
    told = {"cores": len(os.sched_getaffinity(0)), **{"speed": speed, "soak": soak}[options.job](options)}
    text = json.dumps(told, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
