"""Asks the package index which of our requirements have wheels for small computers, and which version of each.

    python benchmarks/wheels.py                                   # aarch64 Linux, Python 3.10 to 3.13
    python benchmarks/wheels.py --machine x86_64 --python 3.12 --extra openvino
    python benchmarks/wheels.py "cuda-bindings<13" pycuda         # others

Nothing is installed; pip resolves each requirement for the other machine (`--dry-run`), for which it downloads what it
needs to read. glibc 2.35 is that of Ubuntu 22.04 (JetPack 6); Debian 12 (Raspberry Pi) and Ubuntu 24.04 have newer.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
#: What devices install; the others are for training and export, which workstations do.
EXTRAS = ("", "openvino", "tensorrt", "parquet", "viz", "dds", "mcap", "zenoh", "serve")
_GLIBC = range(17, 36)
_NONE = "No matching distribution found"


@dataclass(frozen=True, slots=True)
class Wheel:
    """What pip would install."""

    version: str
    file: str


def requirements(pyproject: dict[str, Any], extras: Iterable[str] = EXTRAS) -> dict[str, str]:
    """Requirements without those for old Pythons alone, each with the extra that asks for it first."""
    project = pyproject["project"]
    found: dict[str, str] = {}
    for extra in extras:
        listed = project["optional-dependencies"][extra] if extra else project["dependencies"]
        for requirement in listed:
            if ";" not in requirement:
                found.setdefault(requirement, extra)
    return found


def command(requirement: str, python: str, machine: str, target: str) -> list[str]:
    """The call of pip that resolves a requirement for another machine."""
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in reversed(_GLIBC)]
    return [
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"),
        *("--only-binary=:all:", f"--target={target}", "--report=-", f"--python-version={python}"),
        *platforms,
        f"--platform=manylinux2014_{machine}",
        requirement,
    ]


def answer(code: int, out: str, err: str) -> Wheel | None:
    """What pip's report says; None where there is no wheel.

    Raises:
        RuntimeError: pip failed for another reason, such as a network that is not there.
    """
    if code:
        if _NONE in err:
            return None
        raise RuntimeError(f"pip failed: {err.strip()[-400:]}")
    (one,) = json.loads(out)["install"]
    return Wheel(one["metadata"]["version"], one["download_info"]["url"].rpartition("/")[2])


def look_up(requirement: str, python: str, machine: str) -> Wheel | None:
    """Ask the index."""
    with tempfile.TemporaryDirectory() as target:
        done = subprocess.run(
            command(requirement, python, machine, target), capture_output=True, text=True, timeout=300, check=False
        )
    return answer(done.returncode, done.stdout, done.stderr)


def table(found: dict[str, dict[str, Wheel | None]], extras: dict[str, str], pythons: Sequence[str]) -> str:
    """A row a requirement, a column a Python: the version that has a wheel, or "none"."""
    lines = [
        f"| requirement | of | {' | '.join(pythons)} |",
        "|---|---|" + "---|" * len(pythons),
    ]
    for requirement, wheels in found.items():
        cells = [wheel.version if (wheel := wheels[python]) else "none" for python in pythons]
        lines.append(f"| `{requirement}` | {extras[requirement] or 'base'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requirement", nargs="*", help="ask for these instead of our own")
    parser.add_argument("--machine", default="aarch64", help="as `uname -m` tells it (default: %(default)s)")
    parser.add_argument("--python", action="append", help="version; may be given again (default: 3.10 to 3.13)")
    parser.add_argument("--extra", action="append", help="extra; may be given again (default: those for devices)")
    options = parser.parse_args(arguments)
    pythons = tuple(options.python or PYTHONS)
    if wrong := [python for python in pythons if not re.fullmatch(r"3\.\d+", python)]:
        parser.error(f"{wrong[0]} is no version of Python; give one such as 3.12")
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = ("", *pyproject["project"]["optional-dependencies"])
    if wrong := [extra for extra in options.extra or () if extra not in known]:
        parser.error(f"there is no extra {wrong[0]}; known: {', '.join(known[1:])}")
    asked = dict.fromkeys(options.requirement, "-") or requirements(pyproject, options.extra or EXTRAS)
    found: dict[str, dict[str, Wheel | None]] = {}
    for requirement in asked:
        found[requirement] = {python: look_up(requirement, python, options.machine) for python in pythons}
        print(f"{requirement}: {found[requirement]}", file=sys.stderr)
    print(
        f"Wheels for {options.machine} Linux (glibc 2.35), {datetime.datetime.now(tz=datetime.timezone.utc):%Y-%m-%d}\n"
    )
    print(table(found, asked, pythons))
    return 0


if __name__ == "__main__":
    sys.exit(main())
