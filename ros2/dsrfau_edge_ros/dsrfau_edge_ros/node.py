"""What `ros2 run dsrfau_edge_ros faces` starts."""

from dsrfau_edge.robotics.ros2 import main

__all__ = ["main"]
