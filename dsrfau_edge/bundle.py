"""The bundle: a folder `NAME.dsrfau` with a model in its target's own format, and a manifest that explains it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .checkpoint import DESCRIPTION, GRAPH, Checkpoint, read_checkpoint, sha256_of
from .errors import BundleError, DataError, UsageError
from .manifest import CALIBRATION, MANIFEST, FileRecord, Manifest
from .runtimes.base import ModelFiles

SUFFIX = ".dsrfau"
_ATTEMPTS = 100
_LOOKS = 3
#: What renaming onto a folder that is there gives: POSIX the first two, Windows the third.
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES)
_AGAIN = "Copy it again from where it came, or export it again with dsrfau-export."


_ASSETS = Path(__file__).resolve().parent / "assets"


def default_bundle() -> Path:
    """The student that is used where none is named: `dsrfau-s`."""
    return _ASSETS / f"dsrfau-s{SUFFIX}"


def bundled_names() -> tuple[str, ...]:
    """Names of the students that come with the package."""
    return tuple(sorted(path.stem for path in _ASSETS.glob(f"*{SUFFIX}")))


def find_bundle(path: str | Path) -> Path:
    """The folder of a bundle, or of one that comes with the package, such as `dsrfau-nano`."""
    return _ASSETS / f"{path}{SUFFIX}" if str(path) in bundled_names() and not Path(path).exists() else Path(path)


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its folder and its manifest, which agree with each other.

    A checkpoint folder of the training opens as one too: its portable graph, with a manifest made of its description.

    Attributes:
        path: the folder.
        manifest: what it says of itself.
        checkpoint: whether it is a checkpoint, whose own network `--runtime torch` runs.
    """

    path: Path
    manifest: Manifest
    checkpoint: bool = False

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = True) -> Bundle:
        """Open a bundle.

        Args:
            path: the folder, or the name of a student that comes with the package.
            verify: compare the checksum of every file with the manifest's.

        Raises:
            BundleError: it is missing, incomplete, corrupt, or of a schema that this version does not read.
            DataError: it is a checkpoint that is so.
        """
        folder = find_bundle(path)
        if (folder / DESCRIPTION).is_file() and not (folder / MANIFEST).exists():
            return cls(folder, _manifest_of(folder, read_checkpoint(folder, verify=verify)), checkpoint=True)
        try:
            raw = (folder / MANIFEST).read_bytes()
        except OSError as error:
            raise BundleError(_why_no_manifest(folder, error)) from error
        bundle = cls(folder, Manifest.from_json(raw, str(folder)))
        for name, record in bundle.manifest.files.items():
            _check_file(folder / name, record, verify=verify)
        return bundle

    @property
    def model_path(self) -> Path:
        """The model in its target's format."""
        return self.path / self.manifest.model

    @property
    def portable_path(self) -> Path:
        """The fp32 ONNX graph from which any device can rebuild."""
        return self.path / self.manifest.portable

    def model_files(self) -> ModelFiles:
        """What a runtime needs to know of this bundle."""
        manifest = self.manifest
        return ModelFiles(
            path=self.model_path,
            format=manifest.target,
            portable=self.portable_path,
            input_size=manifest.input_size,
            sites=len(manifest.sites),
            heatmap_size=manifest.heatmap_size,
            batch=None if manifest.batch == "dynamic" else int(manifest.batch),
            precision=manifest.precision,
            digest=manifest.files[manifest.model].sha256,
            name=self.path.name,
            build=manifest.build,
            graph=None if manifest.graph is None else self.path / manifest.graph,
            checkpoint=self.path if self.checkpoint else None,
        )

    def read_calibration(self) -> npt.NDArray[np.uint8]:
        """Calibration crops `[n, size, size, 3]` in BGR that the bundle carries along; n is 0 where it has none.

        Raises:
            BundleError: they cannot be read.
        """
        size = self.manifest.input_size
        if CALIBRATION not in self.manifest.files:
            return np.empty((0, size, size, 3), np.uint8)
        return read_crops(self.path / CALIBRATION, size)


def _manifest_of(folder: Path, checkpoint: Checkpoint) -> Manifest:
    """A checkpoint's description as a manifest of its portable graph.

    Raises:
        DataError: the description lacks something.
    """
    try:
        return _described(folder, checkpoint)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"The checkpoint {folder} cannot be used: {DESCRIPTION} lacks something, or has it of the wrong kind "
            f"({error!r}). Copy it again, or train again with dsrfau-train."
        ) from error


def _described(folder: Path, checkpoint: Checkpoint) -> Manifest:
    origin = {"checkpoint_sha256": sha256_of(folder / DESCRIPTION), "graph_sha256": checkpoint.files[GRAPH]}
    return Manifest(
        name=folder.resolve().name,
        created=datetime.fromtimestamp((folder / DESCRIPTION).stat().st_mtime, timezone.utc).isoformat(
            timespec="seconds"
        ),
        target="onnx",
        precision="fp32",
        aus=checkpoint.aus,
        sites=checkpoint.sites,
        input_size=checkpoint.input_size,
        batch="dynamic",
        template=checkpoint.template,
        heatmap={**checkpoint.heatmap, "size": int(checkpoint.heatmap["size"])},
        model=GRAPH,
        portable=GRAPH,
        source=origin,
        training={**checkpoint.training, "network": checkpoint.network},
        data=checkpoint.data,
        metrics=checkpoint.metrics,
        confidence=checkpoint.confidence,
        files={name: FileRecord(digest, (folder / name).stat().st_size) for name, digest in checkpoint.files.items()},
    )


def store_confidence(path: str | Path, confidence: Mapping[str, Any]) -> Path:
    """Store how often a model's readings are right in its manifest, or in a checkpoint's description.

    Args:
        path: the bundle or checkpoint folder, or the name of a student of the package.
        confidence: as `Reliability.to_dict` gives it.

    Returns:
        The file that was replaced; it is the old or the new one at any time.

    Raises:
        BundleError: it is no bundle, or cannot be written.
        DataError: it is no checkpoint.
    """
    bundle = Bundle.open(path)
    if bundle.checkpoint:
        target = bundle.path / DESCRIPTION
        described = replace(read_checkpoint(bundle.path, verify=False), confidence=dict(confidence))
        content = json.dumps(described.to_dict(), indent=1)
    else:
        target = bundle.path / MANIFEST
        content = replace(bundle.manifest, confidence=dict(confidence)).to_json()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        try:
            _store(part, content.encode())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(
            f"{target} cannot be written: {error.strerror or error}. Copy the folder to where you may write, or write "
            "to a file with -o."
        ) from error
    _sync_folder(bundle.path)
    return target


def read_crops(archive: Path, size: int) -> npt.NDArray[np.uint8]:
    """Crops `[n, size, size, 3]` in BGR from a zip of pictures, in the order of their names.

    Raises:
        BundleError: it is no such zip.
    """
    import cv2

    crops = []
    try:
        with zipfile.ZipFile(archive) as stored:
            for name in sorted(stored.namelist()):
                crop = cv2.imdecode(np.frombuffer(stored.read(name), np.uint8), cv2.IMREAD_COLOR)
                if crop is None or crop.shape != (size, size, 3):
                    raise BundleError(f"{archive}: {name} is not a picture of {size}x{size} pixels. {_AGAIN}")
                crops.append(crop)
    except (OSError, zipfile.BadZipFile, cv2.error) as error:
        raise BundleError(f"The calibration crops {archive} cannot be read ({error}). {_AGAIN}") from error
    return np.stack(crops).astype(np.uint8, copy=False) if crops else np.empty((0, size, size, 3), np.uint8)


def write_bundle(
    destination: str | Path, manifest: Manifest, files: Mapping[str, Path | bytes], *, overwrite: bool = False
) -> Bundle:
    """Write a bundle so that it is there as a whole or not at all.

    Everything goes into a hidden folder beside the destination, the manifest last, which is then renamed.

    Args:
        destination: the folder to make.
        manifest: what to say of it; its `files` is replaced by what is written.
        files: contents by name, as bytes or as files to copy. Must hold all that the manifest names.
        overwrite: replace a bundle that is already there.

    Raises:
        UsageError: something is there already, or a file that the manifest names is not given.
        BundleError: it cannot be written (no space, no permission).
    """
    target = Path(destination).absolute()
    _check_destination(target, overwrite=overwrite)
    for name in filter(None, (manifest.model, manifest.portable, manifest.graph)):
        if name not in files:
            raise UsageError(f"The manifest names {name}, which is not among the files to write.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise BundleError(_unwritable(target, error)) from error
    try:
        records = {name: _store(staging / name, content) for name, content in files.items()}
        complete = replace(manifest, files=records)
        _store(staging / MANIFEST, complete.to_json().encode())
        staging.chmod(0o755)  # mkdtemp makes folders that only their owner reads
        _sync_folder(staging)
        _move_into_place(staging, target, overwrite=overwrite)
        _sync_folder(target.parent)
    except OSError as error:
        raise BundleError(_unwritable(target, error)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Bundle(Path(destination), complete)


def _store(path: Path, content: Path | bytes) -> FileRecord:
    digest, size = hashlib.sha256(), 0
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source, path.open("xb") as sink:
        while block := source.read(1 << 20):
            sink.write(block)
            digest.update(block)
            size += len(block)
        sink.flush()
        os.fsync(sink.fileno())
    return FileRecord(digest.hexdigest(), size)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_destination(target: Path, *, overwrite: bool) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not overwrite:
        raise UsageError(f"{target} is already there. Choose another folder with -o, or replace it with --overwrite.")
    if target.is_symlink() or not _may_be_replaced(target):
        raise UsageError(f"{target} is not a bundle, so it is not replaced. Choose another folder with -o.")


def _may_be_replaced(target: Path) -> bool:
    """Whether it is a bundle, empty, or gone; looked at again in case another writer was just replacing it."""
    for _ in range(_LOOKS):
        try:
            names = os.listdir(target)  # noqa: PTH208 - one look at one folder, not one a name
        except FileNotFoundError:
            return True
        except NotADirectoryError:
            return False
        if MANIFEST in names or not names:
            return True
        time.sleep(0.01)
    return False


def _move_into_place(staging: Path, target: Path, *, overwrite: bool) -> None:
    """Rename; with several writers at once the last one wins, and at no time is a half-written bundle there."""
    for _ in range(_ATTEMPTS):
        try:
            staging.replace(target)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
        else:
            return
        with contextlib.suppress(FileNotFoundError):  # another writer moved it away in between
            _check_destination(target, overwrite=overwrite)
            _remove(target)
    raise OSError(f"other programs keep writing {target}")


def _remove(target: Path) -> None:
    """Move a bundle out of the way in one step before it is deleted file by file."""
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    try:
        target.replace(old / target.name)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _check_file(path: Path, record: FileRecord, *, verify: bool) -> None:
    try:
        size = path.stat().st_size
        digest = _sha256(path) if verify and size == record.bytes else record.sha256
    except OSError as error:
        raise BundleError(f"The bundle {path.parent} lacks {path.name} ({error.strerror}). {_AGAIN}") from error
    if size != record.bytes or digest != record.sha256:
        what = f"has {size} bytes instead of {record.bytes}" if size != record.bytes else "does not match its checksum"
        raise BundleError(f"The bundle {path.parent} is corrupt: {path.name} {what}. {_AGAIN}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _why_no_manifest(folder: Path, error: OSError) -> str:
    if not folder.exists():
        return (
            f"There is no bundle at {folder}. Give the folder NAME{SUFFIX} that dsrfau-export wrote, or "
            f"one of the students that come with the package: {', '.join(bundled_names())}."
        )
    if not folder.is_dir():
        return f"{folder} is a file; a bundle is a folder. Give the folder NAME{SUFFIX} that dsrfau-export wrote."
    return f"{folder} is not a complete bundle: {MANIFEST} cannot be read ({error.strerror}). {_AGAIN}"


def _unwritable(target: Path, error: OSError) -> str:
    return f"{target} cannot be written: {error.strerror or error}. Nothing was left. Choose another folder with -o."
