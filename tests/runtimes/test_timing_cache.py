"""Timings of layers in a file, through a fake builder that answers as TensorRT documents it."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsrfau_edge.errors import UsageError
from dsrfau_edge.runtimes import timing_cache
from dsrfau_edge.runtimes.timing_cache import attach, check, keep


class Config:
    """Takes timings that begin with TIMES, warns of others and begins anew, and attaches only those of this GPU."""

    def __init__(self) -> None:
        self.logger = SimpleNamespace(errors=[], warnings=[])

    def create_timing_cache(self, content: bytes) -> Any:
        if content and not content.startswith(b"TIMES"):
            self.logger.warnings.append("Failed to deserialize timing cache.")
            content = b""
        return SimpleNamespace(content=content, serialize=lambda: content + b" and new ones")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        if b"of another GPU" in cache.content:
            self.logger.errors.append("Device property differs.")
            return False
        return True


def test_timings_are_read_and_written_back(tmp_path: Path) -> None:
    config, path = Config(), tmp_path / "timings"
    cache = attach(config, path, config.logger)
    assert cache.content == b""
    path.write_bytes(b"TIMES")
    cache = attach(config, path, config.logger)
    assert cache.content == b"TIMES"
    keep(cache, path)
    assert path.read_bytes() == b"TIMES and new ones"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"of another version", "Failed to deserialize"), (b"TIMES of another GPU", "Device property differs")],
)
def test_timings_of_another_gpu_or_version_are_refused(tmp_path: Path, content: bytes, why: str) -> None:
    config, path = Config(), tmp_path / "timings"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"(?s)--timing-cache .*{why}.*name another file"):
        attach(config, path, config.logger)
    assert path.read_bytes() == content


@pytest.mark.parametrize("where", ["", "missing/timings"])
def test_a_file_that_cannot_be_read_or_written_is_named_before_the_build(tmp_path: Path, where: str) -> None:
    with pytest.raises(UsageError, match=r"--timing-cache .* cannot be used"):
        check(tmp_path / where)


def test_a_full_disk_costs_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "timings"
    path.write_bytes(b"TIMES")
    monkeypatch.setattr(timing_cache.os, "fdopen", full)
    keep(SimpleNamespace(serialize=lambda: b"TIMES"), path)
    assert "No space left" in caplog.text
    assert (path.read_bytes(), len(list(tmp_path.iterdir()))) == (b"TIMES", 1)
