"""`docs/training.md` names every field of a recipe with its default, every recipe, protocol and option."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the train extra")

from dsrfau_edge.cli.train import command  # noqa: E402
from dsrfau_edge.train.data.splits import PROTOCOLS  # noqa: E402
from dsrfau_edge.train.networks.heatmap import BACKBONES, UPSAMPLERS  # noqa: E402
from dsrfau_edge.train.networks.upsampler import STAGES  # noqa: E402
from dsrfau_edge.train.recipes import Recipe, load_recipe  # noqa: E402
from dsrfau_edge.train.recipes.recipe import recipe_names  # noqa: E402

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"
pytestmark = pytest.mark.skipif(not DOCUMENT.is_file(), reason="no docs beside the tests")


@pytest.fixture(scope="module")
def text():
    return DOCUMENT.read_text(encoding="utf-8")


def leaves(part, prefix=""):
    """Dotted names and defaults of a recipe's values."""
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


def toml(value):
    """A value as a recipe file writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def test_every_field_with_its_default_and_no_other(text):
    documented = dict(re.findall(r"^\| `([\w.]+)` \| `(.+?)` \| \S", text, re.MULTILINE))
    expected = {}
    for name, value in leaves(Recipe()):
        role = re.sub(r"^(teacher|student)\.", "ROLE.", name)
        assert expected.setdefault(role, toml(value)) == toml(value), "both roles have the same defaults"
    assert documented == expected


def test_names(text):
    for name in (*recipe_names(), *PROTOCOLS, *BACKBONES, *UPSAMPLERS, *STAGES):
        assert f"`{name}`" in text, name


def test_options(text):
    for role in ("all", "teacher", "student", "summary", "qat"):
        for parameter in command.commands[role].params:
            options = [option for option in parameter.opts if option.startswith("--")]
            if not options or options[0] in ("--json", "--verbose", "--quiet", "--version"):
                continue  # of every command, the last three once the programs' entry has been loaded
            spelled = [option for option in (*parameter.opts, *parameter.secondary_opts) if option in text]
            assert spelled or options == ["--runs"], f"{role}: {parameter.opts}"


def test_settings_of_the_examples_are_settings(text):
    found = [quoted or bare for quoted, bare in re.findall(r"--set (?:'([^']+)'|([a-z_.]+=\S+))", text)]
    assert len(found) >= 4
    for setting in found:
        load_recipe("dsrfau-s", [setting.replace("$fold", "0")])


def test_links_lead_somewhere(text):
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (DOCUMENT.parent / target).is_file(), target
    for path in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (DOCUMENT.parents[1] / path).is_file(), path
