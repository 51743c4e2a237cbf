"""The command `dsrfau` with its verbs, and one entry point per verb (`dsrfau-predict`, …).

Verbs are imported when they are used. Everything that ends a command ends here: one place turns errors into a message
and an exit code.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from typing import NoReturn

import click

from dsrfau_edge import __version__
from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable

#: What a verb does, and the extra that holds its packages ("" where the base install is enough).
VERBS: Mapping[str, tuple[str, str]] = {
    "predict": ("Estimate AU intensities of the faces in pictures, folders, videos and cameras.", ""),
    "serve": ("Serve the AU intensities of one or several cameras, and stay up.", ""),
    "doctor": ("Examine this device, its runtimes, and which of them would run a bundle.", ""),
    "export": ("Export a checkpoint or bundle to ONNX, OpenVINO or TensorRT.", "export"),
    "train": ("Train a teacher and distil a student from it.", "train"),
    "eval": ("Evaluate a checkpoint or bundle on labelled data.", "train"),
    "synth": ("Render faces with known AU intensities.", "synth"),
    "bench": ("Measure the speed of bundles on this device.", ""),
    "demo": ("Predict the sample portrait, export the bundled student to every target, compare.", "export"),
}
EXIT_CODES = (
    "Exit codes: 0 ok · 1 failed · 2 usage · 3 backend missing or incompatible · 4 verification or accuracy gate "
    "failed · 5 input unreadable · 130 interrupted."
)
_INTERRUPTED = 130


class _Verbs(click.Group):
    """A group that imports a verb only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        return _load(cmd_name) if cmd_name in VERBS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(verb, about) for verb, (about, _) in VERBS.items()])


def _set_verbosity(ctx: click.Context, param: click.Parameter, value: int) -> None:
    """Add up -v and -q wherever they stand, before or after the verb."""
    state = ctx.find_root().ensure_object(dict)
    state["verbosity"] = state.get("verbosity", 0) + (value if param.name == "verbose" else -value)
    level = {0: logging.WARNING, 1: logging.INFO}.get(state["verbosity"])
    if level is None:
        level = logging.DEBUG if state["verbosity"] > 0 else logging.ERROR
    logging.getLogger("dsrfau_edge").setLevel(level)


def _with_shared_options(command: click.Command) -> click.Command:
    """Give a command -v, -q and --version, which all of them have, unless it brings its own."""
    taken = {spelling for param in command.params for spelling in param.opts}
    shared = (
        click.option("-v", "--verbose", count=True, expose_value=False, callback=_set_verbosity,
                     help="Say more on stderr; tracebacks of errors too. Twice: everything."),
        click.option("-q", "--quiet", count=True, expose_value=False, callback=_set_verbosity,
                     help="Say nothing on stderr but errors."),
        click.version_option(__version__, prog_name="dsrfau-edge"),
    )  # fmt: skip
    for spelling, option in zip(("--verbose", "--quiet", "--version"), shared, strict=True):
        if spelling not in taken:
            option(command)
    for verb in getattr(command, "commands", {}).values():
        _with_shared_options(verb)
    return command


def _load(verb: str) -> click.Command:
    command = importlib.import_module(f"dsrfau_edge.cli.{verb}").command
    if not isinstance(command, click.Command):
        raise TypeError(f"dsrfau_edge.cli.{verb}.command is not a click command")
    return _with_shared_options(command)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Facial action-unit intensity on the device: train, export, predict.",
    epilog=EXIT_CODES,
)
def dsrfau() -> None:
    pass


_with_shared_options(dsrfau)


def run(command: click.Command | str, name: str, arguments: list[str] | None = None) -> NoReturn:
    """Run a command, or the verb of this name, to its end and leave with its exit code."""
    # The codecs of OpenCV write to stderr past Python; what matters of it is in our own messages.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    verb = command if isinstance(command, str) else ""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.getLogger("dsrfau_edge").addHandler(handler)
    try:
        loaded = _load(verb) if isinstance(command, str) else command
        code = loaded.main(arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader (`| head`) has had enough. What is still buffered must not fail at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:  # the one place where an error of any kind becomes a message
        if logging.getLogger("dsrfau_edge").isEnabledFor(logging.INFO):
            traceback.print_exc()
        message, code = _explain(error, verb or _verb_of(arguments))
        _say(f"error: {message}")
        sys.exit(code)
    finally:
        logging.getLogger("dsrfau_edge").removeHandler(handler)
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception, verb: str) -> tuple[str, int]:
    """What, why and how to fix it, and the exit code."""
    if isinstance(error, DsrfauError):
        return str(error), error.exit_code
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("dsrfau_edge"):
        extra = VERBS.get(verb, ("", ""))[1]
        package = f"'dsrfau-edge[{extra}]'" if extra else f"{error.name}"
        return (
            f"This command needs {error.name}, which is not installed. Install it: pip install {package}",
            RuntimeUnavailable.exit_code,
        )
    if isinstance(error, ImportError) and not (error.name or "").startswith("dsrfau_edge"):
        return _explain_broken(error, verb), RuntimeUnavailable.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}. Check the path, its permissions and the free space.", 1
    if isinstance(error, MemoryError):
        return "There is not enough memory. Give smaller pictures or fewer at once.", 1
    kind = type(error).__name__
    return f"{kind}: {error}. This is a defect of dsrfau-edge; run again with -v to see where, and report it.", 1


def _explain_broken(error: ImportError, verb: str) -> str:
    """What is wrong with a package that is there and does not load."""
    package, reason = (error.name or "").partition(".")[0], str(error).rstrip(".")
    opencv = package == "cv2" or (not package and any(name in reason for name in ("libGL", "libgthread")))
    if opencv and ".so" in reason:
        return (
            f"OpenCV is installed but lacks a library of the system: {reason}. Install it (apt-get install libgl1 "
            "libglib2.0-0), or use the OpenCV that needs none: pip uninstall opencv-python, then pip install "
            "opencv-python-headless"
        )
    extra = VERBS.get(verb, ("", ""))[1]
    ours = f"'dsrfau-edge[{extra}]'" if extra else "dsrfau-edge"
    return (
        f"This command needs {package or 'a package'}, which is installed but does not load: {reason}. Install it "
        f"again: pip install --force-reinstall {ours}"
    )


def _verb_of(arguments: list[str] | None) -> str:
    given = sys.argv[1:] if arguments is None else arguments
    return next((argument for argument in given if argument in VERBS), "")


def _say(text: str) -> None:
    click.echo(text, err=True)


def main() -> NoReturn:
    """`dsrfau`."""
    run(dsrfau, "dsrfau")


def predict_main() -> NoReturn:
    """`dsrfau-predict`."""
    run("predict", "dsrfau-predict")


def serve_main() -> NoReturn:
    """`dsrfau-serve`."""
    run("serve", "dsrfau-serve")


def doctor_main() -> NoReturn:
    """`dsrfau-doctor`."""
    run("doctor", "dsrfau-doctor")


def export_main() -> NoReturn:
    """`dsrfau-export`."""
    run("export", "dsrfau-export")


def train_main() -> NoReturn:
    """`dsrfau-train`."""
    run("train", "dsrfau-train")


def eval_main() -> NoReturn:
    """`dsrfau-eval`."""
    run("eval", "dsrfau-eval")


def synth_main() -> NoReturn:
    """`dsrfau-synth`."""
    run("synth", "dsrfau-synth")


def bench_main() -> NoReturn:
    """`dsrfau-bench`."""
    run("bench", "dsrfau-bench")
