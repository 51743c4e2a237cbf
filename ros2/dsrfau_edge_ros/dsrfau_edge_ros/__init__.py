"""The ROS package of dsrfau-edge; the node itself is `dsrfau_edge.robotics.ros2_node`."""
