"""Runs one job in a fresh process and brings back what came of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dsrfau_edge

from .. import errors
from ..errors import DsrfauError, RuntimeUnavailable
from .job import Job

#: Does a job: values of its row, or an error of ours.
Launch = Callable[[Job], dict[str, Any]]
_LAST = 300


def launch(job: Job, *, timeout: float = 1800.0, worker: Sequence[str] = ()) -> dict[str, Any]:
    """Do a job in a process of its own.

    The process ends with this function, whatever ends this function.

    Args:
        job: to do.
        timeout: seconds that it may take.
        worker: the program to start, by default `bench.worker` in this Python.

    Raises:
        DsrfauError: what the job raised, of the same kind; `RuntimeUnavailable` where the process crashed or took too
            long.
    """
    with tempfile.TemporaryDirectory(prefix="dsrfau-bench-") as folder:
        question, answer = Path(folder) / "job.json", Path(folder) / "result.json"
        question.write_text(json.dumps(job.to_dict()), encoding="utf-8")
        program = worker or (sys.executable, "-m", "dsrfau_edge.bench.worker")
        command = [*program, str(question), str(answer)]
        with subprocess.Popen(
            command, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                _, said = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                raise RuntimeUnavailable(
                    f"{job.what} took longer than {timeout:g} s and was stopped. Give it longer with --timeout, or "
                    "leave it out with --runtime."
                ) from None
            finally:
                process.kill()  # does nothing to one that has ended
        try:
            raw = json.loads(answer.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it ended before it had written all of its answer
            raise _crashed(job, process.returncode, said) from None
        return _result(raw)


def _result(raw: dict[str, Any]) -> dict[str, Any]:
    if "values" in raw:
        values: dict[str, Any] = raw["values"]
        return values
    kind = getattr(errors, raw["error"]["type"], DsrfauError)
    raise kind(raw["error"]["message"])


def _crashed(job: Job, code: int, said: bytes) -> DsrfauError:
    """What is known of a process that left no answer."""
    if code == 130 or (code < 0 and -code == signal.SIGINT):
        raise KeyboardInterrupt
    how = f"was ended by {_signal(-code)}" if code < 0 else f"ended with code {code}"
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    last = f": {lines[-1][:_LAST]}" if lines else ""
    return RuntimeUnavailable(
        f"The process that measured {job.what} {how}{last}. Leave this runtime out with "
        "--runtime, or update its package."
    )


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (most often for want of memory)" if name == "SIGKILL" else name


def _environment() -> dict[str, str]:
    """This process's, with a path on which the package is found from any folder."""
    root = str(Path(dsrfau_edge.__file__).resolve().parents[1])
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, before] if before else [root])}
