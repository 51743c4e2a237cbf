"""What the wheels' benchmark makes of pip's answers, as recorded; nothing here asks the index."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPORT = json.dumps(
    {
        "version": "1",
        "pip_version": "23.2.1",
        "install": [
            {
                "download_info": {
                    "url": "https://index.example/a/onnxruntime-1.23.2-cp310-cp310-manylinux_2_28_aarch64.whl",
                    "archive_info": {"hashes": {}},
                },
                "is_direct": False,
                "requested": True,
                "metadata": {"metadata_version": "2.1", "name": "onnxruntime", "version": "1.23.2"},
            }
        ],
        "environment": {},
    }
)
NONE = (
    "ERROR: Could not find a version that satisfies the requirement cyclonedds>=11.0 (from versions: none)\n"
    "ERROR: No matching distribution found for cyclonedds>=11.0\n"
)


@pytest.fixture(scope="module")
def wheels():
    spec = importlib.util.spec_from_file_location("wheels_benchmark", ROOT / "benchmarks/wheels.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_answers_of_pip(wheels):
    file = "onnxruntime-1.23.2-cp310-cp310-manylinux_2_28_aarch64.whl"
    assert wheels.answer(0, REPORT, "") == wheels.Wheel("1.23.2", file)
    assert wheels.answer(1, "", NONE) is None
    with pytest.raises(RuntimeError, match="Temporary failure in name resolution"):
        wheels.answer(1, "", "ERROR: Temporary failure in name resolution")


def test_the_requirements_are_those_of_devices(wheels):
    pyproject = wheels.tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = wheels.requirements(pyproject)
    assert found["numpy>=1.24"] == ""
    assert set(found.values()) == set(wheels.EXTRAS)
    assert not any("python_version" in requirement or "torch" in requirement for requirement in found)


def test_pip_is_asked_for_the_other_machine_and_installs_nothing(wheels):
    words = wheels.command("numpy>=1.24", "3.10", "aarch64", "/nowhere")
    assert {"--dry-run", "--only-binary=:all:", "--no-deps", "--python-version=3.10"} <= set(words)
    assert "--platform=manylinux_2_28_aarch64" in words
    assert words[-1] == "numpy>=1.24"


def test_the_table(wheels, monkeypatch, capsys):
    def look_up(requirement, python, machine):
        assert machine == "aarch64"
        return None if requirement == "b" else wheels.Wheel(f"1.{python[2:]}", "a.whl")

    monkeypatch.setattr(wheels, "look_up", look_up)
    assert wheels.main(["a", "b", "--python", "3.10", "--python", "3.12"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| requirement | of | 3.10 | 3.12 |",
        "|---|---|---|---|",
        "| `a` | - | 1.10 | 1.12 |",
        "| `b` | - | none | none |",
    ]


@pytest.mark.parametrize("arguments", [["--python", "310"], ["--extra", "nonsense"]])
def test_wrong_options_end_with_2(wheels, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        wheels.main(arguments)
    assert "nonsense" in (err := capsys.readouterr().err) or "310" in err
