"""The example in the documentation runs, and the options it names are the command's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsrfau_edge.train.evaluation.groups import KEYS
from dsrfau_edge.train.evaluation.nuisances import NUISANCES

PAGE = Path(__file__).parents[3] / "docs" / "evaluation.md"


def test_the_example_runs(capsys):
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, scope)
    assert scope["change"].mean["mae"].high < 0, "the second is the better one"
    assert capsys.readouterr().out.startswith("0.9")


@pytest.mark.parametrize("name", [*KEYS, *NUISANCES])
def test_keys_and_nuisances_are_explained(name):
    assert re.search(rf"^\| [^|]*`{name}`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_options_are_the_commands():
    from dsrfau_edge.cli.eval import command

    known = {spelling for param in command.params for spelling in param.opts}
    named = set(re.findall(r"(--[a-z]+)", PAGE.read_text(encoding="utf-8")))
    assert named <= known
    assert {"--by", "--nuisance", "--bootstrap", "--protocol", "--report", "--runtime"} <= named
