"""Files that grow beside their names: whole lines, whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from dsrfau_edge.outputs.files import LineFile, kept

LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from dsrfau_edge.outputs.files import LineFile
file = LineFile(Path(sys.argv[1]))
try:
    for number in range(100):
        file.write(f"{number:02} " + 96 * "x" + "\\n")
except OSError as error:
    print(number, error.strerror)
file.close()
"""


def test_it_takes_its_name_when_closed(tmp_path):
    file = LineFile(tmp_path / "out.csv")
    file.write("ä\n")
    assert not (tmp_path / "out.csv").exists()
    file.close()
    file.close()
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "ä\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_nothing_written_is_no_file(tmp_path):
    LineFile(tmp_path / "out.csv").close()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_whole_lines(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "out.txt")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split(maxsplit=1) == ["10", "File too large\n"]
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert [len(line) for line in lines] == [99] * 10
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_pipe_is_written_to_directly(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read = []
    thread = threading.Thread(target=lambda: read.append(path.read_text()))
    thread.start()
    file = LineFile(path)
    file.write("one\n")
    file.close()
    thread.join(10)
    assert read == ["one\n"]
    assert path.is_fifo()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        LineFile(tmp_path / "no" / "out.csv")


def test_what_fails_halfway_replaces_nothing(tmp_path):
    (tmp_path / "plot.png").write_text("before")
    with pytest.raises(OSError, match="full"), kept(tmp_path / "plot.png") as part:  # noqa: PT012 - as it happens
        part.write_text("half")
        raise OSError(28, "full")
    assert (tmp_path / "plot.png").read_text() == "before"
    with kept(tmp_path / "plot.png") as part:
        part.write_text("whole")
    assert (tmp_path / "plot.png").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]
