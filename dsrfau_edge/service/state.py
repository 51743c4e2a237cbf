"""The service's state file: the neutral baselines of the faces that each camera saw last."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from dsrfau_edge.errors import DataError, UsageError
from dsrfau_edge.shards import store

from .memory import Remembered

_log = logging.getLogger(__name__)

SCHEMA = 1
NAME = "baselines.json"
_KIND = "dsrfau-serve state"
_LARGEST = 4 << 20


class StateFile:
    """One file in a folder of the service's own. A file that cannot be read or written never stops the service."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, if it is not there.

        Raises:
            UsageError: it cannot be made, or is a file.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"The state folder {folder} cannot be made: {error.strerror or error}. Give another with --state."
            ) from error
        self.path = folder / NAME
        self._stored: bytes | None = None
        self._told = False

    def read(self) -> dict[str, tuple[Remembered, ...]]:
        """Remembered faces by camera; none where the file is missing, damaged or of another version."""
        try:
            if not self.path.exists():
                return {}
            with self.path.open("rb") as stream:
                raw = stream.read(_LARGEST + 1)
            return _parsed(raw)
        except (OSError, ValueError, RecursionError, DataError) as error:
            _log.warning("%s is not used, and neutral baselines are learned anew: %s", self.path, error)
            return {}

    def write(self, cameras: Mapping[str, tuple[Remembered, ...]]) -> None:
        """Store them, whole or not at all, unless nothing has changed."""
        content = {name: [face.to_dict() for face in faces] for name, faces in cameras.items()}
        raw = (json.dumps({"schema": SCHEMA, "kind": _KIND, "cameras": content}, indent=1) + "\n").encode()
        if raw == self._stored:
            return
        try:
            store(self.path, raw)
        except DataError as error:
            _log.log(logging.DEBUG if self._told else logging.WARNING, "%s", error)
            self._told = True
            return
        self._stored, self._told = raw, False


def _parsed(content: bytes) -> dict[str, tuple[Remembered, ...]]:
    if len(content) > _LARGEST:
        raise DataError(f"it is larger than {_LARGEST >> 20} MB")
    raw = json.loads(content)
    if not isinstance(raw, dict) or raw.get("kind") != _KIND:
        raise DataError("it is not a state file of dsrfau-serve")
    if raw.get("schema") != SCHEMA:
        raise DataError(f"its schema is {raw.get('schema')!r}, and this version reads {SCHEMA}")
    cameras = raw.get("cameras")
    if not isinstance(cameras, dict) or not all(isinstance(faces, list) for faces in cameras.values()):
        raise DataError("it holds no list of faces for each camera")
    return {name: tuple(Remembered.from_dict(face) for face in faces) for name, faces in cameras.items()}
