"""Starts the node, and starts it again if it fails.

ros2 launch dsrfau_edge_ros faces.launch.py image:=/camera/image_raw
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue


def generate_launch_description() -> LaunchDescription:
    """The node by the name `dsrfau_edge`, configured and activated unless `autostart:=false`."""
    defaults = str(Path(get_package_share_directory("dsrfau_edge_ros")) / "config/faces.yaml")
    image = LaunchConfiguration("image")
    node = LifecycleNode(
        package="dsrfau_edge_ros",
        executable="faces",
        name="dsrfau_edge",
        namespace="",
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            {"autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool)},
        ],
        remappings=[("image", image), ("image/compressed", [image, "/compressed"])],
        respawn=True,
        respawn_delay=2.0,
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("image", default_value="/image", description="Topic of the camera's pictures."),
            DeclareLaunchArgument(
                "params_file", default_value=defaults, description="Parameters, as config/faces.yaml."
            ),
            DeclareLaunchArgument("autostart", default_value="true", description="Configure and activate at once."),
            node,
        ]
    )
