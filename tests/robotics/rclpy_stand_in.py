"""A STAND-IN for rclpy and the message packages: no ROS is installed where these tests run.

It is written after the sources of rclpy (Humble to Rolling) and refuses what they refuse: parameters not declared,
of another type or out of their range; names that are no topics; messages whose fields do not fit; publishing on a
destroyed publisher or after the shutdown; transitions that a state does not have. Queues, reliability and durability
decide as in DDS who gets what. Time stands still unless it is advanced. Nothing is sent anywhere, so that it proves
nothing about discovery, a real middleware or timing.
"""

from __future__ import annotations

import array
import enum
import inspect
import math
import re
import sys
import types
from collections import deque
from types import SimpleNamespace

import numpy as np

# Messages, with the checks of rosidl's Python classes.

_INTEGERS = {"uint8": (0, 2**8), "int32": (-(2**31), 2**31), "uint32": (0, 2**32), "int64": (-(2**63), 2**63)}
_FIELDS = {
    "builtin_interfaces/Time": "int32 sec, uint32 nanosec",
    "std_msgs/Header": "builtin_interfaces/Time stamp, string frame_id",
    "hri_msgs/FacialActionUnits": "std_msgs/Header header, float32[99] intensity, float32[99] confidence",
    "hri_msgs/IdsList": "std_msgs/Header header, string[] ids",
    "hri_msgs/NormalizedRegionOfInterest2D": (
        "std_msgs/Header header, float32 xmin, float32 ymin, float32 xmax, float32 ymax, float32 c"
    ),
    "hri_msgs/NormalizedPointOfInterest2D": "float32 x, float32 y, float32 c",
    "hri_msgs/FacialLandmarks": (
        "std_msgs/Header header, hri_msgs/NormalizedPointOfInterest2D[70] landmarks, uint32 height, uint32 width"
    ),
    "sensor_msgs/Image": (
        "std_msgs/Header header, uint32 height, uint32 width, string encoding, uint8 is_bigendian, uint32 step, "
        "uint8[] data"
    ),
    "sensor_msgs/CompressedImage": "std_msgs/Header header, string format, uint8[] data",
    "diagnostic_msgs/KeyValue": "string key, string value",
    "diagnostic_msgs/DiagnosticStatus": (
        "byte level, string name, string message, string hardware_id, diagnostic_msgs/KeyValue[] values"
    ),
    "diagnostic_msgs/DiagnosticArray": "std_msgs/Header header, diagnostic_msgs/DiagnosticStatus[] status",
    "rcl_interfaces/FloatingPointRange": "float64 from_value, float64 to_value, float64 step",
    "rcl_interfaces/IntegerRange": "int64 from_value, int64 to_value, int64 step",
    "rcl_interfaces/ParameterDescriptor": (
        "string name, uint8 type, string description, string additional_constraints, bool read_only, "
        "bool dynamic_typing, rcl_interfaces/FloatingPointRange[] floating_point_range, "
        "rcl_interfaces/IntegerRange[] integer_range"
    ),
    "rcl_interfaces/SetParametersResult": "bool successful, string reason",
}
TYPES: dict[str, type] = {}


def _fits(value, kind):
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        return isinstance(value, int) and not isinstance(value, bool) and low <= value < high
    if kind in ("float32", "float64"):
        return isinstance(value, float)
    return isinstance(value, {"string": str, "bool": bool}.get(kind) or TYPES[kind])


def _checked(name, kind, value):
    base, _, count = kind.rstrip("]").partition("[")
    if kind == "byte":
        assert isinstance(value, bytes), name
        assert len(value) == 1, name
    elif "[" not in kind:
        assert _fits(value, base), f"{name} must be a {base}, not {value!r}"
    elif base == "uint8":
        assert isinstance(value, (array.array, bytes)), name
        value = array.array("B", value)
    elif base == "float32":
        assert not isinstance(value, np.ndarray) or value.dtype == np.float32, name
        assert len(value) == int(count), name
        value = np.array(value, np.float32)
    else:
        assert isinstance(value, (list, tuple)), name
        assert all(_fits(item, base) for item in value), name
        assert not count or len(value) == int(count), name
    return value


def _default(kind):
    base, _, count = kind.rstrip("]").partition("[")
    if "[" in kind:
        if base in ("float32", "uint8"):
            return [0.0] * int(count) if count else b""
        return [TYPES[base]() for _ in range(int(count or 0))]
    plain = {"string": "", "bool": False, "byte": b"\0", "float32": 0.0, "float64": 0.0}
    return plain.get(kind, 0) if kind in plain or kind in _INTEGERS else TYPES[kind]()


def _message(full, text):
    kinds = {name: kind for kind, name in (item.split(" ") for item in text.split(", "))}

    class Message:
        __slots__ = tuple(f"_{name}" for name in kinds)
        FIELDS = tuple(kinds)

        def __init__(self, **values):
            assert set(values) <= set(kinds), f"{full} has no field {set(values) - set(kinds)}"
            for name, kind in kinds.items():
                setattr(self, name, values.get(name, _default(kind)))

    def accessors(name, kind):
        def put(self, value):
            setattr(self, "_" + name, _checked(f"{full}.{name}", kind, value))

        return property(lambda self: getattr(self, "_" + name), put)

    for name, kind in kinds.items():
        setattr(Message, name, accessors(name, kind))
    Message.__name__ = Message.__qualname__ = full.partition("/")[2]
    return Message


for _full, _text in _FIELDS.items():
    TYPES[_full] = _message(_full, _text)


# Errors, by the names that rclpy gives them.


class InvalidHandle(Exception):
    """A publisher, subscription or node that was destroyed."""


class RCLError(RuntimeError):
    """The context is shut down, or the state machine has no such transition."""


class ParameterNotDeclaredException(Exception):
    pass


class ParameterAlreadyDeclaredException(Exception):
    pass


class InvalidParameterTypeException(Exception):
    pass


class InvalidParameterValueException(Exception):
    pass


class InvalidTopicNameException(Exception):
    pass


class ExternalShutdownException(Exception):
    pass


# Quality of service.


class ReliabilityPolicy(enum.IntEnum):
    RELIABLE = 1
    BEST_EFFORT = 2


class DurabilityPolicy(enum.IntEnum):
    TRANSIENT_LOCAL = 1
    VOLATILE = 2


class HistoryPolicy(enum.IntEnum):
    KEEP_LAST = 1
    KEEP_ALL = 2


class QoSProfile:
    def __init__(
        self,
        *,
        depth=None,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    ):
        assert depth is not None or history != HistoryPolicy.KEEP_LAST, "History set to KEEP_LAST without a depth"
        self.depth, self.history, self.reliability, self.durability = depth, history, reliability, durability


# The world: all topics, the clock, and whether the context lives.


class World:
    def __init__(self):
        self.alive = False
        self.nanoseconds = 1_000 * 10**9
        self.publishers, self.subscriptions, self.nodes = [], [], []
        self.log = []  # pairs of level and text
        self.overrides, self.remaps = {}, {}
        self.shutdowns = 0
        self.spinning = ()  # functions of the node that `spin` calls in turn, before the context is shut down

    def topics(self):
        """Topics that have a publisher now."""
        return {publisher.topic for publisher in self.publishers}

    def advance(self, seconds):
        """Let time pass; timers fire when `spin_once` comes round."""
        self.nanoseconds += round(seconds * 1e9)


WORLD = World()
_TOPIC = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


class Publisher:
    def __init__(self, kind, topic, qos):
        self.kind, self.topic, self.qos, self.destroyed = kind, topic, qos, False
        self.kept = deque(maxlen=qos.depth)
        WORLD.publishers.append(self)

    def publish(self, message):
        if self.destroyed:
            raise InvalidHandle("cannot use Destroyable because destruction was requested")
        if not WORLD.alive:
            raise RCLError("Failed to publish: publisher's context is invalid")
        if not isinstance(message, self.kind):
            raise TypeError(f"Expected {self.kind}, got {type(message)}")
        self.kept.append(message)
        for subscription in WORLD.subscriptions:
            if subscription.matches(self):
                subscription.queue.append(message)


class Subscription:
    def __init__(self, kind, topic, callback, qos):
        self.kind, self.topic, self.callback, self.qos, self.destroyed = kind, topic, callback, qos, False
        self.queue = deque(maxlen=qos.depth)
        WORLD.subscriptions.append(self)
        if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL:
            for publisher in WORLD.publishers:
                if self.matches(publisher):
                    self.queue.extend(publisher.kept)

    def matches(self, publisher):
        offered, wanted = publisher.qos, self.qos
        return (
            publisher.topic == self.topic
            and publisher.kind is self.kind
            and offered.reliability <= wanted.reliability
            and offered.durability <= wanted.durability
        )


class Parameter:
    def __init__(self, name, value):
        self.name, self.value = name, value


class Node:
    def __init__(self, node_name, *, parameter_overrides=None, context=None):
        if not WORLD.alive:
            raise RCLError("rclpy.init() has not been called")
        self._name, self.context = node_name, context
        self._overrides = {**WORLD.overrides, **{item.name: item.value for item in parameter_overrides or ()}}
        self._parameters, self._descriptors, self._callbacks_on_set = {}, {}, []
        self._own, self._timers, self._gone = [], [], False
        self.declare_parameter("use_sim_time", False)  # as rclpy's time source does
        WORLD.nodes.append(self)

    def get_name(self):
        return self._name

    def get_logger(self):
        def at(level):
            return lambda text: WORLD.log.append((level, text))

        return SimpleNamespace(info=at("info"), warning=at("warning"), error=at("error"))

    def get_clock(self):
        now = WORLD.nanoseconds
        stamp = TYPES["builtin_interfaces/Time"](sec=now // 10**9, nanosec=now % 10**9)
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=now, to_msg=lambda: stamp))

    # Parameters.

    def declare_parameter(self, name, value=None, descriptor=None):
        descriptor = descriptor or TYPES["rcl_interfaces/ParameterDescriptor"]()
        if name in self._parameters:
            raise ParameterAlreadyDeclaredException(name)
        if isinstance(value, list) and not value:
            raise TypeError("the type of an empty list is taken for that of bytes")
        wanted = self._overrides.get(name, value)
        if type(wanted) is not type(value):
            raise InvalidParameterTypeException(f"{name}: {wanted!r} is no {type(value).__name__}")
        reason = _out_of_range(name, wanted, descriptor) or self._refused([Parameter(name, wanted)])
        if reason:
            raise InvalidParameterValueException(reason)
        self._parameters[name], self._descriptors[name] = Parameter(name, wanted), descriptor

    def get_parameter(self, name):
        if name not in self._parameters:
            raise ParameterNotDeclaredException(name)
        return self._parameters[name]

    def describe_parameter(self, name):
        return self._descriptors[name]

    def add_on_set_parameters_callback(self, callback):
        self._callbacks_on_set.insert(0, callback)

    def set_parameters(self, parameters):
        return [self.set_parameters_atomically([one]) for one in parameters]

    def set_parameters_atomically(self, parameters):
        made = TYPES["rcl_interfaces/SetParametersResult"]
        for one in parameters:
            old = self.get_parameter(one.name)
            if type(one.value) is not type(old.value):
                return made(successful=False, reason=f"Wrong parameter type of {one.name}")
            if reason := _out_of_range(one.name, one.value, self._descriptors[one.name]):
                return made(successful=False, reason=reason)
        if reason := self._refused(parameters):
            return made(successful=False, reason=reason)
        self._parameters.update((one.name, one) for one in parameters)
        return made(successful=True)

    def _refused(self, parameters):
        for callback in self._callbacks_on_set:
            result = callback(parameters)
            assert isinstance(result, TYPES["rcl_interfaces/SetParametersResult"])
            if not result.successful:
                assert result.reason
                return result.reason
        return ""

    # Topics and timers.

    def _resolved(self, topic):
        if not _TOPIC.fullmatch(topic):
            raise InvalidTopicNameException(topic)
        return WORLD.remaps.get(topic, topic if topic.startswith("/") else f"/{topic}")

    def create_publisher(self, msg_type, topic, qos_profile):
        assert msg_type in TYPES.values(), f"{msg_type} is no message"
        qos = QoSProfile(depth=qos_profile) if isinstance(qos_profile, int) else qos_profile
        made = Publisher(msg_type, self._resolved(topic), qos)
        self._own.append(made)
        return made

    def create_subscription(self, msg_type, topic, callback, qos_profile):
        assert msg_type in TYPES.values(), f"{msg_type} is no message"
        inspect.signature(callback).bind(object())  # rclpy looks how many arguments it takes
        made = Subscription(msg_type, self._resolved(topic), callback, qos_profile)
        self._own.append(made)
        return made

    def destroy_publisher(self, publisher):
        return self._destroy(publisher, WORLD.publishers)

    def destroy_subscription(self, subscription):
        return self._destroy(subscription, WORLD.subscriptions)

    def _destroy(self, one, among):
        if one not in self._own:
            return False
        one.destroyed = True
        self._own.remove(one)
        among.remove(one)
        return True

    def create_timer(self, timer_period_sec, callback):
        self._timers.append([timer_period_sec, callback, WORLD.nanoseconds])
        return self._timers[-1]

    def spin_once(self):
        """What is due: timers once each, and all messages that wait."""
        if self._gone:
            raise InvalidHandle("the node is destroyed")
        for timer in self._timers:
            if WORLD.nanoseconds - timer[2] >= timer[0] * 1e9:
                timer[2] = WORLD.nanoseconds
                timer[1]()
        for subscription in [one for one in self._own if isinstance(one, Subscription)]:
            while subscription.queue and not subscription.destroyed:
                subscription.callback(subscription.queue.popleft())

    def destroy_node(self):
        for one in list(self._own):
            self._destroy(one, WORLD.publishers if isinstance(one, Publisher) else WORLD.subscriptions)
        self._gone = True


def _out_of_range(name, value, descriptor):
    for bounds in (*descriptor.floating_point_range, *descriptor.integer_range):
        if not bounds.from_value <= value <= bounds.to_value or (isinstance(value, float) and math.isnan(value)):
            return f"Parameter {name} out of range. Min: {bounds.from_value}, Max: {bounds.to_value}, value: {value}"
    return ""


# The lifecycle.


class TransitionCallbackReturn(enum.Enum):
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


#: Transition: states it starts from, the callback, the state after success and after failure.
_TRANSITIONS = {
    "configure": (("unconfigured",), "inactive", "unconfigured"),
    "activate": (("inactive",), "active", "inactive"),
    "deactivate": (("active",), "inactive", "active"),
    "cleanup": (("inactive",), "unconfigured", "inactive"),
    "shutdown": (("unconfigured", "inactive", "active"), "finalized", "finalized"),
}


class LifecycleNode(Node):
    def __init__(self, node_name, **arguments):
        super().__init__(node_name, **arguments)
        self.state = "unconfigured"

    def __getattr__(self, name):
        transition = name.removeprefix("trigger_")
        if transition == name or transition not in _TRANSITIONS:
            raise AttributeError(name)
        return lambda: self._change(transition)

    def _change(self, transition):
        allowed, after, otherwise = _TRANSITIONS[transition]
        if self.state not in allowed:
            raise RCLError(f"Transition {transition} is not available in state {self.state}")
        before = self.state
        result = self._called(getattr(self, f"on_{transition}"), before)
        if result is TransitionCallbackReturn.ERROR:
            well = self._called(self.on_error, before) is TransitionCallbackReturn.SUCCESS
            self.state = "unconfigured" if well else "finalized"
        else:
            self.state = after if result is TransitionCallbackReturn.SUCCESS else otherwise
        return result

    @staticmethod
    def _called(callback, before):
        try:
            result = callback(SimpleNamespace(label=before, state_id=0))
        except Exception:  # noqa: BLE001 - rclpy does the same, and says nothing
            return TransitionCallbackReturn.ERROR
        assert isinstance(result, TransitionCallbackReturn)
        return result

    def _fine(self, state):
        return TransitionCallbackReturn.SUCCESS

    on_configure = on_activate = on_deactivate = on_cleanup = on_shutdown = on_error = _fine


# The module rclpy.


def init(args=None):
    assert not WORLD.alive, "rclpy.init() was called already"
    WORLD.alive = True
    WORLD.arguments = args


def ok(*, context=None):
    return WORLD.alive


def shutdown():
    if not WORLD.alive:
        raise RCLError("failed to shutdown: rcl_shutdown already called on the given context")
    WORLD.alive = False
    WORLD.shutdowns += 1


def spin(node):
    """Call `WORLD.spinning`, then end as after Ctrl-C: the context is shut down by rclpy's own signal handler."""
    for call in WORLD.spinning:
        call(node)
        node.spin_once()
    WORLD.alive = False
    raise ExternalShutdownException


def install(monkeypatch, *, without=()):
    """Put the stand-ins where `import` finds them, in a fresh world; `without` names packages that are missing."""
    global WORLD
    WORLD = World()
    here = sys.modules[__name__]
    packages = {
        "rclpy": {name: getattr(here, name) for name in ("init", "ok", "shutdown", "spin")},
        "rclpy.executors": {"ExternalShutdownException": ExternalShutdownException},
        "rclpy.lifecycle": {"LifecycleNode": LifecycleNode, "TransitionCallbackReturn": TransitionCallbackReturn},
        "rclpy.qos": {
            name: getattr(here, name)
            for name in ("QoSProfile", "HistoryPolicy", "ReliabilityPolicy", "DurabilityPolicy")
        },
    }
    for full, kind in TYPES.items():
        package, _, name = full.partition("/")
        packages.setdefault(package, {})
        packages.setdefault(f"{package}.msg", {})[name] = kind
    for name, content in packages.items():
        if name.partition(".")[0] in without:
            monkeypatch.delitem(sys.modules, name, raising=False)
            continue
        module = types.ModuleType(name)
        module.__path__ = []
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("dsrfau_edge.robotics.ros2_node",):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return WORLD
