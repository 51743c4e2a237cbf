"""Engines are compiled once per device, however many processes start at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dsrfau_edge.errors import RuntimeUnavailable
from dsrfau_edge.runtimes import engine_cache
from dsrfau_edge.runtimes.engine_cache import EngineCache, cache_folder


def test_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    if engine_cache.sys.platform != "darwin":
        assert cache_folder() == tmp_path / "dsrfau-edge" / "engines"


def test_it_builds_once_per_key_and_graph(tmp_path: Path) -> None:
    built: list[str] = []

    def make(name: str) -> bytes:
        built.append(name)
        return name.encode()

    cache = EngineCache(tmp_path)
    for key, graph in ((("a",), b"g"), (("a",), b"g"), (("b",), b"g"), (("a",), b"h")):
        found = next(cache.candidates(key, graph, lambda key=key, graph=graph: make(f"{key}{graph!r}")))
        assert found == f"{key}{graph!r}".encode()
    assert len(built) == 3


def test_a_caller_that_cannot_use_the_kept_one_gets_a_new_one(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    next(cache.candidates((), b"g", lambda: b"old"))
    assert list(cache.candidates((), b"g", lambda: b"new")) == [b"old", b"new"]
    assert next(cache.candidates((), b"g", lambda: pytest.fail("it is kept"))) == b"new"


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise RuntimeUnavailable("the builder refuses it")

    with pytest.raises(RuntimeUnavailable):
        next(EngineCache(tmp_path).candidates((), b"g", fail))
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_those_who_come_together_wait_for_one_build(tmp_path: Path) -> None:
    built, results = [], []

    def build() -> bytes:
        built.append(1)
        threading.Event().wait(0.05)
        return b"engine"

    def use() -> None:
        results.append(next(EngineCache(tmp_path).candidates((), b"g", build)))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"engine"] * 4
    assert len(built) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeUnavailable, match="XDG_CACHE_HOME"):
        next(EngineCache(tmp_path / "file").candidates((), b"g", lambda: b"x"))
