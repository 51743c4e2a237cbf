"""Maps the repository's top-level folders into one installed package; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

PACKAGE_DIR = {
    "dsrfau_edge": "dsrfau_edge",
    "dsrfau_edge.train": "train",
    "dsrfau_edge.export": "export",
    "dsrfau_edge.runtimes": "runtimes",
}

packages = [
    package if not subpackage else f"{package}.{subpackage}"
    for package, folder in PACKAGE_DIR.items()
    for subpackage in ["", *find_packages(folder)]
]

setup(package_dir=PACKAGE_DIR, packages=packages)
