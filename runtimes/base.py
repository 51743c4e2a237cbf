"""The seam between what finds faces and what computes: arrays in, arrays out, one small protocol per side.

A runtime knows nothing of faces or manifests. It gets the files of one model, says whether it can run here and why not,
and gives a session that turns crops into site intensities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..errors import InputError, RuntimeUnavailable, UsageError

Crops = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Format = Literal["onnx", "openvino", "tensorrt", "checkpoint"]
#: Told while something long is made, such as an engine: what, and which part of it is done (0..1).
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a runtime can be used here; where it cannot, `reason` says why and `fix` what to type."""

    ok: bool
    reason: str = ""
    fix: str = ""
    version: str = ""

    def require(self) -> None:
        """Raise `RuntimeUnavailable` with reason and fix unless the runtime can be used."""
        if not self.ok:
            raise RuntimeUnavailable(f"{self.reason} {self.fix}")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One model as a runtime needs to know it.

    Attributes:
        path: the model in its own format, `.onnx`, `.xml` (with `.bin` beside it) or `.engine`.
        format: the target it was made for. A `tensorrt` model may still be an `.onnx` that the device compiles.
        portable: the fp32 ONNX graph from which any device can rebuild.
        graph: the ONNX graph that an `.engine` was built from, which holds its precision; None where there is none.
        checkpoint: folder of the checkpoint that the files are part of, or None.
        input_size: side of the square crop in pixels.
        sites: number of intensities per crop.
        heatmap_size: side of a heatmap in cells.
        batch: crops per call the model was fixed to, or None for any number.
        precision: `fp32`, `fp16` or `int8`.
        digest: sha256 of the file at `path`, naming it in caches.
        name: for messages.
        build: what the model was built with and for, as the manifest has it.
    """

    path: Path
    format: Format
    portable: Path
    input_size: int
    sites: int
    heatmap_size: int
    batch: int | None = None
    precision: str = "fp32"
    digest: str = ""
    name: str = "model"
    build: Mapping[str, Any] = field(default_factory=dict)
    graph: Path | None = None
    checkpoint: Path | None = None

    def as_portable(self) -> ModelFiles:
        """The same network as its portable fp32 graph."""
        return replace(
            self, path=self.portable, format="onnx", batch=None, precision="fp32", digest="", build={}, graph=None
        )


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Site intensities `[N, S]` in 0..5, and heatmaps `[N, S, h, w]` where they were asked for."""

    intensities: Floats
    heatmaps: Floats | None = None


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session is to be made.

    Attributes:
        threads: CPU threads of one inference; None leaves it to the runtime.
        heatmaps: also return heatmaps (they are not even copied otherwise).
        native_precision: let the device compute in its own favourite precision (bf16, tf32) rather than in the
            precision that the model states.
        cache: folder for what is compiled on this device; None is the user's cache folder.
        progress: told while an engine is built; called from the thread that loads.
    """

    threads: int | None = None
    heatmaps: bool = False
    native_precision: bool = False
    cache: Path | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        """Check the range of `threads`.

        Raises:
            UsageError: it is not a positive number.
        """
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads cannot compute anything: give 1 or more, or leave it out.")


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a session really runs on and computes in, as far as its runtime tells.

    Attributes:
        runtime: name of the runtime.
        version: of its package.
        device: as the runtime names it, such as `CPUExecutionProvider` or `NVIDIA Orin (cuda:0)`.
        precision: of most weighted sums: `fp32`, `tf32`, `bf16`, `fp16` or `int8`; "" where the runtime does not tell.
        layers: weighted sums (convolutions, matrix products) by the precision they are computed in.
        threads: CPU threads of one call, None for the runtime's own choice.
        notes: what else matters, as sentences: a fallback that was asked for, a cache that was used.
    """

    runtime: str
    version: str
    device: str
    precision: str = ""
    layers: Mapping[str, int] = field(default_factory=dict)
    threads: int | None = None
    notes: tuple[str, ...] = ()


@runtime_checkable
class Session(Protocol):
    """A loaded model. Safe to call from several threads."""

    @property
    def info(self) -> SessionInfo:
        """What it runs on. May take a moment when it is first asked; never raises on an open session."""

    def infer(self, crops: Crops) -> Outputs:
        """Intensities of crops `uint8 [N, size, size, 3]`, BGR, for any N of at least 1."""

    def close(self) -> None:
        """Free what the session holds; it cannot be used afterwards. Calling it again does nothing."""


@runtime_checkable
class Runtime(Protocol):
    """A way to run models on this device.

    Attributes:
        name: what the user types after `--runtime`.
        formats: formats of models it reads as they are. Every runtime also takes the portable ONNX graph, unless it has
            an attribute `portable` that is False: such a one runs nothing but checkpoints' own networks.
    """

    name: str
    formats: tuple[Format, ...]

    def availability(self, device: str | None = None) -> Availability:
        """Whether it can be used here, on `device` where one is named. Never raises."""

    def load(self, model: ModelFiles, device: str | None = None, options: SessionOptions | None = None) -> Session:
        """Load a model.

        Raises:
            RuntimeUnavailable: the runtime or the device cannot be used here.
            EngineMismatch: the model was compiled for something else than this device.
            BundleError: the runtime cannot read the file.
        """


def check_crops(crops: Any, size: int) -> Crops:
    """Crops as a contiguous `uint8 [N, size, size, 3]` array.

    Raises:
        UsageError: another type than uint8, or not four axes.
        InputError: no crops, or crops of another size than the model's.
    """
    array = np.asarray(crops)
    if array.dtype != np.uint8 or array.ndim != 4:
        raise UsageError(
            f"A session takes crops as a uint8 array [N, {size}, {size}, 3] in BGR, not {array.dtype} "
            f"{list(array.shape)}. Convert them first: values 0 to 255, colour last, a batch axis in front."
        )
    if not len(array) or array.shape[1:] != (size, size, 3):
        raise InputError(
            f"The model takes one or more crops of [{size}, {size}, 3], got {list(array.shape)}. "
            f"Align faces with the template of the bundle, or resize the crops to {size}x{size} pixels."
        )
    return np.ascontiguousarray(array)


def in_batches(crops: Crops, batch: int | None, run: Callable[[Crops], Outputs], *, pad: bool = True) -> Outputs:
    """Run any number of crops through a model that takes `batch` crops a call.

    Args:
        crops: `[N, size, size, 3]`.
        batch: crops per call; None for any number.
        run: runs one call.
        pad: a call takes exactly `batch` crops, so that the last one is filled up with copies; else at most.
    """
    count = len(crops)
    if batch is None or count == batch or (count < batch and not pad):
        return run(crops)
    parts = []
    for start in range(0, count, batch):
        part = crops[start : start + batch]
        if pad and len(part) < batch:
            part = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        parts.append(run(part))
    maps = [part.heatmaps for part in parts if part.heatmaps is not None]
    return Outputs(
        np.concatenate([part.intensities for part in parts])[:count],
        np.concatenate(maps)[:count] if maps else None,
    )


def first_line(error: Exception) -> str:
    """The first line that an error says anything in, for our own messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def device_family(device: str) -> str:
    """`cuda:1` → `cuda`."""
    return device.split(":", 1)[0].strip().lower()
