"""Which names of TensorRT's Python API our modules use, and which versions of the real bindings have them.

The bindings' wheels on the package index hold the compiled Python module without the libraries behind it. Empty
libraries of the same names, made with the C compiler, let it be imported, which is enough to list what it has:

    pip download --no-deps -d WHEELS tensorrt-cu12-bindings==10.3.0
    pip download --no-deps -d WHEELS tensorrt-cu12-bindings==10.16.1.11
    pip download --no-deps -d WHEELS tensorrt-cu13-bindings==11.4.0.106
    python tests/runtimes/list_tensorrt_names.py WHEELS      # writes tensorrt_names.json beside itself
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = (*sorted((ROOT / "runtimes").glob("tensorrt*.py")), ROOT / "runtimes" / "timing_cache.py",
         ROOT / "export" / "targets" / "tensorrt.py")  # fmt: skip
JSON = Path(__file__).with_name("tensorrt_names.json")
#: Class of what we call so, whatever stands before it (`self._context`), and of what a method returns.
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "runtime_config": "IRuntimeConfig",
    "get_layer": "ILayer",
    "get_input": "ITensor",
    "get_error": "ParserError",
    "create_engine_inspector": "EngineInspector",
}
_STUBS = """
void *createInferBuilder_INTERNAL() { return 0; }   void *createInferRefitter_INTERNAL() { return 0; }
void *createInferRuntime_INTERNAL() { return 0; }   void *createNvOnnxParser_INTERNAL() { return 0; }
void *createNvOnnxParserRefitter_INTERNAL() { return 0; }   void *getBuilderPluginRegistry() { return 0; }
void *getPluginRegistry() { return 0; }   int getNvOnnxParserVersion() { return 0; }
int initLibNvInferPlugins() { return 0; }
"""
_LIST = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("tensorrt", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps({name: dir(getattr(module, name)) for name in dir(module)}))
"""


def used_names(sources: list[str]) -> set[str]:
    """Names of the API as `BuilderFlag.TF32` or `IBuilderConfig.set_flag`, found in the sources' syntax trees."""
    return {name for source in sources for node in ast.walk(ast.parse(source)) for name in _names(node)}


def _names(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
        return
    owner = _owner(node.value)
    if owner is not None:
        yield f"{owner}.{node.attr}".lstrip(".")


def _owner(value: ast.expr) -> str | None:
    """Class that an expression is or is an instance of; "" for the module itself."""
    if isinstance(value, ast.Call):
        value = value.func
    if isinstance(value, ast.Attribute) and _owner(value.value) == "":
        return value.attr  # trt.BuilderFlag
    word = value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
    return "" if word == "trt" else CLASSES.get(word.lstrip("_"))


def has(names: dict[str, list[str]], name: str) -> bool:
    """Whether a module that lists as `names` (members by name) has a name."""
    owner, _, member = name.partition(".")
    return owner in names and (not member or member in names[owner])


def listed(wheel: Path) -> tuple[str, dict[str, list[str]]]:
    """Version of a wheel of the bindings, and the members of all that its module has."""
    version = re.sub(r"^(\d+\.\d+\.\d+).*", r"\1", wheel.name.split("-")[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zipfile.ZipFile(wheel).extractall(folder)
        (folder / "stubs.c").write_text(_STUBS)
        major = version.split(".")[0]
        for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
            file = f"lib{library}.so.{major}"
            command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", folder / file, folder / "stubs.c"]
            subprocess.run(command, check=True)
        module = folder / "tensorrt_bindings" / "tensorrt.so"
        environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
        done = subprocess.run(
            [sys.executable, "-c", _LIST, module], check=True, env=environment, capture_output=True, text=True
        )
        names: dict[str, list[str]] = json.loads(done.stdout)
        tree = ast.parse((folder / "tensorrt_bindings" / "__init__.py").read_text())
        names |= {node.name: [] for node in tree.body if isinstance(node, ast.FunctionDef)}
    return version, names


def main(folder: Path) -> None:
    """Write the list."""
    found = dict(listed(wheel) for wheel in sorted(folder.glob("tensorrt_cu*_bindings-*.whl")))
    versions = sorted(found, key=lambda version: [int(part) for part in version.split(".")])
    used = sorted(used_names([file.read_text() for file in FILES]))
    table = {name: [version for version in versions if has(found[version], name)] for name in used}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(table[name])}" for name in used)
    JSON.write_text(f'{{"versions": {json.dumps(versions)},\n "names": {{\n{lines}\n }}}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
