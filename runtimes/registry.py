"""Which runtimes there are, and which of them runs a given model on this device."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from ..errors import RuntimeUnavailable, UsageError
from .base import Availability, Format, ModelFiles, Runtime, Session, SessionOptions

_log = logging.getLogger(__name__)

ENTRY_POINTS = "dsrfau_edge.runtimes"
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
class Choice:
    """What was chosen.

    Attributes:
        runtime: the runtime to use.
        model: the files it is to load.
        refused: runtimes that would have come first, or that the user did not name.
        rest: runtimes that come after the chosen one. Asking them is left for whoever wants to know: it imports them.
        device: what was asked for.
        portable: the files are the fp32 portable graph, since the runtime does not read the model.
    """

    runtime: Runtime
    model: ModelFiles
    refused: tuple[Rejected, ...] = ()
    rest: tuple[Runtime, ...] = ()
    device: str | None = None
    portable: bool = False

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The other runtimes and why each was not chosen."""
        return (*self.refused, *(self._why_not(runtime) for runtime in self.rest))

    def _why_not(self, runtime: Runtime) -> Rejected:
        availability = runtime.availability(self.device)
        if not availability.ok:
            return Rejected(runtime.name, availability.reason, availability.fix)
        reason = f"{self.runtime.name} suits this bundle better or is tried first"
        return Rejected(runtime.name, reason, f"--runtime {runtime.name}")

    def load(self, device: str | None = None, options: SessionOptions | None = None) -> Session:
        """Load the model into the runtime."""
        return self.runtime.load(self.model, device, options)


class _Broken:
    """Stands for a third party's runtime that cannot be imported."""

    formats: tuple[Format, ...] = ()

    def __init__(self, point: EntryPoint, error: Exception) -> None:
        self.name = point.name
        self._reason = f"{point.value} cannot be loaded: {error}"

    def availability(self, device: str | None = None) -> Availability:
        del device
        return Availability(ok=False, reason=self._reason, fix="Reinstall or remove the package that registers it.")

    def load(self, model: ModelFiles, device: str | None = None, options: SessionOptions | None = None) -> Session:
        del model, device, options
        raise RuntimeUnavailable(f"{self._reason}. Reinstall or remove the package that registers it.")


def runtimes() -> dict[str, Runtime]:
    """Every runtime by name: ours, then those that other packages register under the entry points' group.

    Ours cannot be replaced by a package that takes the same name.
    """
    found: dict[str, Runtime] = {}
    for name, (module, attribute) in _BUILT_IN.items():
        found[name] = getattr(importlib.import_module(f".{module}", __package__), attribute)()
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in found:
            continue
        try:
            found[point.name] = point.load()()
        except Exception as error:  # whatever a third party's import does must not stop ours
            found[point.name] = _Broken(point, error)
    return found


def choose(model: ModelFiles, requested: str | None = None, device: str | None = None) -> Choice:
    """Choose the runtime for a model.

    One that the user names is taken or refused, never replaced. Otherwise those that read the model as it is come
    first, then those that would run its portable fp32 graph instead.

    Raises:
        UsageError: no runtime has the requested name.
        RuntimeUnavailable: the requested one, or every one, cannot be used here.
    """
    known = runtimes()
    if requested is not None:
        return _named(model, known, requested, device)
    ordered = _ordered(model, known.values())
    refused: list[Rejected] = []
    for place, runtime in enumerate(ordered):
        availability = runtime.availability(device)
        if availability.ok:
            return _choice(runtime, model, refused, ordered[place + 1 :], device)
        refused.append(Rejected(runtime.name, availability.reason, availability.fix))
    why = "\n".join(f"  {name}: {reason} {fix}" for name, reason, fix in refused)
    where = f" on device {device!r}" if device else ""
    raise RuntimeUnavailable(f"No runtime can run {model.name}{where}:\n{why}")


def _named(model: ModelFiles, known: dict[str, Runtime], requested: str, device: str | None) -> Choice:
    runtime = known.get(requested)
    if runtime is None:
        raise UsageError(f"Unknown runtime {requested!r}. Known: {', '.join(known)}.")
    availability = runtime.availability(device)
    if not availability.ok:
        raise RuntimeUnavailable(f"Runtime {requested} cannot be used: {availability.reason} {availability.fix}")
    refused = tuple(
        Rejected(name, f"--runtime {requested} was asked for", f"--runtime {name}")
        for name in known
        if name != requested
    )
    return _choice(runtime, model, refused, (), device)


def _ordered(model: ModelFiles, known: Iterable[Runtime]) -> list[Runtime]:
    """Native readers first; a runtime named after the format before others that read it too."""
    return sorted(known, key=lambda runtime: (model.format not in runtime.formats, runtime.name != model.format))


def _choice(
    runtime: Runtime,
    model: ModelFiles,
    refused: Iterable[Rejected],
    rest: Iterable[Runtime],
    device: str | None,
) -> Choice:
    if model.format in runtime.formats:
        return Choice(runtime, model, tuple(refused), tuple(rest), device)
    if (model.format, model.precision) != ("onnx", "fp32"):
        _log.warning(
            "%s holds a %s %s model, which %s does not read: its portable fp32 graph is used instead.",
            model.name,
            model.format,
            model.precision,
            runtime.name,
        )
    return Choice(runtime, model.as_portable(), tuple(refused), tuple(rest), device, portable=True)
