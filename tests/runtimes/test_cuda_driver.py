"""Asking the driver, through a fake library that fills in what the driver API fills in."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest

from dsrfau_edge.runtimes import cuda_driver
from dsrfau_edge.runtimes.cuda_driver import Gpu, driver


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    driver.cache_clear()
    yield
    driver.cache_clear()


class FakeLibrary:
    def __init__(self, status: int = 0, count: int = 1) -> None:
        self.status, self.count = status, count

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's names
        return self.status

    def cuDriverGetVersion(self, number: Any) -> None:  # noqa: N802
        number._obj.value = 12060

    def cuDeviceGetCount(self, number: Any) -> None:  # noqa: N802
        number._obj.value = self.count

    def cuDeviceGet(self, device: Any, index: int) -> None:  # noqa: N802
        device._obj.value = index

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:  # noqa: N802
        name.value = b"Orin"

    def cuDeviceGetAttribute(self, number: Any, attribute: int, device: Any) -> None:  # noqa: N802
        number._obj.value = {75: 8, 76: 7}[attribute]

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> None:  # noqa: N802
        memory._obj.value = 8 << 30


@pytest.mark.parametrize(
    ("library", "gpus", "reason"),
    [
        (FakeLibrary(), (Gpu(0, "Orin", 87, 8 << 30),), ""),
        (FakeLibrary(count=0), (), "finds no GPU"),
        (FakeLibrary(status=100), (), "cuInit gives 100"),
        (object(), (), "does not answer"),
    ],
)
def test_what_the_driver_says(monkeypatch: pytest.MonkeyPatch, library: Any, gpus: Any, reason: str) -> None:
    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", lambda name: library)
    found = driver()
    assert found.gpus == gpus
    assert found.ok is bool(gpus)
    assert reason in found.reason
    assert found.ok or found.fix
    assert not gpus or found.cuda == "12.6"


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", missing)
    assert "cannot be loaded" in driver().reason
