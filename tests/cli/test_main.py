"""The group, its verbs, and how errors of every kind end."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys

import click
import pytest
from calling import call

from dsrfau_edge import __version__
from dsrfau_edge.cli import main as module
from dsrfau_edge.cli.main import VERBS, dsrfau, run
from dsrfau_edge.errors import (
    BundleError,
    CalibrationError,
    DataError,
    DsrfauError,
    EngineMismatch,
    InputError,
    RuntimeUnavailable,
    UsageError,
    VerificationFailed,
)


def end_of(error):
    """How a command ends that raises this."""

    @click.command("x")
    def command():
        raise error

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        run(module._with_shared_options(command), "dsrfau-x", [])
    return end.value.code, err.getvalue()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DsrfauError("told"), 1),
        (UsageError("told"), 2),
        (RuntimeUnavailable("told"), 3),
        (EngineMismatch("told"), 3),
        (VerificationFailed("told"), 4),
        (BundleError("told"), 5),
        (InputError("told"), 5),
        (DataError("told"), 5),
        (CalibrationError("told"), 5),
        (click.UsageError("told"), 2),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (OSError(28, "No space left on device", "told"), 1),
        (MemoryError(), 1),
        (ZeroDivisionError("told"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_exit_code_and_no_traceback(error, code):
    ended, err = end_of(error)
    assert ended == code
    assert "Traceback" not in err
    if error.args and not isinstance(error, KeyboardInterrupt):
        assert "told" in err


def test_a_defect_names_itself_and_how_to_see_more():
    assert "defect of dsrfau-edge" in end_of(ZeroDivisionError("division by zero"))[1]


def test_a_full_disk_names_the_file():
    assert "/x/y: No space left" in end_of(OSError(28, "No space left on device", "/x/y"))[1]


def test_a_missing_package_ends_with_the_extra_to_install(monkeypatch):
    def broken(verb):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(module, "_load", broken)
    called = call("train")
    assert called.code == 3
    assert "pip install 'dsrfau-edge[train]'" in called.err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("libGL.so.1: cannot open", name="cv2"), ("libGL.so.1", "apt-get install libgl1")),
        (ImportError("libgthread-2.0.so.0: cannot open"), ("libglib2.0-0", "opencv-python-headless")),
        (ImportError("libcudart.so.12: cannot open", name="torch._C"), ("torch", "libcudart", "--force-reinstall")),
        (ImportError("numpy.core.multiarray failed to import", name="cv2"), ("cv2", "--force-reinstall")),
        (ImportError("half installed"), ("half installed", "--force-reinstall")),
    ],
    ids=["libGL", "libgthread", "torch", "cv2 for another numpy", "no name"],
)
def test_a_package_that_does_not_load_ends_with_the_fix(error, words):
    code, err = end_of(error)
    assert code == 3
    for word in words:
        assert word in err
    assert "defect" not in err
    assert ("libgl1" in err) is ("lib" in str(error) and "cuda" not in str(error))


def test_our_own_broken_import_is_a_defect():
    code, err = end_of(ImportError("cannot import name 'x' from 'dsrfau_edge.stream'", name="dsrfau_edge.stream"))
    assert code == 1
    assert "defect" in err


def test_opencv_without_its_system_library_ends_with_the_fix(tmp_path):
    """A real start of the command, so that no import of OpenCV can stand outside the handler."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file', name='cv2')")
    code = "from dsrfau_edge.cli.main import predict_main as m; m()"
    done = subprocess.run(
        [sys.executable, "-c", code, "a.jpg"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "libgl1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_ends_quietly():
    code = (
        "import os, sys, click; from dsrfau_edge.cli.main import run\n"
        "@click.command()\ndef c():\n"
        " for _ in range(100000): click.echo('x' * 100)\n"
        "run(c, 'c', [])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 1


def test_verbose_shows_the_traceback(tmp_path):
    called = call("predict", tmp_path / "missing.jpg", "-v")
    assert called.code == 5
    assert "Traceback" in called.err


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help_and_a_version(verb):
    called = call(verb, "--help")
    assert called.code == 0
    assert "Usage: dsrfau-" in called.out
    assert "--verbose" in called.out
    called = call(verb, "--version")
    assert called.code == 0
    assert __version__ in called.out


def test_the_group_lists_its_verbs_and_exit_codes():
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as end:
        run(dsrfau, "dsrfau", ["--help"])
    assert not end.value.code
    for word in (*VERBS, "Exit codes", "130"):
        assert word in out.getvalue()


def test_an_unknown_verb_is_a_usage_error():
    with contextlib.redirect_stderr(io.StringIO()) as err, pytest.raises(SystemExit) as end:
        run(dsrfau, "dsrfau", ["foresee"])
    assert end.value.code == 2
    assert "foresee" in err.getvalue()


def test_every_installed_command_has_its_function():
    from importlib.metadata import entry_points

    ours = [point for point in entry_points(group="console_scripts") if point.value.startswith("dsrfau_edge.")]
    assert {point.name for point in ours} >= {"dsrfau", "dsrfau-predict", "dsrfau-export", "dsrfau-doctor"}
    for point in ours:
        assert callable(point.load())
        if point.name not in ("dsrfau", "dsrfau-ros"):  # the latter takes ROS 2's own arguments
            assert point.name.removeprefix("dsrfau-") in VERBS
