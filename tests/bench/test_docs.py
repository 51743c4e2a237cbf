"""The documentation names every option of the two commands, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsrfau_edge.bench.comparison import FIGURES
from dsrfau_edge.bench.timing import Span, WarmUpRule
from dsrfau_edge.cli import bench, doctor
from dsrfau_edge.cli.bench import _FIGURES, _PRECISIONS
from dsrfau_edge.cli.bench import command as bench_command
from dsrfau_edge.cli.doctor import command as doctor_command

TEXT = (Path(__file__).parents[2] / "docs" / "bench.md").read_text(encoding="utf-8")
SHARED = {"--help", "--verbose", "--quiet", "--version"}


def options(command):
    return {name for param in command.params for name in param.opts if name.startswith("--")} - SHARED


def test_options():
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", TEXT))
    assert named <= options(bench_command) | options(doctor_command)
    assert options(bench_command) - named == {"--output"}  # which stands there as -o
    assert options(doctor_command) <= named


def test_choices_are_those_of_the_code():
    from dsrfau_edge.bench.candidates import PRECISIONS

    assert tuple(FIGURES) == _FIGURES
    assert PRECISIONS == _PRECISIONS
    for figure in set(FIGURES) - {"p90"}:
        assert f"`{figure}`" in TEXT


def test_numbers_of_the_rule():
    rule, span = WarmUpRule(), Span()
    assert f"at least {rule.calls} calls and {rule.seconds:g} s" in TEXT
    assert f"differ by at most {100 * rule.tolerance:g} %. After {rule.limit:g} s" in TEXT
    assert f"{span.calls:,} or {span.seconds:g} seconds of them" in TEXT
    assert f"at least {span.least}" in TEXT


@pytest.mark.parametrize("module", [bench, doctor])
def test_exit_codes_are_in_the_help(module):
    assert "Exit codes:" in module.command.epilog
