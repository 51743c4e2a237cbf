"""Output that is whole or absent, and a progress line that knows when to be silent."""

from __future__ import annotations

import io
import os
import stat
import sys

import pytest

from dsrfau_edge.cli.common import Progress, replaced, text_output


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with text_output(path) as stream:
        stream.write("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.txt"]  # noqa: PTH208


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")

    def fail():
        with text_output(path) as stream:
            stream.write("half")
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="modes and umask are POSIX's")
def test_the_file_has_the_usual_permissions(tmp_path):
    with replaced(tmp_path / "a.bin") as part:
        part.write_bytes(b"x")
    (tmp_path / "b.bin").write_bytes(b"x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.bin", "b.bin")}
    assert len(modes) == 1


@pytest.mark.skipif(os.name != "posix", reason="needs a named pipe")
def test_a_pipe_is_written_and_not_replaced(tmp_path):
    import threading

    path, got = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: got.append(path.read_text()))
    reader.start()
    with text_output(path) as stream:
        stream.write("data")
    reader.join(10)
    assert got == ["data"]
    assert path.is_fifo()


def test_a_dash_is_stdout():
    from pathlib import Path

    with text_output(Path("-")) as stream:
        assert stream is sys.stdout


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("terminal", "wanted"), [(True, True), (True, False), (False, True)])
def test_progress_is_for_terminals(monkeypatch, terminal, wanted):
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    progress = Progress(wanted=wanted)
    progress.share("building an engine", 0.25)
    progress.clear()
    assert ("building an engine 25 %" in stderr.getvalue()) == (terminal and wanted)
