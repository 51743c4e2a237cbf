"""Importing the package must stay instant and must not load what only training or other runtimes need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "nncf",
    "lightning",
    "moderngl",
    "anny",
}


def loaded_by(statement):
    """Top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import dsrfau_edge",
        "from dsrfau_edge import Predictor",
        "from dsrfau_edge import Face",
        "import dsrfau_edge.stream, dsrfau_edge.drawing, dsrfau_edge.cli.predict",
        "import dsrfau_edge.runtimes.registry as r; r.runtimes()",
        "from dsrfau_edge.cli.main import dsrfau",
    ],
)
def test_no_heavy_module_is_loaded(statement):
    assert not loaded_by(statement) & HEAVY


def test_the_bare_import_loads_neither_opencv_nor_numpy():
    assert not loaded_by("import dsrfau_edge") & {"cv2", "numpy", "click"}


def test_help_needs_no_opencv():
    start = "from dsrfau_edge.cli.main import run"
    statement = f"{start}\ntry:\n run('predict', 'dsrfau-predict', ['--help'])\nexcept SystemExit:\n pass"
    assert not loaded_by(statement) & (HEAVY | {"cv2"})


def test_a_predictor_loads_the_runtime_it_uses_and_no_other():
    for name in ("onnxruntime", "openvino"):
        pytest.importorskip(name)
        loaded = loaded_by(f"from dsrfau_edge import Predictor; Predictor(runtime={name!r}).close()")
        assert name in loaded
        assert not loaded & (HEAVY - {name})
