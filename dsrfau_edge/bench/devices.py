"""What each runtime says it can compute on, asked with a limit of time: native libraries may hang or raise anything."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import TypeVar

from ..runtimes.base import Availability, Runtime, first_line
from ..runtimes.cuda_driver import driver

Answer = TypeVar("Answer")
SECONDS = 30.0


def within(ask: Callable[[], Answer], otherwise: Callable[[str], Answer], seconds: float | None = None) -> Answer:
    """The answer, or `otherwise` with the reason where asking raises or takes too long.

    What hangs is left behind in a thread that ends with the program.
    """
    limit = SECONDS if seconds is None else seconds
    answers: list[Answer] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001 - a look must never stop the program
            answers.append(otherwise(f"it fails when it is asked: {first_line(error)}"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    return answers[0] if answers else otherwise(f"it did not answer within {limit:g} s")


def availability(runtime: Runtime) -> Availability:
    """Whether a runtime can be used; one that hangs or raises cannot."""

    def otherwise(why: str) -> Availability:
        return Availability(
            ok=False, reason=f"{runtime.name} cannot be asked: {why}.", fix="Reinstall its package, or its driver."
        )

    return within(lambda: runtime.availability(None), otherwise)


def devices(runtime: Runtime) -> list[str]:
    """What it says it can compute on; none where it does not tell."""
    asked = _ASK.get(runtime.name)
    return within(asked, lambda why: []) if asked is not None else []


def _onnxruntime() -> list[str]:
    found = importlib.import_module("onnxruntime").get_available_providers()
    return [str(name) for name in found if name != "AzureExecutionProvider"]  # which is no device but a service


def _openvino() -> list[str]:
    core = importlib.import_module("openvino").Core()
    return [f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in core.available_devices]


def _tensorrt() -> list[str]:
    return [f"cuda:{gpu.index} ({gpu.name})" for gpu in driver().gpus]


def _torch() -> list[str]:
    cuda = importlib.import_module("torch").cuda
    return ["cpu", *(f"cuda:{index} ({cuda.get_device_name(index)})" for index in range(cuda.device_count()))]


_ASK: dict[str, Callable[[], list[str]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
    "torch": _torch,
}
