"""What a rendered set is made of, and everything that decides its bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import cv2

import dsrfau_edge
from dsrfau_edge.errors import DataError, UsageError

from .graphics import make_context
from .rigs import RigSpec

SHARD = 256
#: Modules beside the renderer that no byte of a set depends on.
_WITHOUT_EFFECT = {"agreement.py", "engines.py", "gallery.py", "landmarking.py", "production.py", "statistics.py"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a set is made of; equal plans give equal bytes."""

    count: int
    seed: int
    input_size: int = 128
    per_identity: int = 6
    assets: str | None = None
    rigs: tuple[str, ...] = ("makehuman",)
    wide_poses: bool = False
    shard: int = SHARD  # faces in each

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.count // self.shard)

    @property
    def specs(self) -> tuple[RigSpec, ...]:
        """The rigs."""
        return tuple(RigSpec.parse(text) for text in self.rigs)

    def faces(self, number: int) -> range:
        """The faces of a shard."""
        return range(number * self.shard, min((number + 1) * self.shard, self.count))

    def absolute(self) -> Plan:
        """The same with whole paths, which mean the same in every process.

        Raises:
            UsageError: a rig is unknown, or is given with two sources.
        """
        specs = self.specs
        if len({spec.name for spec in specs}) < len(set(specs)):
            raise UsageError("One rig is given with two sources. Give each --rig one source.")
        rigs = tuple(spec.name if spec.source is None else f"{spec.name}={spec.source}" for spec in specs)
        return replace(self, rigs=rigs, assets=str(Path(self.assets).resolve()) if self.assets else None)


def fingerprint(plan: Plan) -> dict[str, object]:
    """What decides a set's bytes, the same wherever its files lie.

    Options; assets by name and size; rig files by name, size and content; the code and tables of this version.

    Raises:
        DataError: the assets or a rig's file are not there.
    """
    assets = _listing(Path(plan.assets)) if plan.assets else None
    rigs = [[spec.name, _source(Path(spec.source)) if spec.source else None] for spec in plan.specs]
    return {**asdict(plan), "assets": assets, "rigs": rigs, "version": _version()}


@lru_cache(maxsize=1)
def made_with() -> dict[str, str]:
    """What bytes depend on beside the plan: versions of packages and of the graphics driver.

    To be asked before there is a renderer: a new context takes the thread from an older one.

    Raises:
        RuntimeUnavailable: there is no OpenGL here.
    """
    context = make_context()
    driver = f"{context.info['GL_RENDERER']}, {context.info['GL_VERSION']}"
    context.release()
    versions = {name: metadata.version(name) for name in ("numpy", "moderngl")}
    return {**versions, "opencv": cv2.__version__, "gl": driver}


def _version() -> str:
    package, here = Path(dsrfau_edge.__file__).parent, Path(__file__).parent
    code: Iterable[Path] = (
        path
        for path in [*here.rglob("*.py"), *here.rglob("*.json"), *here.glob("shaders/*")]
        if path.name not in _WITHOUT_EFFECT
    )
    beside = [package / "action_units.py", *(package / "face").glob("*.py"), package / "shards.py"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in [*sorted(code), *sorted(beside)])).hexdigest()


def _source(path: Path) -> str:
    if path.is_dir():
        return _listing(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}. Give the rig's file: --rig NAME=FILE.") from error
    return f"{path.name} {len(content)} {hashlib.sha256(content).hexdigest()}"


def _listing(folder: Path) -> str:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder on this machine. Give one that is there, under this path on every one.")
    found = sorted((path.relative_to(folder).as_posix(), path.stat().st_size) for path in folder.rglob("*.*"))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
