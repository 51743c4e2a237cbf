"""Installs the ROS package: program, launch file and parameters. dsrfau-edge itself comes from pip."""

from setuptools import setup

NAME = "dsrfau_edge_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", ["launch/faces.launch.py"]),
        (f"share/{NAME}/config", ["config/faces.yaml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    entry_points={"console_scripts": [f"faces = {NAME}.node:main"]},
)
