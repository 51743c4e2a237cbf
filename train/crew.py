"""Processes of this machine that work off a list of jobs and tell what they make; none of them outlives the work."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from dsrfau_edge.errors import DsrfauError

#: What a worker runs for every job; all that it tells arrives at whoever asked, in order.
Function = Callable[[Any, Any, Callable[[object], None]], None]


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception
    trace: str


@dataclass(frozen=True, slots=True)
class _Done:
    """A worker is through with its job."""


def messages(function: Function, setting: Any, jobs: Sequence[Any], workers: int, *, what: str) -> Iterator[Any]:
    """Run `function(setting, job, tell)` for every job; closing the generator ends the processes at once.

    Args:
        function: found by its name in every process.
        setting: what all jobs have in common; sent to a process once.
        jobs: are begun in this order.
        workers: number of processes, at most.
        what: what the processes do, for the message of one that dies, such as `rendering`.

    Yields:
        What the workers tell, in the order of its arrival.

    Raises:
        DsrfauError: a process died.
    """
    waiting = deque(jobs)
    crew: list[tuple[Connection, Any]] = []
    try:
        crew.extend(_hire(function, setting) for _ in range(min(workers, len(waiting))))
        for connection, _ in crew:
            _ask(connection, waiting.popleft())
        busy = [connection for connection, _ in crew]
        while busy:
            ready = wait(busy)
            for connection in [one for one in busy if one in ready]:
                message = _answer(connection, what)
                if not isinstance(message, _Done):
                    yield message
                elif waiting:
                    _ask(connection, waiting.popleft())
                else:
                    busy.remove(connection)
    finally:
        for connection, process in crew:
            process.kill()  # it has nothing to put in order: it writes no file
            connection.close()
        for _, process in crew:
            process.join()


def _work(connection: Connection, function: Function, setting: Any) -> None:
    """Do what is asked for until the other end closes: that of a parent which was killed does, too."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            job = connection.recv()
            end: _Done | _Failure = _Done()
            try:
                function(setting, job, connection.send)
            except Exception as error:  # whatever it is, the parent says it
                trace = traceback.format_exc()
                end = _Failure(error if _travels(error) else RuntimeError(trace), trace)
            connection.send(end)


def _travels(error: Exception) -> bool:
    try:
        return isinstance(pickle.loads(pickle.dumps(error)), type(error))
    except Exception:  # pickling runs the exception's own code
        return False


def _hire(function: Function, setting: Any) -> tuple[Connection, Any]:
    """A worker. Ctrl-C, which a terminal sends to all processes, is the parent's to deal with."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function, setting), daemon=True)
    masks = hasattr(signal, "pthread_sigmask")
    if masks:
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # starting it would lift the mask
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return mine, process


def _ask(connection: Connection, job: Any) -> None:
    with contextlib.suppress(ConnectionError):  # then its answer is the end of the line
        connection.send(job)


def _answer(connection: Connection, what: str) -> Any:
    try:
        message = connection.recv()
    except (EOFError, ConnectionError) as error:
        raise DsrfauError(
            f"A {what} process died, most likely for want of memory or in a driver. Give fewer --workers; the same "
            "command continues with the shards that are missing."
        ) from error
    if isinstance(message, _Failure):
        raise message.error from RuntimeError(f"in a {what} process:\n{message.trace}")
    return message
