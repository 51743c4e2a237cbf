"""The node in ROS 2: what of rclpy the logic in `node.py` stands on.

Importing this module needs a ROS installation that the shell knows.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import Field, fields
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from dsrfau_edge.errors import DsrfauError, UsageError
from dsrfau_edge.live.worker import Worker

from .messages import Message
from .node import FaceNode
from .node_settings import NodeSettings
from .node_status import Level, Status
from .ros2_messages import RosMessages, ros_types

NAME = "dsrfau_edge"
_TYPES = ros_types()
#: Best effort matches publishers of either kind; one picture, so that the newest wins on its way, too.
SENSOR = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
#: As `dsrfau-predict --dds` has it: readers that ask for reliable or best effort match, and late ones get the last 60.
MESSAGES = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=60,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
PICTURES = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.VOLATILE,
)


class DsrfauNode(LifecycleNode):  # type: ignore[misc]
    """Action units of faces, as ROS4HRI (REP-155) has them.

    Publishers are plain ones: they exist only while the node is active, and are made and destroyed by the thread that
    predicts, which must not meet rclpy's own walk through its managed entities.
    """

    def __init__(self, load: Callable[[NodeSettings], Any] = NodeSettings.load, **arguments: Any) -> None:
        """Declare the parameters; `load` makes the predictor, `arguments` are those of `rclpy.node.Node`."""
        super().__init__(NAME, **arguments)
        self._settings = NodeSettings(**self._declared())
        self.add_on_set_parameters_callback(self._on_parameters)
        self._logic = FaceNode(_RosGraph(self), load=load)
        self._worker: Worker | None = None
        self._working: Future[None] | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = self.create_timer(1.0, self._tick)

    @property
    def autostart(self) -> bool:
        """Whether it was asked to become active by itself."""
        return self._settings.autostart

    def on_configure(self, state: Any) -> Any:
        """Load the predictor; where that fails, stay unconfigured and say why."""
        del state
        try:
            with _Told(self):
                self._logic.configure(self._settings)
        except DsrfauError:
            return TransitionCallbackReturn.FAILURE
        self._worker = Worker("dsrfau faces")
        self._working = self._worker.submit(self._logic.run)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: Any) -> Any:
        """Subscribe and publish."""
        with _Told(self):
            self._logic.activate()
        return super().on_activate(state)

    def on_deactivate(self, state: Any) -> Any:
        """Say that all faces are gone, and destroy what the activation made."""
        with _Told(self):
            self._logic.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> Any:
        """Let the predictor go."""
        del state
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: Any) -> Any:
        """Let everything go, from any state."""
        del state
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: Any) -> Any:
        """Let everything go, and be unconfigured: it can be configured again."""
        del state
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def release(self) -> None:
        """Stop predicting and free the predictor. Calling it again does nothing."""
        with _Told(self):
            self._logic.cleanup(farewell=rclpy.ok(context=self.context))
        worker, self._worker, self._working = self._worker, None, None
        if worker is not None:
            worker.close()

    def _declared(self) -> dict[str, Any]:
        for item in fields(NodeSettings):
            self.declare_parameter(item.name, item.default, _descriptor(item))
        return {item.name: self.get_parameter(item.name).value for item in fields(NodeSettings)}

    def _on_parameters(self, parameters: list[Any]) -> Any:
        wanted = {parameter.name: parameter.value for parameter in parameters}
        try:
            settings = self._settings.changed(wanted, configured=self._logic.configured)
            self._logic.change(settings)
        except UsageError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._settings = settings
        return SetParametersResult(successful=True)

    def _tick(self) -> None:
        """Publish the status. Where the predicting thread has ended by an error, end with that error.

        Whoever started the node sees the failure and starts it again, which a node that lives on in silence would
        prevent.
        """
        working = self._working
        failed = working is not None and working.done() and working.exception() is not None
        status = self._logic.tick()
        if failed:
            status = Status(Level.ERROR, "predicting has failed; the log says why", status.values)
        self._diagnostics.publish(self._diagnostic(status))
        if failed and working is not None:
            working.result()

    def _diagnostic(self, status: Status) -> Any:
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        one = DiagnosticStatus(level=bytes([status.level]), name=f"{self.get_name()}: faces", message=status.message)
        one.values = [KeyValue(key=key, value=value) for key, value in status.values.items()]
        message.status = [one]
        return message


class _RosGraph:
    """`node_publishers.Graph` by rclpy."""

    def __init__(self, node: DsrfauNode) -> None:
        self._node, self._convert = node, RosMessages(_TYPES)

    def publisher(self, topic: str, kind: str) -> _RosPublisher:
        qos = PICTURES if kind.startswith("sensor_msgs/") else MESSAGES
        return _RosPublisher(self._node, self._node.create_publisher(_TYPES[kind], topic, qos), self._convert)

    def subscribe(self, topic: str, kind: str, callback: Callable[[Any], None]) -> _RosSubscription:
        return _RosSubscription(self._node, self._node.create_subscription(_TYPES[kind], topic, callback, SENSOR))

    def now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def warn(self, text: str) -> None:
        self._node.get_logger().warning(text)


class _RosPublisher:
    def __init__(self, node: DsrfauNode, publisher: Any, convert: RosMessages) -> None:
        self._node, self._publisher, self._convert = node, publisher, convert

    def publish(self, message: Message) -> None:
        self._publisher.publish(self._convert(message))

    def close(self) -> None:
        self._node.destroy_publisher(self._publisher)


class _RosSubscription:
    def __init__(self, node: DsrfauNode, subscription: Any) -> None:
        self._node, self._subscription = node, subscription

    def close(self) -> None:
        self._node.destroy_subscription(self._subscription)


class _Told:
    """Logs an error that passes through: rclpy turns those of transitions into a state and says nothing."""

    def __init__(self, node: DsrfauNode) -> None:
        self._node = node

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            known = isinstance(error, DsrfauError)
            self._node.get_logger().error(str(error) if known else f"{type(error).__name__}: {error}")


def _descriptor(item: Field[Any]) -> Any:
    """What `ros2 param describe` tells."""
    about, span, choices = (item.metadata[name] for name in ("about", "span", "choices"))
    descriptor = ParameterDescriptor(description=about)
    if choices:
        descriptor.additional_constraints = f"One of: {', '.join(choices)}."
    elif not item.metadata["live"]:
        descriptor.additional_constraints = "Changes only before the node is configured."
    if span is not None and isinstance(item.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=span[0], to_value=span[1], step=0.0)]
    elif span is not None:
        descriptor.integer_range = [IntegerRange(from_value=span[0], to_value=span[1], step=1)]
    return descriptor


def spin(arguments: list[str]) -> None:
    """Run the node until it is interrupted.

    Raises:
        UsageError: a parameter makes no sense.
    """
    rclpy.init(args=arguments)
    try:
        node = DsrfauNode()
        try:
            if node.autostart and node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                node.trigger_activate()
            rclpy.spin(node)
        except (KeyboardInterrupt, ExternalShutdownException):
            pass  # the usual end
        finally:
            node.release()
            node.destroy_node()
    finally:
        if rclpy.ok():
            rclpy.shutdown()
