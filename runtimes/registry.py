"""Which runtimes there are, and which of them runs a given model on this device."""

from __future__ import annotations

import importlib
import logging
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points

from ..errors import RuntimeUnavailable, UsageError
from .base import ModelFiles, Runtime, Session, SessionOptions
from .foreign import load_foreign
from .measured import recall

_log = logging.getLogger(__name__)

ENTRY_POINTS = "dsrfau_edge.runtimes"
_FOR_DEVELOPMENT = "it is for development, and used only where it is named"
_MACHINE = platform.machine().lower()
#: Of two that read a model equally well, the one that was measured to be faster on such processors.
_FASTER = {"x86_64": "openvino", "amd64": "openvino"}
_OTHER = "Give the checkpoint's folder, or another --runtime."
#: Ours, in the order in which they are tried where several suit a model equally well.
_BUILT_IN = {
    "onnxruntime": ("onnxruntime", "OnnxRuntime"),
    "openvino": ("openvino", "OpenVinoRuntime"),
    "tensorrt": ("tensorrt", "TensorRtRuntime"),
}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A runtime that was not chosen, why, and what would change that."""

    name: str
    reason: str
    fix: str

    def __iter__(self) -> Iterator[str]:
        """Unpack as `name, reason, fix`."""
        return iter((self.name, self.reason, self.fix))


@dataclass(frozen=True, slots=True)
class Selection:
    """What was chosen, why, and why not the others. `str()` of it says so in lines.

    Attributes:
        runtime: the runtime to use.
        model: the files it is to load.
        reason: why it was chosen.
        refused: runtimes that would have come first, or that the user did not name.
        rest: runtimes that come after the chosen one. Asking them is left for whoever wants to know: it imports them.
        device: what was asked for.
        portable: the files are the fp32 portable graph and not the model of the bundle.
        native: it was measured with the device's own precision, which is therefore the default.
    """

    runtime: Runtime
    model: ModelFiles
    reason: str
    refused: tuple[Rejected, ...] = ()
    rest: tuple[Runtime, ...] = ()
    device: str | None = None
    portable: bool = False
    native: bool = False

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The other runtimes and why each was not chosen."""
        return (*self.refused, *(self._why_not(runtime) for runtime in self.rest))

    def _why_not(self, runtime: Runtime) -> Rejected:
        availability = runtime.availability(self.device)
        if not availability.ok:
            return Rejected(runtime.name, availability.reason, availability.fix)
        if not _can_run(runtime, self.model):
            return _cannot(runtime)
        reason = f"{self.runtime.name} suits this bundle better or is tried first"
        return Rejected(runtime.name, reason, f"--runtime {runtime.name}")

    def load(self, device: str | None = None, options: SessionOptions | None = None) -> Session:
        """Load the model into the runtime."""
        return self.runtime.load(self.model, device or self.device, options)

    def __str__(self) -> str:
        """The choice in a line, and each of the rejected in one."""
        what = "the portable fp32 graph" if self.portable else f"the {self.model.format} {self.model.precision} model"
        lines = [f"{self.runtime.name} with {what}: {self.reason}"]
        return "\n".join([*lines, *(f"  not {name}: {reason} ({fix})" for name, reason, fix in self.rejected)])


def runtimes() -> dict[str, Runtime]:
    """Every runtime by name: ours, then those that other packages register under the entry points' group.

    Ours cannot be replaced by a package that takes the same name.
    """
    found: dict[str, Runtime] = {}
    for name, (module, attribute) in _BUILT_IN.items():
        found[name] = getattr(importlib.import_module(f".{module}", __package__), attribute)()
    for point in entry_points(group=ENTRY_POINTS):
        if point.name not in found:
            found[point.name] = load_foreign(point)
    return found


def choose(
    model: ModelFiles, requested: str | None = None, device: str | None = None, *, precision: str | None = None
) -> Selection:
    """Choose the runtime for a model.

    One that the user names is taken or refused, never replaced. Otherwise comes first what `dsrfau-bench --remember`
    measured to be the fastest here; then those that read the model as it is; then those that would run its portable
    fp32 graph instead.

    Args:
        model: the files of a bundle.
        requested: name of a runtime.
        device: what it is to compute on, in the runtime's words.
        precision: the bundle's own, or `fp32` for its portable graph.

    Raises:
        UsageError: no runtime has the requested name, or the bundle has no such precision.
        RuntimeUnavailable: the requested one, or every one, cannot be used here.
    """
    known = runtimes()
    as_it_is = _of_precision(model, precision)
    if requested is not None:
        return _named(as_it_is, known, requested, device, portable=as_it_is is not model)
    if device is None:
        fastest = _measured(model, precision, known)
        if fastest is not None:
            return fastest
    refused: list[Rejected] = []
    ordered = _ordered(as_it_is, known.values())
    for place, runtime in enumerate(ordered):
        availability = runtime.availability(device)
        if not availability.ok:
            refused.append(Rejected(runtime.name, availability.reason, availability.fix))
        elif not _can_run(runtime, as_it_is):
            refused.append(_cannot(runtime))
        elif not getattr(runtime, "portable", True):
            refused.append(Rejected(runtime.name, _FOR_DEVELOPMENT, f"--runtime {runtime.name}"))
        else:
            native = as_it_is.format in runtime.formats
            reason = "the first here that reads it" if native else "no runtime here reads the bundle's own model"
            rest = tuple(ordered[place + 1 :])
            return _selection(runtime, as_it_is, reason, refused, rest, device, portable=as_it_is is not model)
    why = "\n".join(f"  {name}: {reason} {fix}" for name, reason, fix in refused)
    where = f" on device {device!r}" if device else ""
    raise RuntimeUnavailable(f"No runtime can run {model.name}{where}:\n{why}")


def _of_precision(model: ModelFiles, precision: str | None) -> ModelFiles:
    """The files themselves where they have the precision that is wanted, else the portable graph."""
    if precision is None or precision == model.precision:
        return model
    if precision == "fp32":
        return model.as_portable()
    raise UsageError(
        f"{model.name} holds {model.precision} and its portable fp32 graph, not {precision}. Export it: dsrfau-export "
        f"BUNDLE --precision {precision}"
    )


def _named(
    model: ModelFiles, known: dict[str, Runtime], requested: str, device: str | None, *, portable: bool
) -> Selection:
    runtime = known.get(requested)
    if runtime is None:
        raise UsageError(f"Unknown runtime {requested!r}. Known: {', '.join(known)}.")
    availability = runtime.availability(device)
    if not availability.ok:
        raise RuntimeUnavailable(f"Runtime {requested} cannot be used: {availability.reason} {availability.fix}")
    if not _can_run(runtime, model):
        raise UsageError(f"--runtime {requested} runs a checkpoint's own network, and {model.name} is none. {_OTHER}")
    refused = tuple(
        Rejected(name, f"--runtime {requested} was asked for", f"--runtime {name}")
        for name in known
        if name != requested
    )
    return _selection(runtime, model, "asked for", refused, (), device, portable=portable)


def _measured(model: ModelFiles, precision: str | None, known: dict[str, Runtime]) -> Selection | None:
    """What was measured to be the fastest, if it still is what it was and has the wanted precision."""
    best = recall(model)
    runtime = known.get(best.runtime) if best is not None else None
    if best is None or runtime is None or precision not in (None, best.precision):
        return None
    files = model if best.precision == model.precision else model.as_portable()
    availability = runtime.availability(None)
    if not availability.ok or availability.version != best.version or not _can_run(runtime, files):
        return None
    reason = f"measured to be the fastest here on {best.date} ({best.p90_ms:g} ms a crop, p90)"
    rest = tuple(other for other in known.values() if other is not runtime)
    portable = files is not model
    return Selection(runtime, files, reason, (), rest, None, portable=portable, native=best.native)


def _ordered(model: ModelFiles, known: Iterable[Runtime]) -> list[Runtime]:
    """Native readers first; a runtime named after the format before others that read it too; then the faster one."""

    def rank(runtime: Runtime) -> tuple[bool, bool, bool]:
        return model.format not in runtime.formats, runtime.name != model.format, runtime.name != _FASTER.get(_MACHINE)

    return sorted(known, key=rank)


def _can_run(runtime: Runtime, model: ModelFiles) -> bool:
    """Whether it takes the model, as it is or as its portable graph; torch takes the networks of checkpoints alone."""
    return getattr(runtime, "portable", True) or model.format in runtime.formats or model.checkpoint is not None


def _cannot(runtime: Runtime) -> Rejected:
    return Rejected(runtime.name, "it runs a checkpoint's own network, and this is none", _OTHER)


def _selection(
    runtime: Runtime,
    model: ModelFiles,
    reason: str,
    refused: Iterable[Rejected],
    rest: tuple[Runtime, ...],
    device: str | None,
    *,
    portable: bool,
) -> Selection:
    takes = model.format in runtime.formats or (model.checkpoint is not None and not getattr(runtime, "portable", True))
    if takes or portable:
        return Selection(runtime, model, reason, tuple(refused), rest, device, portable=portable)
    if (model.format, model.precision) != ("onnx", "fp32"):
        _log.warning(
            "%s holds a %s %s model, which %s does not read: its portable fp32 graph is used instead.",
            model.name,
            model.format,
            model.precision,
            runtime.name,
        )
    return Selection(runtime, model.as_portable(), reason, tuple(refused), rest, device, portable=True)
