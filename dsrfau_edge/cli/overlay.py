"""`dsrfau-predict --draw`: annotated pictures and videos on disk."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dsrfau_edge.drawing import annotate
from dsrfau_edge.errors import DsrfauError, InputError, UsageError
from dsrfau_edge.face.images import Image
from dsrfau_edge.outputs.video import VideoFile
from dsrfau_edge.results import FrameResult
from dsrfau_edge.stream import VIDEO_SUFFIXES, FolderSource, Source, opencv_name

from .common import replaced

_MOVING = ("video", "live")
_DEFAULT_RATE = 25.0


class Overlay:
    """Writes what `annotate` draws: one file for one picture or video, a folder for several or for a folder."""

    def __init__(self, out: Path, sources: Sequence[Source], aus: Sequence[str], every: int) -> None:
        """Decide what to write.

        Raises:
            UsageError: the name does not suit the sources, or it is one of them.
        """
        self._out, self._aus, self._every = out, aus, every
        self._folder = _is_folder(out, sources)
        self._made = False
        self._names: set[str] = set()
        self._video: VideoFile | None = None
        self._source: Source | None = None
        self._real: dict[str, str] = {}
        self.written: list[Path] = []

    def open(self) -> None:
        """Find out now whether the place can be written to, not after the first frame."""
        if self._folder:
            self._made = not self._out.exists()
            self._out.mkdir(parents=True, exist_ok=True)
        place = self._out if self._folder else self._out.parent
        next(place.iterdir(), None)  # raises what is wrong with it
        if not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))

    def close(self) -> None:
        """Finish the video; a folder that stayed empty goes."""
        self._end_video()
        if self._made and not self.written:
            with contextlib.suppress(OSError):
                self._out.rmdir()

    def begin(self, source: Source) -> None:
        """The results that follow are of this source."""
        self._source = source
        self._end_video()
        # Results carry names that can be written; the file's own may hold bytes that cannot.
        listed: list[Path] = []
        with contextlib.suppress(InputError):  # a folder without pictures is the reader's to tell
            listed = source.pictures() if isinstance(source, FolderSource) else []
        self._real = {shown: name for name in map(str, listed) if (shown := printable(name)) != name}

    def write(self, result: FrameResult) -> None:
        """Draw and write one frame; on black where the result has no picture."""
        source = self._source
        if source is None:
            raise UsageError("begin() comes before write().")
        image = result.image
        if image is None:
            image = np.zeros((result.size[1], result.size[0], 3), np.uint8)
        picture = annotate(image, result.faces, aus=self._aus)
        if source.kind not in _MOVING:
            name = source.name if source.kind == "image" else self._real.get(result.source, result.source)
            write_picture(self._path(name, ".jpg"), picture)
            return
        if self._video is None:
            rate = (source.rate or _DEFAULT_RATE) / self._every
            self._video = VideoFile(self._path(source.name, ".mp4"), picture, rate)
        self._video.add(picture)

    def _end_video(self) -> None:
        video, self._video = self._video, None
        if video is not None:
            video.close()

    def _path(self, source: str, default: str) -> Path:
        path = self._out / self._name(source, default) if self._folder else self._out
        if path.exists() and Path(source).exists() and path.samefile(source):
            raise UsageError(f"--draw would overwrite {source} itself. Give another name or folder.")
        self.written.append(path)
        return path

    def _name(self, source: str, default: str) -> str:
        """File name for a source; two of the same name from different folders must not replace each other."""
        path = Path(source.rsplit("/", 1)[-1] if "://" in source else source)
        stem = path.stem or "stream"
        suffix = path.suffix if default == ".jpg" and _writable(path.suffix) else default
        name, number = f"{stem}{suffix}", 1
        while name in self._names:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._names.add(name)
        return name


def printable(name: str) -> str:
    """A source's name as its results show it."""
    return FrameResult(name, 0, None, (0, 0), ()).source


def _is_folder(out: Path, sources: Sequence[Source]) -> bool:
    suffix = out.suffix.lower()
    single = len(sources) == 1 and sources[0].kind != "folder"
    if out.is_dir() or not suffix or not single:
        if not out.is_dir() and (_writable(suffix) or suffix in VIDEO_SUFFIXES):
            raise UsageError(f"--draw {out} names one file, but there are several pictures. Give the name of a folder.")
        return True
    moving = sources[0].kind in _MOVING
    if moving and suffix not in VIDEO_SUFFIXES:
        raise UsageError(
            f"--draw {out} is no video's name, but {sources[0].name} is a video. Give NAME.mp4 or a folder."
        )
    if not moving and not _writable(suffix):
        raise UsageError(f"--draw {out}: OpenCV writes no {suffix} pictures. Give NAME.jpg, NAME.png or a folder.")
    return False


def _writable(suffix: str) -> bool:
    return bool(suffix) and cv2.haveImageWriter(opencv_name(f"picture{suffix.lower()}"))


def write_picture(path: Path, picture: Image) -> None:
    """Encode by the suffix and write; the file appears under its name when it is complete."""
    done, content = cv2.imencode(path.suffix.lower(), picture)
    if not done:
        raise DsrfauError(f"{path} cannot be encoded as {path.suffix}. Give --draw a name ending in .jpg or .png.")
    with replaced(path) as part:
        part.write_bytes(content.tobytes())
