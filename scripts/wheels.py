"""For which Pythons there are wheels of what this package needs, on another kind of machine.

    python scripts/wheels.py                                  # aarch64 Linux: Jetson, Raspberry Pi
    python scripts/wheels.py --machine x86_64 --glibc 2.28

Asks the package index through `pip download --only-binary`, as an installation there would, for each requirement in
pyproject.toml; only the newest fitting wheel is fetched, without what it needs itself, into a folder that is deleted.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
#: Extras for building and testing the project itself.
_LEFT_OUT = ("dev",)
#: Answers whether there is a wheel of a requirement for a Python: its version, or None.
Ask = Callable[[str, str], "str | None"]


def requirements(text: str) -> dict[str, list[str]]:
    """Requirements by extra ("" for those of every installation) from the text of pyproject.toml."""
    main = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    extras = re.search(r"^\[project\.optional-dependencies\]\n(.*?)^\[", text, re.DOTALL | re.MULTILINE)
    if main is None or extras is None:
        raise SystemExit("pyproject.toml holds no dependencies where they are expected")
    found = {"": re.findall(r'"([^"]+)"', main[1])}
    for name, block in re.findall(r"^(\w+) = \[(.*?)\]", extras[1], re.DOTALL | re.MULTILINE):
        if name not in _LEFT_OUT:
            found[name] = [one.split(";")[0].strip() for one in re.findall(r'"([^"]+)"', block)]
    return found


def tags(machine: str, glibc: str) -> list[str]:
    """Platform tags that a Linux with this glibc takes, as pip names them."""
    major, minor = (int(part) for part in glibc.split("."))
    new = [f"manylinux_{major}_{number}_{machine}" for number in range(minor, 16, -1)]
    return [*new, f"manylinux2014_{machine}", f"linux_{machine}", "any"]


def command(requirement: str, python: str, platforms: Sequence[str], folder: str) -> list[str]:
    """The line of pip that asks for one wheel."""
    short = python.replace(".", "")
    line = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    line += ["--only-binary", ":all:", "--python-version", python, "--implementation", "cp", "-d", folder]
    for abi in (f"cp{short}", "abi3", "none"):
        line += ["--abi", abi]
    for platform in platforms:
        line += ["--platform", platform]
    return [*line, requirement]


def ask_index(platforms: Sequence[str]) -> Ask:
    """Ask the index that pip is set up for."""

    def ask(requirement: str, python: str) -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(command(requirement, python, platforms, folder), capture_output=True, text=True)
            wheels = sorted(Path(folder).glob("*.whl"))
        if wheels:
            return wheels[0].name.split("-")[1]
        if "No matching distribution" in done.stderr or "from versions: none" in done.stderr:
            return None
        raise SystemExit(f"pip cannot tell whether there is {requirement}: {done.stderr.strip().splitlines()[-1:]}")

    return ask


def table(wanted: Mapping[str, Sequence[str]], ask: Ask, pythons: Sequence[str] = PYTHONS) -> str:
    """Markdown: a row a requirement, a column a Python."""
    places: dict[str, list[str]] = {}
    for extra, needed in wanted.items():
        for one in needed:
            places.setdefault(one, []).append(extra or "always")
    lines = [f"| requirement | for | {' | '.join(pythons)} |", "|---|---|" + "---|" * len(pythons)]
    for one, extras in places.items():
        cells = [ask(one, python) or "**none**" for python in pythons]
        lines.append(f"| `{one}` | {', '.join(extras)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", default="aarch64", help="as `uname -m` says there")
    parser.add_argument("--glibc", default="2.35", help="of the system there; 2.35: Ubuntu 22.04, JetPack 6")
    parser.add_argument("--extra", action="append", help="ask for these extras only")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"2\.\d+", options.glibc):
        parser.error(f"--glibc {options.glibc}: give a version such as 2.35")
    wanted = requirements(PROJECT.read_text(encoding="utf-8"))
    unknown = set(options.extra or ()) - set(wanted)
    if unknown:
        parser.error(f"there is no extra {', '.join(sorted(unknown))}; there are {', '.join(filter(None, wanted))}")
    chosen = {name: needed for name, needed in wanted.items() if not options.extra or name in options.extra}
    print(table(chosen, ask_index(tags(options.machine, options.glibc))))


if __name__ == "__main__":
    main()
