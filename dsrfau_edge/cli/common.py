"""What the commands share: notes on stderr, and output that is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from dsrfau_edge.errors import RuntimeUnavailable

Function = TypeVar("Function", bound=Callable[..., Any])


def recipe_options(function: Function) -> Function:
    """Which recipe a training command follows: `recipe`, `settings` and `seed`."""
    for option in (
        click.option("--seed", default=0, show_default=True, help="Seed of weights, order and augmentation."),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace one value of the recipe."),
        click.option(
            "--recipe",
            default="dsrfau-s",
            show_default=True,
            metavar="NAME|FILE",
            help="A recipe that comes with the package, or a file (TOML).",
        ),
    ):
        function = option(function)
    return function


def require_training() -> None:
    """Turn a missing extra into an error that names the command to type.

    Raises:
        RuntimeUnavailable: one of training's packages is not installed.
    """
    try:
        import lightning  # noqa: F401
        import onnxscript  # noqa: F401
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailable(
            f"Training needs packages that are not installed ({error.name}). Type `pip install 'dsrfau-edge[train]'` "
            "(on a machine without a GPU, install the CPU build of torch first)."
        ) from error


def note(text: str) -> None:
    """Say something on stderr, unless -q was given."""
    if logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING):
        click.echo(text, err=True)


@contextlib.contextmanager
def text_output(path: Path | None) -> Iterator[TextIO]:
    """Where data go: stdout, or a file that appears under its name when it is complete.

    An interrupted command leaves what it has, which for a camera is all there ever is; an error leaves nothing.
    """
    if path is None or str(path) == "-":
        yield sys.stdout
        return
    if path.exists() and not path.is_file():  # a folder fails here; a pipe or device is no file to replace
        with path.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    with replaced(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        yield stream
        _store(stream)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to; it takes that name in the end, unless an error comes up or it is empty."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".part{path.suffix}", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        try:
            yield part
        except KeyboardInterrupt:
            _keep(part, path)
            raise
        _keep(part, path)
    finally:
        part.unlink(missing_ok=True)


def _keep(part: Path, path: Path) -> None:
    if part.stat().st_size:
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner reads
        part.replace(path)


def _store(stream: TextIO) -> None:
    stream.flush()
    with contextlib.suppress(io.UnsupportedOperation):
        os.fsync(stream.fileno())


class Progress:
    """A line on stderr that says what is being done; silent where stderr is no terminal."""

    def __init__(self, *, wanted: bool = True) -> None:
        terminal = sys.stderr.isatty() and logging.getLogger("dsrfau_edge").isEnabledFor(logging.WARNING)
        self._shown = wanted and terminal

    def share(self, what: str, done: float) -> None:
        """Show what is being done, and which share of it (0..1) is, where that is known."""
        if self._shown:
            click.echo(f"\r\x1b[K{what}{f' {100 * done:.0f} %' if done else ''}", nl=False, err=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
