"""MediaPipe's Face Landmarker with blendshapes in VIDEO mode, timed frame by frame on request of `live.py`.

Runs in an environment of its own, which needs only `mediapipe` (with numpy): MediaPipe installs an OpenCV of its own
over this project's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    """Load, then for every line `START END` on stdin print the milliseconds of those frames as a JSON list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", type=Path, help="uint8 [N, H, W, 3] in RGB, as .npy")
    parser.add_argument("landmarker", type=Path, help="MediaPipe's face_landmarker.task")
    options = parser.parse_args()
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    settings = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(options.landmarker)),
        running_mode=vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
        num_faces=1,
    )
    frames = np.load(options.frames, mmap_mode="r")
    pictures = [mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(frame)) for frame in frames]
    with vision.FaceLandmarker.create_from_options(settings) as landmarker:
        print(json.dumps({"mediapipe": mp.__version__}), flush=True)
        stamp = 0
        for line in sys.stdin:
            first, last = map(int, line.split())
            times, faces = [], 0
            for index in range(first, last):
                stamp += 33
                start = time.perf_counter()
                result = landmarker.detect_for_video(pictures[index % len(pictures)], stamp)
                times.append(1e3 * (time.perf_counter() - start))
                faces += len(result.face_blendshapes)
            print(json.dumps({"ms": times, "faces": faces}), flush=True)


if __name__ == "__main__":
    main()
