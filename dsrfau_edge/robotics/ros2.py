"""`dsrfau-ros`: the ROS 2 node as a program, for any Python that sees a ROS installation."""

from __future__ import annotations

import os
import sys

import click

from dsrfau_edge.errors import RuntimeUnavailable

#: Packages of a ROS installation that the node imports.
PACKAGES = ("rclpy", "rcl_interfaces", "builtin_interfaces", "std_msgs", "sensor_msgs", "diagnostic_msgs", "hri_msgs")


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
    help="The ROS 2 lifecycle node: pictures in, ROS4HRI action units out. Arguments go to ROS, such as "
    "--ros-args -p autostart:=true -r image:=/camera/image_raw. docs/ros2.md has the parameters.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    try:
        from .ros2_node import spin
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        raise RuntimeUnavailable(_missing(package)) from error
    spin(["dsrfau-ros", *arguments])


def _missing(package: str) -> str:
    distribution = os.environ.get("ROS_DISTRO", "")
    if package != "hri_msgs" and not distribution:
        return (
            "The node needs ROS 2, which this shell does not know. Type: source /opt/ros/jazzy/setup.bash (or humble, "
            "kilted). Without ROS, dsrfau-predict --dds publishes the same topics."
        )
    version = ".".join(map(str, sys.version_info[:2]))
    return (
        f"The node needs {package}, which Python {version} ({sys.executable}) does not find. Install it: "
        f"sudo apt install ros-{distribution or '$ROS_DISTRO'}-{package.replace('_', '-')}. Where it is installed, "
        "use the Python version of that ROS (3.10 for Humble, 3.12 for Jazzy and Kilted)."
    )


def main() -> None:
    """The entry point `dsrfau-ros`, also of the ROS package."""
    from dsrfau_edge.cli.main import run

    run(command, "dsrfau-ros")
