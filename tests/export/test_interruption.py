"""Exports that are killed, and disks that are full: nothing half-written is ever loaded, and the next run works."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dsrfau_edge.bundle import Bundle

pytest.importorskip("onnx")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

#: Exports, telling on stdout when the bundle's files are being written, and then taking its time.
SLOW = """
import sys, time
from dsrfau_edge import bundle
from dsrfau_edge.export.pipeline import ExportOptions, export

real = bundle._store
def store(path, content):
    print(path.name, flush=True)
    record = real(path, content)
    time.sleep(30 if path.name == sys.argv[3] else 0)
    return record
bundle._store = store
export(sys.argv[1], "onnx", sys.argv[2], ExportOptions(overwrite=True))
"""


def export_now(source: Path, folder: Path) -> Path:
    from dsrfau_edge.export.pipeline import ExportOptions, export

    (report,) = export(source, "onnx", folder, ExportOptions(overwrite=True))
    assert report.path is not None
    return report.path


@pytest.mark.parametrize("moment", ["portable.onnx", "manifest.json"])
@pytest.mark.parametrize("before", [False, True], ids=["first", "again"])
def test_a_killed_export_leaves_the_old_bundle_or_none(
    tiny_checkpoint: Path, tmp_path: Path, moment: str, before: bool
) -> None:
    path = tmp_path / "tiny-onnx-fp32.dsrfau"
    made = Bundle.open(export_now(tiny_checkpoint, tmp_path)).manifest.created if before else None
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tiny_checkpoint), str(tmp_path), moment], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != moment:
        assert process.poll() is None
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    if before:
        assert Bundle.open(path).manifest.created == made
    else:
        assert not path.exists()
    assert Bundle.open(export_now(tiny_checkpoint, tmp_path)).manifest.precision == "fp32"


def test_a_full_disk_while_converting_is_an_error_of_ours(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The limit on file sizes stands for a full disk: a write fails in the middle."""
    program = "import sys; from dsrfau_edge.cli.main import run; run('export', 'dsrfau-export', sys.argv[1:])"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = subprocess.run(
        [sys.executable, "-c", program, str(tiny_checkpoint), "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        preexec_fn=limit,  # noqa: PLW1509 - no threads here
        check=False,
    )
    assert result.returncode in (1, 5), result.stderr
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert "File too large" in result.stderr or "cannot be written" in result.stderr
    assert not list((tmp_path / "out").glob("*.dsrfau"))
