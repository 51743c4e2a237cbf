"""Every kind of bad input ends in its exit code and a message of what, why and how to fix it; none in a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from calling import call

from dsrfau_edge import Predictor
from dsrfau_edge.errors import InputError
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS

PORTRAIT = ASSETS.parent / "portrait.jpg"


@dataclass
class Scene:
    """A folder to make bad things in, and a good bundle to spoil a copy of."""

    path: Path
    bundle: Path

    def file(self, name: str, content: bytes) -> Path:
        (self.path / name).write_bytes(content)
        return self.path / name

    def picture(self, image: np.ndarray, name: str = "picture.png") -> Path:
        return self.file(name, cv2.imencode(Path(name).suffix, image)[1].tobytes())

    def spoiled(self, change: Callable[[Path], object]) -> list[object]:
        copy = self.path / "copy.dsrfau"
        shutil.copytree(self.bundle, copy)
        change(copy)
        return [PORTRAIT, "--bundle", copy]

    def no_frames(self) -> Path:
        path = self.path / "none.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 64))
        writer.release()
        return path if path.exists() else self.file("none.avi", b"RIFF\0\0\0\0AVI ")

    def edited(self, **changes: object) -> list[object]:
        """A manifest with other fields, without the checksum having been told."""

        def edit(copy: Path) -> None:
            manifest = json.loads((copy / "manifest.json").read_text())
            (copy / "manifest.json").write_text(json.dumps({**manifest, **changes}))

        return self.spoiled(edit)


def flip(path: Path) -> None:
    """Turn one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


JPEG = PORTRAIT.read_bytes()
WEBP = b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0"

#: name: (exit code, words of the message, arguments). Pictures that are merely unusual end in 0.
CASES: dict[str, tuple[int, tuple[str, ...], Callable[[Scene], list[object] | Path]]] = {
    "missing file": (5, ("no file or folder", "Check the path"), lambda s: s.path / "missing.jpg"),
    "empty file": (5, ("is empty", "Copy it again"), lambda s: s.file("empty.jpg", b"")),
    "text file named .jpg": (5, ("not a picture", "Give a JPEG"), lambda s: s.file("text.jpg", b"dear diary")),
    "truncated JPEG": (5, ("cut short", "Copy it again"), lambda s: s.file("cut.jpg", JPEG[:20_000])),
    "truncated PNG": (
        5, ("cut short", "Copy it again"),
        lambda s: s.file("cut.png", cv2.imencode(".png", np.zeros((60, 60, 3), np.uint8))[1].tobytes()[:-20]),
    ),
    "WebP of 16 bytes": (5, ("not a picture", "Give a JPEG"), lambda s: s.file("cut.webp", WEBP[:16])),
    "WebP of 20 bytes": (5, ("not a picture", "Give a JPEG"), lambda s: s.file("cut.webp", WEBP[:20])),
    "unknown ending": (5, ("neither", "MP4"), lambda s: s.file("notes.docx", b"PK")),
    "empty folder": (5, ("holds no pictures", "Give a folder"), lambda s: s.path),
    "1x1": (0, (), lambda s: s.picture(np.zeros((1, 1, 3), np.uint8))),
    "1 pixel high": (0, (), lambda s: s.picture(np.zeros((1, 3000, 3), np.uint8))),
    "10k x 10k": (0, (), lambda s: s.picture(np.zeros((10_000, 10_000), np.uint8))),
    "grey": (0, (), lambda s: s.picture(read_image(PORTRAIT)[:, :, 1])),
    "16 bit": (0, (), lambda s: s.picture(read_image(PORTRAIT).astype(np.uint16) * 257)),
    "RGBA": (0, (), lambda s: s.picture(np.dstack([read_image(PORTRAIT), np.full((512, 512), 200, np.uint8)]))),
    "NaN in a float TIFF": (
        5, ("NaN", "Replace them"), lambda s: s.picture(np.full((40, 40, 3), np.nan, np.float32), "nan.tiff"),
    ),
    "video with no frames": (5, ("none.avi", "Convert it"), lambda s: s.no_frames()),
    "text named .mp4": (5, ("cannot be opened", "Convert it"), lambda s: s.file("text.mp4", b"dear diary")),
    "no such camera": (5, ("camera 977", "numbered from 0"), lambda s: ["977"]),
    "camera number beyond C's": (5, ("camera 99999999999", "numbered from 0"), lambda s: ["99999999999"]),
    "missing bundle": (
        5, ("no bundle", "dsrfau-export"), lambda s: [PORTRAIT, "--bundle", s.path / "nowhere.dsrfau"],
    ),
    "bundle that is a file": (5, ("is a file", "dsrfau-export"), lambda s: [PORTRAIT, "--bundle", PORTRAIT]),
    "bundle without manifest": (
        5, ("manifest.json", "export it again"), lambda s: s.spoiled(lambda copy: (copy / "manifest.json").unlink()),
    ),
    "manifest that is no JSON": (
        5, ("not JSON",), lambda s: s.spoiled(lambda copy: (copy / "manifest.json").write_text("{")),
    ),
    "manifest with an unknown schema": (5, ("schema",), lambda s: s.edited(schema=99)),
    "manifest edited by hand": (5, ("checksum",), lambda s: s.edited(sites=["AU12_left"])),
    "model with one flipped bit": (
        5, ("corrupt", "model.onnx", "again"), lambda s: s.spoiled(lambda copy: flip(copy / "model.onnx")),
    ),
    "model cut in half": (5, ("corrupt", "bytes"), lambda s: s.spoiled(lambda copy: halve(copy / "model.onnx"))),
    "model missing": (5, ("lacks", "model.onnx"), lambda s: s.spoiled(lambda copy: (copy / "model.onnx").unlink())),
    "unknown AU": (2, ("AU99", "AU12"), lambda s: [PORTRAIT, "--aus", "AU12,AU99"]),
    "AU of another network": (2, ("AU06", "AU12"), lambda s: [PORTRAIT, "--aus", "AU06"]),
    "unknown runtime": (2, ("abacus", "onnxruntime"), lambda s: [PORTRAIT, "--runtime", "abacus"]),
    "unknown device": (
        3, ("abacus", "cpu"), lambda s: [PORTRAIT, "--runtime", "onnxruntime", "--device", "abacus"],
    ),
    "unknown format": (2, ("xml", "jsonl"), lambda s: [PORTRAIT, "--format", "xml"]),
    "output in a folder that is not there": (
        1, ("No such file", "Check the path"), lambda s: [PORTRAIT, "-o", s.path / "not" / "there.csv"],
    ),
    "output that is a folder": (1, ("directory", "Check the path"), lambda s: [PORTRAIT, "-o", s.path]),
    "drawing to an unwritable place": (
        1, ("Check the path",), lambda s: [PORTRAIT, "--draw", s.file("file", b"x") / "below" / "drawn.png"],
    ),
    "no source": (2, ("SOURCE",), lambda s: []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name, tmp_path, tiny_bundle):
    code, words, make = CASES[name]
    made = make(Scene(tmp_path, tiny_bundle))
    arguments = made if isinstance(made, list) else [made]
    bundle = [] if "--bundle" in arguments else ["--bundle", tiny_bundle]
    called = call("predict", *arguments, *bundle, "--json" if "--format" not in arguments else "-q")
    assert called.code == code, called.err
    assert "Traceback" not in called.out + called.err
    for word in words:
        assert word in called.err
    if code == 0:
        assert json.loads(called.out)["width"] >= 1
        assert called.err == ""
    else:
        assert len(called.err.strip()) > 40
        assert called.out == ""


def test_there_are_at_least_twenty_kinds():
    assert len([name for name, case in CASES.items() if case[0]]) >= 20


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((0, 0, 3), np.uint8),
        np.full((20, 20, 3), np.nan),
        np.zeros((4, 4, 4, 4), np.uint8),
        "portrait.jpg",
        None,
    ],
    ids=["0x0", "NaN", "four axes", "a path", "None"],
)
def test_bad_frames_in_the_library(tiny_bundle, frame):
    with Predictor(tiny_bundle, runtime="onnxruntime") as predictor, pytest.raises(InputError) as error:
        predictor(frame)
    assert len(str(error.value)) > 40
