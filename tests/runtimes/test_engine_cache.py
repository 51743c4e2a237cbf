"""Engines are compiled once per device, however many processes start at the same time and whichever of them dies."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dsrfau_edge.errors import RuntimeUnavailable
from dsrfau_edge.runtimes import engine_cache
from dsrfau_edge.runtimes.engine_cache import EngineCache, cache_folder
from dsrfau_edge.runtimes.tensorrt_engine import find_module, is_rtx

#: A process that loads an engine of the key "k" and the graph in a file, and says which it has got. What happens where
#: it says SLOW is up to the test.
PROCESS = """
import os, sys, time
from pathlib import Path
from dsrfau_edge.runtimes import engine_cache
from dsrfau_edge.runtimes.tensorrt_engine import EngineOptions, build_engine, find_module

folder, graph, how = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), sys.argv[3]

def reached(seconds):
    (folder / f"reached-{os.getpid()}").touch()
    time.sleep(seconds)

def build():
    with (folder / "builds").open("a") as file:
        file.write("built\\n")
    if how == "real":
        return build_engine(find_module(), graph, EngineOptions()).content
    if how != "dies writing":
        reached(60 if how == "dies building" else 0.5)
    return b"engine of " + graph

if how == "dies writing":
    os.fsync = lambda handle: reached(60)
found = engine_cache.EngineCache(folder / "cache").load(("k",), graph, build, lambda engine: engine)
sys.stdout.write(str(len(found.engine)))
"""
ENGINE = b"engine of graph"


def start(folder: Path, how: str, graph: Path | None = None) -> subprocess.Popen[str]:
    if graph is None:
        graph = folder / "graph"
        graph.write_bytes(b"graph")
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder), str(graph), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(folder: Path, process: subprocess.Popen[str]) -> None:
    """Until the process is where the test wants it."""
    end = time.monotonic() + 60
    while not (folder / f"reached-{process.pid}").exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end
        time.sleep(0.01)


def load(cache: EngineCache, engine: bytes = ENGINE, **more: Any) -> tuple[bytes | None, str]:
    found = cache.load(("k",), b"graph", lambda: engine, more.get("use", lambda content: content))
    return found.engine, found.note


def unbuilt(cache: EngineCache) -> bytes | None:
    """The kept engine of the graph that the processes load."""
    return cache.load(("k",), b"graph", lambda: pytest.fail("it is kept"), lambda content: content).engine


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
        found = cache.load(key, graph, lambda key=key, graph=graph: make(f"{key}{graph!r}"), lambda content: content)
        assert found.engine == f"{key}{graph!r}".encode()
    assert len(built) == 3


def test_what_was_built_and_what_was_kept_is_told(tmp_path: Path) -> None:
    assert load(EngineCache(tmp_path))[1].startswith("The engine was built on this device in 0 s and is kept in")
    assert load(EngineCache(tmp_path))[1].startswith("The engine kept in")
    assert [path.suffix for path in tmp_path.iterdir()] == [".engine"], "no lock stays"


def test_a_kept_engine_that_cannot_be_used_is_built_again(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    load(cache, b"old")
    assert load(cache, b"new", use=lambda content: None if content == b"old" else content)[0] == b"new"
    assert unbuilt(cache) == b"new"
    assert load(cache, b"newer", use=lambda content: None)[0] is None, "one build is enough to know"


@pytest.mark.parametrize("change", ["cut", "flipped", "empty", "no header"])
def test_a_damaged_engine_is_never_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str) -> None:
    cache = EngineCache(tmp_path)
    load(cache)
    (path,) = tmp_path.glob("*.engine")
    whole = path.read_bytes()
    damaged = {
        "cut": whole[:-3],
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
        "empty": b"",
        "no header": ENGINE,
    }[change]
    path.write_bytes(damaged)
    seen: list[bytes] = []
    assert load(cache, b"fresh", use=lambda content: seen.append(content) or content)[0] == b"fresh"
    assert seen == [b"fresh"]
    assert "is damaged and is not loaded" in caplog.text
    assert unbuilt(cache) == b"fresh"


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise RuntimeUnavailable("the builder refuses it")

    with pytest.raises(RuntimeUnavailable):
        EngineCache(tmp_path).load((), b"g", fail, lambda content: content)
    assert list(tmp_path.iterdir()) == []


def test_threads_that_come_together_wait_for_one_build(tmp_path: Path) -> None:
    built, results = [], []

    def build() -> bytes:
        built.append(1)
        threading.Event().wait(0.05)
        return b"engine"

    def use() -> None:
        results.append(EngineCache(tmp_path).load((), b"g", build, lambda content: content).engine)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"engine"] * 4
    assert len(built) == 1


@pytest.mark.parametrize("how", ["slow", "real"])
def test_processes_that_come_together_build_once(tmp_path: Path, tiny_onnx: bytes, how: str) -> None:
    graph = None
    if how == "real":
        trt = find_module()
        if trt is None or not is_rtx(trt):
            pytest.skip("tensorrt-rtx is not installed: no real builder without a GPU")
        graph = tmp_path / "tiny.onnx"
        graph.write_bytes(tiny_onnx)
    processes = [start(tmp_path, how, graph) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert (tmp_path / "builds").read_text() == "built\n"
    sizes = {int(out) for out, _ in answers}
    assert len(sizes) == 1
    assert sizes.pop() > (10_000 if how == "real" else 1)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".engine"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("how", ["dies building", "dies writing"])
def test_after_a_kill_the_next_run_works_and_nothing_half_written_is_loaded(tmp_path: Path, how: str) -> None:
    process = start(tmp_path, how)
    wait_for(tmp_path, process)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    left = {path.suffix for path in (tmp_path / "cache").iterdir()}
    assert left == ({".lock", ".part"} if how == "dies writing" else {".lock"})
    assert load(EngineCache(tmp_path / "cache"), b"fresh")[0] == b"fresh"
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".engine"], "what was left is swept away"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_who_waits_for_a_builder_that_dies_builds_itself(tmp_path: Path) -> None:
    first = start(tmp_path, "dies building")
    wait_for(tmp_path, first)
    second = start(tmp_path, "slow")
    time.sleep(0.5)
    assert second.poll() is None
    first.kill()
    first.communicate(timeout=60)
    out, error = second.communicate(timeout=60)
    assert (second.returncode, out) == (0, str(len(ENGINE))), error
    assert (tmp_path / "builds").read_text() == "built\nbuilt\n"


def test_what_a_living_process_writes_is_not_swept_away(tmp_path: Path) -> None:
    process = start(tmp_path, "dies writing")
    wait_for(tmp_path, process)
    try:
        EngineCache(tmp_path / "cache").load(("another",), b"graph", lambda: b"x", lambda content: content)
        assert len(list((tmp_path / "cache").glob(".*.part"))) == 1
    finally:
        process.kill()
        process.communicate(timeout=60)
    EngineCache(tmp_path / "cache").load(("a third",), b"graph", lambda: b"x", lambda content: content)
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".engine"}


def test_a_folder_that_cannot_be_made_costs_no_engine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    engine, note = load(EngineCache(tmp_path / "file" / "cache"))
    assert engine == ENGINE
    assert "could not be kept" in note
    assert "XDG_CACHE_HOME" in caplog.text


def test_a_full_disk_costs_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(engine_cache.os, "fsync", full)
    with caplog.at_level(logging.WARNING):
        engine, note = load(EngineCache(tmp_path))
    assert engine == ENGINE
    assert "No space left" in note
    assert "Free space there" in caplog.text
    assert list(tmp_path.iterdir()) == []
