"""The driver's calls for a CUDA graph, made for real into a library in C that stands in for the driver."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dsrfau_edge.runtimes import cuda_graph
from dsrfau_edge.runtimes.cuda_graph import CudaGraph, GraphFailed

#: Prototypes of cuda.h; a log instead of a GPU. `fail` names the call that gives an error.
DRIVER = """
#include <string.h>
typedef void *handle;
static char graph, executable;
char called[1000], fail[100];
static int done(const char *name) {
    strcat(called, name);
    strcat(called, " ");
    return strcmp(name, fail) ? 0 : 901;
}
int cuStreamBeginCapture_v2(handle stream, int mode) {
    return stream == (handle)0x7fff12345678 && mode == 1 ? done("begin") : 1;
}
int cuStreamEndCapture(handle stream, handle *out) {
    if (stream != (handle)0x7fff12345678) return 1;
    *out = strcmp(fail, "end") ? &graph : 0;
    return done("end");
}
int cuGraphInstantiateWithFlags(handle *out, handle from, unsigned long long flags) {
    if (from != &graph || flags) return 1;
    *out = &executable;
    return done("instantiate");
}
int cuGraphLaunch(handle what, handle stream) {
    return what == &executable && stream == (handle)0x7fff12345678 ? done("launch") : 1;
}
int cuGraphExecDestroy(handle what) { return what == &executable ? done("destroy-executable") : 1; }
int cuGraphDestroy(handle what) { return what == &graph || !what ? done("destroy-graph") : 1; }
"""
STREAM = 0x7FFF12345678


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make the stand-in with")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(DRIVER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "driver.so", folder / "driver.c"], check=True)
    return folder / "driver.so"


class Library:
    """The library, and what was called in it."""

    def __init__(self, path: Path) -> None:
        self.loaded = ctypes.CDLL(str(path))
        self._text = (ctypes.c_char * 1000).in_dll(self.loaded, "called")
        self._text.value, self.fail = b"", ""

    @property
    def called(self) -> list[str]:
        return self._text.value.decode().split()

    @property
    def fail(self) -> str:
        raise AttributeError

    @fail.setter
    def fail(self, name: str) -> None:
        (ctypes.c_char * 100).in_dll(self.loaded, "fail").value = name.encode()


@pytest.fixture
def driver(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library(compiled)
    monkeypatch.setattr(cuda_graph, "library", lambda: library.loaded)
    return library


def test_record_launch_and_close(driver: Library) -> None:
    queued: list[list[str]] = []
    graph = CudaGraph.record(STREAM, lambda: queued.append(driver.called))
    assert queued == [["begin"]]
    graph.launch()
    graph.launch()
    graph.close()
    graph.close()
    assert driver.called == ["begin", "end", "instantiate", "destroy-graph", "launch", "launch", "destroy-executable"]


@pytest.mark.parametrize(
    ("fail", "called"),
    [
        ("begin", ["begin"]),
        ("end", ["begin", "end"]),
        ("instantiate", ["begin", "end", "instantiate", "destroy-graph"]),
    ],
)
def test_a_driver_that_refuses(driver: Library, fail: str, called: list[str]) -> None:
    driver.fail = fail
    with pytest.raises(GraphFailed, match="gives CUDA error 901"):
        CudaGraph.record(STREAM, lambda: None)
    assert driver.called == called


def test_an_error_while_recording_ends_the_recording(driver: Library) -> None:
    def queue() -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        CudaGraph.record(STREAM, queue)
    assert driver.called == ["begin", "end", "destroy-graph"]


def test_a_launch_that_fails(driver: Library) -> None:
    graph = CudaGraph.record(STREAM, lambda: None)
    driver.fail = "launch"
    with pytest.raises(GraphFailed, match="cuGraphLaunch gives CUDA error 901"):
        graph.launch()
