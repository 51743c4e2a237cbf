"""Runtimes that other packages register: what they do wrong is their runtime's reason, and never stops the others."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from ..errors import DsrfauError, RuntimeUnavailable
from .base import Availability, Format, ModelFiles, Runtime, Session, SessionOptions, first_line

_FIX = "Reinstall, update or remove the package that registers it."


def load_foreign(point: EntryPoint) -> Runtime:
    """The runtime behind an entry point, or one that says why there is none. Never raises."""
    try:
        runtime = point.load()()
    except Exception as error:  # whatever a third party's import does must not stop ours
        return Broken(point, f"cannot be loaded: {first_line(error)}")
    if not isinstance(runtime, Runtime):
        return Broken(point, "is no runtime: one has name, formats, availability and load")
    return Guarded(point, runtime)


class Broken:
    """Stands for a runtime that cannot be had."""

    formats: tuple[Format, ...] = ()

    def __init__(self, point: EntryPoint, reason: str) -> None:
        self.name = point.name
        self._reason = f"{point.value} {reason}."

    def availability(self, device: str | None = None) -> Availability:
        del device
        return Availability(ok=False, reason=self._reason, fix=_FIX)

    def load(self, model: ModelFiles, device: str | None = None, options: SessionOptions | None = None) -> Session:
        del model, device, options
        raise RuntimeUnavailable(f"{self._reason} {_FIX}")


class Guarded:
    """A third party's runtime under the name that it is registered by, kept to what the protocol promises."""

    def __init__(self, point: EntryPoint, runtime: Runtime) -> None:
        self.name = point.name
        self.formats: tuple[Format, ...] = tuple(runtime.formats)
        self.portable = bool(getattr(runtime, "portable", True))
        self._value = point.value
        self._runtime = runtime

    def availability(self, device: str | None = None) -> Availability:
        try:
            found: object = self._runtime.availability(device)
        except Exception as error:  # the protocol says that it never raises
            return Availability(ok=False, reason=f"{self._value} fails when asked: {first_line(error)}.", fix=_FIX)
        if not isinstance(found, Availability):
            return Availability(ok=False, reason=f"{self._value} answers with {found!r}.", fix=_FIX)
        return found

    def load(self, model: ModelFiles, device: str | None = None, options: SessionOptions | None = None) -> Session:
        try:
            return self._runtime.load(model, device, options)
        except DsrfauError:
            raise
        except Exception as error:
            raise RuntimeUnavailable(
                f"{self._value} could not load {model.name}: {first_line(error)}. {_FIX}"
            ) from error
