"""A package of somebody else adds a runtime: the one in docs/runtimes.md, really installed, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsrfau_edge.runtimes.foreign import Guarded, load_foreign

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "runtimes.md"
PREDICT = """
import sys, json
import numpy as np
from dsrfau_edge import Predictor
with Predictor(sys.argv[1], runtime=sys.argv[2]) as predictor:
    found = predictor.infer(np.full((2, 32, 32, 3), 102, np.uint8))
    rejected = [name for name, _, _ in predictor.selection.rejected]
    print(json.dumps([predictor.selection.runtime.name, found.intensities.tolist(), rejected]))
"""


DOCTOR = "from dsrfau_edge.cli.main import doctor_main; doctor_main()"


def project(folder: Path, name: str, module: str, points: dict[str, str]) -> Path:
    """A project of one module that registers runtimes."""
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(module, encoding="utf-8")
    lines = [
        "[build-system]",
        'requires = ["setuptools"]',
        'build-backend = "setuptools.build_meta"',
        "[project]",
        f'name = "{name.replace("_", "-")}"',
        'version = "1.0"',
        '[project.entry-points."dsrfau_edge.runtimes"]',
        *(f'{point} = "{value}"' for point, value in points.items()),
        "[tool.setuptools]",
        f'py-modules = ["{name}"]',
    ]
    (folder / "pyproject.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder


def install(source: Path, target: Path) -> None:
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=source)
    assert done.returncode == 0, done.stdout + done.stderr


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which three packages were installed: the guide's, one that breaks, one that takes our names."""
    for needed in ("pip", "setuptools"):  # looked for only: importing setuptools changes Python's own distutils
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed, and a package is built")
    folder = tmp_path_factory.mktemp("third_party")
    guide = folder / "guide"
    guide.mkdir()
    (guide / "dsrfau_acme.py").write_text(next(code for code in blocks("python") if "AcmeRuntime" in code))
    (guide / "pyproject.toml").write_text(next(code for code in blocks("toml") if "dsrfau-acme" in code))
    broken = "import a_library_that_is_not_there\n\nclass Runtime:\n    pass\n"
    taken = (
        "class Runtime:\n    name = 'onnxruntime'\n    def __init__(self):\n        raise RuntimeError('was asked')\n"
    )
    for source in (
        guide,
        project(folder / "broken", "acme_broken", broken, {"broken": "acme_broken:Runtime"}),
        project(folder / "taken", "acme_taken", taken, {"onnxruntime": "acme_taken:Runtime"}),
    ):
        install(source, folder / "site")
    return folder / "site"


def run(site: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def predict(site: Path, folder: Path, bundle: Path, runtime: str) -> Any:
    done = run(site, folder, "-c", PREDICT, bundle, runtime)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_predictor_computes_in_the_runtime_of_the_guide(site: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    name, intensities, rejected = predict(site, tmp_path, tiny_bundle, "acme")
    assert name == "acme"
    np.testing.assert_allclose(intensities, np.full((2, 5), 2.0))  # 102 / 51: what the guide's runtime makes of it
    assert "onnxruntime" in rejected


def test_it_is_not_chosen_before_ours(site: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    code = "import sys; from dsrfau_edge import Predictor; print(Predictor(sys.argv[1]).selection.runtime.name)"
    done = run(site, tmp_path, "-c", code, tiny_bundle)
    assert done.stdout.strip() in ("onnxruntime", "openvino"), done.stderr


def test_one_that_takes_the_name_of_ours_does_not_replace_it(site: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    name, intensities, rejected = predict(site, tmp_path, tiny_bundle, "onnxruntime")
    assert name == "onnxruntime"
    assert np.ptp(intensities, axis=1).min() > 0.01, "computed by the network, not by the other"
    assert {"acme", "broken"} <= set(rejected)


def test_doctor_lists_it_and_says_what_is_broken(site: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    done = run(site, tmp_path, "-c", DOCTOR, "--json", "--bundle", tiny_bundle)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["runtimes"]
    assert found["acme"]["ok"]
    assert found["acme"]["version"] == "1.0"
    assert found["onnxruntime"]["ok"]
    assert not found["broken"]["ok"]
    assert "a_library_that_is_not_there" in found["broken"]["reason"]
    assert "remove the package" in found["broken"]["fix"]


def test_a_device_it_does_not_have_is_refused_with_its_own_words(site: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    code = (
        "import sys; from dsrfau_edge import Predictor\n"
        "from dsrfau_edge.errors import RuntimeUnavailable\n"
        "try:\n    Predictor(sys.argv[1], runtime='acme', device='toaster')\n"
        "except RuntimeUnavailable as error:\n    print(error)"
    )
    done = run(site, tmp_path, "-c", code, tiny_bundle)
    assert "Acme has no device 'toaster'" in done.stdout, done.stderr


def test_the_guides_example_runs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    example = next(code for code in blocks("python") if "Bundle.open" in code)
    done = run(tmp_path, tmp_path, "-c", example)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in ("fp32", "int8")


class Point:
    """An entry point to whatever."""

    name, value = "acme", "acme:Runtime"

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def load(self) -> Any:
        return lambda: self._runtime


class Rude:
    """Keeps none of the protocol's promises."""

    name, formats = "another", ("onnx",)

    def availability(self, device: str | None = None) -> Any:
        raise ValueError("no\nidea")

    def load(self, *_: Any) -> Any:
        raise KeyError("gone")


def test_a_runtime_that_raises_where_it_must_not_is_a_reason() -> None:
    from types import SimpleNamespace

    from dsrfau_edge.errors import RuntimeUnavailable

    runtime = load_foreign(Point(Rude()))  # type: ignore[arg-type]
    assert isinstance(runtime, Guarded)
    assert runtime.name == "acme"
    assert "fails when asked: no." in runtime.availability().reason
    with pytest.raises(RuntimeUnavailable, match="could not load face: 'gone'"):
        runtime.load(SimpleNamespace(name="face"))  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [True, None, "yes"])
def test_an_answer_that_is_none_counts_as_no(answer: Any) -> None:
    rude = Rude()
    rude.availability = lambda device=None: answer  # type: ignore[method-assign]
    assert not load_foreign(Point(rude)).availability().ok  # type: ignore[arg-type]


def test_what_is_no_runtime_is_named() -> None:
    found = load_foreign(Point(object())).availability()  # type: ignore[arg-type]
    assert not found.ok
    assert "is no runtime" in found.reason
