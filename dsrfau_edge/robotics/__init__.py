"""Results as the messages that robots speak: ROS4HRI (REP-155) over DDS, Zenoh and MCAP, with or without ROS.

`FaceMessages` makes the messages and needs nothing but the package itself; what sends or records them is in modules of
their own, each of which imports its library and names the extra that holds it.
"""

from __future__ import annotations

from .face_messages import Batch, FaceMessages, MessageOptions, TopicMessage
from .messages import Header, Message, Time

__all__ = ["Batch", "FaceMessages", "Header", "Message", "MessageOptions", "Time", "TopicMessage"]
