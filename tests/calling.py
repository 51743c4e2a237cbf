"""Run a command in this process as its entry point does."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass

import pytest

from dsrfau_edge.cli.main import run


@dataclass
class Called:
    code: int
    out: str
    err: str


def call(verb, *arguments):
    """Exit code, stdout and stderr of `dsrfau-VERB`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        run(verb, f"dsrfau-{verb}", [str(argument) for argument in arguments])
    sys.stdout.flush()
    return Called(int(end.value.code or 0), out.getvalue(), err.getvalue())
