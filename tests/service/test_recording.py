"""Recordings: whole lines, new names, and a disk that is full."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from faces import make_face, make_result

from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.service import recording as module
from dsrfau_edge.service.recording import LineRecording, Recording, new_file

#: Writes into files that may have 3000 bytes each, as on a disk that is full then.
FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from faces import make_face, make_result
from dsrfau_edge.service.recording import LineRecording, Recording
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
recording = Recording({pattern!r}, LineRecording)
written = 0
try:
    for number in range(100):
        recording.write(make_result(make_face(), index=number))
        written += 1
except OSError:
    recording.close()
print(written)
"""


def lines(path):
    return [json.loads(line)["frame"] for line in path.read_text(encoding="utf-8").splitlines()]


def run_full(tmp_path, request, limit):
    program = FULL.format(
        tests=str(request.config.rootpath / "tests"), limit=limit, pattern=f"{tmp_path}/a-{{time}}.jsonl"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_full_disk_leaves_whole_lines(tmp_path, request):
    written = run_full(tmp_path, request, 3000)
    (path,) = tmp_path.iterdir()
    assert 0 < written < 100
    assert lines(path) == list(range(written))


def test_a_disk_that_is_full_already_leaves_no_file(tmp_path, request):
    assert run_full(tmp_path, request, 10) == 0
    assert not list(tmp_path.iterdir())


def test_lines_can_be_read_while_they_are_written(tmp_path):
    recording = LineRecording(tmp_path / "a.jsonl")
    for number in range(3):
        recording.write(make_result(make_face(), index=number))
        assert lines(tmp_path / "a.jsonl") == list(range(number + 1))
    recording.close()


def test_no_file_is_written_over(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("old")
    with pytest.raises(FileExistsError):
        LineRecording(path)
    assert path.read_text() == "old"


def test_names_within_a_second_are_numbered(tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "strftime", lambda *arguments: "20260102T030405Z")
    names = []
    for _ in range(3):
        path = new_file(f"{tmp_path}/a-{{time}}.jsonl")
        path.write_text("")
        names.append(path.name)
    assert names == ["a-20260102T030405Z.jsonl", "a-20260102T030405Z-2.jsonl", "a-20260102T030405Z-3.jsonl"]


def test_an_output_that_cannot_begin_leaves_no_file(tmp_path):
    def opened(path):
        path.write_bytes(b"")
        raise DsrfauError("no")

    with pytest.raises(DsrfauError):
        Recording(f"{tmp_path}/a-{{time}}.jsonl", opened)
    assert not list(tmp_path.iterdir())
