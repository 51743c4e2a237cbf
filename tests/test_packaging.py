"""What an installed package holds, which part of it may import which, and what the project's text may not say."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Folder of the repository of each part; `core` is the predictor without the commands.
FOLDERS = {
    "runtimes": ROOT / "runtimes",
    "export": ROOT / "export",
    "train": ROOT / "train",
    "core": ROOT / "dsrfau_edge",
}
GENERATED = {"__pycache__", "build", "dist"}


def imported(tree: ast.AST, module: str, *, package: bool) -> Iterator[str]:
    """Absolute names that a module imports anywhere in it, `from` names included (`a.b` of `from a import b`)."""
    home = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = home[: len(home) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def own_imports(part: str) -> Iterator[tuple[Path, str]]:
    """Files of a part, and what each imports of this package, without the package's name."""
    folder = FOLDERS[part]
    prefix = "dsrfau_edge" if part == "core" else f"dsrfau_edge.{part}"
    for path in sorted(folder.rglob("*.py")):
        inner = path.relative_to(folder).with_suffix("").parts
        if part == "core" and inner[0] == "cli":
            continue
        package = path.name == "__init__.py"
        module = ".".join([prefix, *(inner[:-1] if package else inner)])
        for name in imported(ast.parse(path.read_text(encoding="utf-8")), module, package=package):
            if name.split(".")[0] == "dsrfau_edge":
                yield path, name.partition(".")[2]


def test_imports_are_resolved_as_python_does():
    source = "import a.b\nfrom . import c\nfrom ..d import e\nfrom .f.g import h\ndef later():\n    from i import j\n"
    tree = ast.parse(source)
    assert list(imported(tree, "p.q.r", package=False)) == ["a.b", "p.q.c", "p.d.e", "p.q.f.g.h", "i.j"]
    assert list(imported(tree, "p.q", package=True)) == ["a.b", "p.q.c", "p.d.e", "p.q.f.g.h", "i.j"]


@pytest.mark.parametrize("part", ["runtimes", "export", "core"])
def test_imports_point_one_way(part):
    found = list(own_imports(part))
    assert found
    if part == "runtimes":
        wrong = [(path, name) for path, name in found if name.split(".")[0] not in {"errors", "runtimes"}]
    else:
        forbidden = {"core": {"export", "train"}, "export": {"train"}}[part]
        wrong = [(path, name) for path, name in found if name.split(".")[0] in forbidden]
    assert not wrong, "; ".join(f"{path.relative_to(ROOT)} imports {name}" for path, name in wrong)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy of the tree; setuptools would leave its build folder in the tree itself."""
    if not (ROOT / "setup.py").is_file():
        pytest.skip("no source tree to build a wheel from")
    for name, oldest in (("pip", 1), ("setuptools", 77)):  # imported here, setuptools would replace distutils
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "0"
        if int(version.split(".")[0]) < oldest:
            pytest.skip(f"{name}>={oldest} builds the wheel; here it is {version}")
    copy = tmp_path_factory.mktemp("tree") / "copy"
    copy.mkdir()
    ignored = shutil.ignore_patterns(*GENERATED, "*.egg-info")
    for folder in FOLDERS.values():
        shutil.copytree(folder, copy / folder.name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(copy.parent), str(copy)],
        check=False, capture_output=True, text=True, cwd=copy.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = copy.parent.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_module_and_file(wheel):
    needed = {
        "dsrfau_edge/py.typed",
        "dsrfau_edge/assets/portrait.jpg",
        "dsrfau_edge/assets/face/face_landmark.tflite",
        "dsrfau_edge/assets/face/face_detection_full_range.tflite",
        "dsrfau_edge/assets/face/face_detection_short_range.tflite",
        "dsrfau_edge/train/synthesis/calibration.json",
        "dsrfau_edge/train/synthesis/rigs/landmarks.json",
        "dsrfau_edge/train/synthesis/shaders/depth.vert",
        "dsrfau_edge/train/synthesis/shaders/face.frag",
        "dsrfau_edge/train/recipes/dsrfau-s.toml",
    }
    for part, folder in FOLDERS.items():
        inside = "dsrfau_edge" if part == "core" else f"dsrfau_edge/{part}"
        files = [*folder.rglob("*.py"), *((folder / "assets").rglob("*") if part == "core" else [])]
        needed |= {f"{inside}/{path.relative_to(folder).as_posix()}" for path in files if path.is_file()}
    assert not {name for name in needed if not GENERATED & set(name.split("/"))} - wheel


def test_the_wheel_installs_one_package(wheel):
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == {"dsrfau_edge"}


def tracked_files() -> list[Path]:
    """The project's files as git lists them."""
    try:
        listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("not a git checkout: which files are the project's is not known")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    if Path(__file__).resolve() not in files:
        pytest.skip("a copy inside another repository")
    return [path for path in files if path.is_file()]


def test_the_text_names_nothing_outside_the_project():
    outside = ("/".join(("", "work", "")), "/".join(("..", "shared")))  # where it is written, which nobody else has
    wrong = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or a model
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in outside if name in text]
    assert not wrong


def test_the_readme_is_filled_in():
    if not (ROOT / "README.md").is_file():
        pytest.skip("no README beside the tests")
    assert not re.findall("<<.*", (ROOT / "README.md").read_text(encoding="utf-8")), "a placeholder was left"
