"""What of an archive is done: beside the results, a hidden folder says how and from what each was made."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.shards import store

STATE = ".dsrfau-predict"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Item:
    """One video of an archive.

    Attributes:
        video: its path as the user gave it.
        name: within the archive, with slashes.
        result: where its results go.
        plot: where its plot goes, if one is wanted.
    """

    video: Path
    name: str
    result: Path
    plot: Path | None


class State:
    """What is done in one folder of results."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Look at a folder; `settings` are what results depend on, as JSON takes them."""
        self.settings = dict(settings)
        self.scratch = folder / STATE / "scratch"
        self._folder = folder / STATE

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out, which would remove what this one is writing.

        Raises:
            DsrfauError: there is one.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            try:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:  # Windows
                pass
            except OSError as error:
                raise DsrfauError(
                    f"Another dsrfau-predict is writing to {self._folder.parent}. Wait for it, or give another folder."
                ) from error
            yield

    def differing(self, item: Item) -> dict[str, tuple[Any, Any]]:
        """Which settings an item's results were made with, and which are asked for, where these differ."""
        made = self._read(item).get("settings")
        if made is None or not item.result.exists():
            return {}
        keys = sorted(made.keys() | self.settings.keys())
        return {key: (made.get(key), self.settings.get(key)) for key in keys if made.get(key) != self.settings.get(key)}

    def done(self, item: Item) -> bool:
        """Whether the results are there, whole, and of the video as it is now and these settings."""
        made = self._read(item)
        with contextlib.suppress(OSError):
            whole = item.result.stat().st_size == made.get("result_bytes")
            same = made.get("settings") == self.settings and made.get("video") == _identity(item.video)
            return whole and same and (item.plot is None or item.plot.exists())
        return False

    def finish(self, item: Item, frames: int) -> None:
        """Note that the results are in their place.

        Raises:
            DsrfauError: that cannot be written.
            OSError: the video is gone.
        """
        path = self._path(item)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "schema": SCHEMA,
            "settings": self.settings,
            "video": _identity(item.video),
            "frames": frames,
            "result_bytes": item.result.stat().st_size,
        }
        store(path, (json.dumps(content, indent=1) + "\n").encode())

    def _path(self, item: Item) -> Path:
        return self._folder / "done" / f"{item.name}.json"

    def _read(self, item: Item) -> dict[str, Any]:
        try:
            read = json.loads(self._path(item).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return read if isinstance(read, dict) and read.get("schema") == SCHEMA else {}


def _identity(video: Path) -> dict[str, int]:
    found = video.stat()
    return {"bytes": found.st_size, "modified_ns": found.st_mtime_ns}
