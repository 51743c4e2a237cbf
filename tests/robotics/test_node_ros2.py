"""The node's shell against a stand-in of rclpy, see `rclpy_stand_in.py`: no ROS runs here."""

from __future__ import annotations

import ast
import importlib
import time
import xml.etree.ElementTree as ET
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import cv2
import pytest
from robotics import rclpy_stand_in as ros
from robotics.node_graph import ScriptedPredictor

from dsrfau_edge.errors import BundleError, RuntimeUnavailable, UsageError
from dsrfau_edge.robotics import ros2
from dsrfau_edge.robotics.node_settings import NodeSettings

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ros2/dsrfau_edge_ros"
PORTRAIT = cv2.imread(str(files("dsrfau_edge").joinpath("assets/portrait.jpg")))
SUCCESS, FAILURE, ERROR = ros.TransitionCallbackReturn
RELIABLE = ros.QoSProfile(depth=100, durability=ros.DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def world(monkeypatch):
    made = ros.install(monkeypatch)
    ros.init()
    return made


@pytest.fixture
def shell(world):
    return importlib.import_module("dsrfau_edge.robotics.ros2_node")


@pytest.fixture
def start(shell):
    """A node whose predictor is scripted, or real where `load` is None."""
    made = []

    def make(script=((0,),), load=True, **values):
        scripted = ScriptedPredictor(script)
        overrides = [ros.Parameter(name, value) for name, value in values.items()]
        arguments = {"load": (lambda _: scripted) if load is True else load} if load else {}
        node = shell.DsrfauNode(parameter_overrides=overrides, **arguments)
        node.scripted = scripted
        made.append(node)
        return node

    yield make
    for node in made:
        node.release()


class Ears:
    """Subscribes to a topic as another node would; `heard` are its messages."""

    def __init__(self, world, kind, topic, qos=RELIABLE):
        self._one = ros.Subscription(ros.TYPES[kind], topic, None, qos)

    @property
    def heard(self):
        return list(self._one.queue)


class Camera:
    """Publishes pictures as a driver does, each a tenth of a second after the last."""

    def __init__(self, world, topic="/image", kind="sensor_msgs/Image"):
        self._world, self._kind = world, kind
        self._qos = ros.QoSProfile(depth=1, reliability=ros.ReliabilityPolicy.BEST_EFFORT)
        self._publisher = ros.Publisher(ros.TYPES[kind], topic, self._qos)

    def show(self, picture=PORTRAIT, encoding="bgr8", **changes):
        self._world.advance(0.1)
        now = self._world.nanoseconds
        stamp = ros.TYPES["builtin_interfaces/Time"](sec=now // 10**9, nanosec=now % 10**9)
        header = ros.TYPES["std_msgs/Header"](stamp=stamp, frame_id="eye")
        if self._kind.endswith("CompressedImage"):
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            message = ros.TYPES[self._kind](header=header, format="jpeg", data=data)
        else:
            height, width = picture.shape[:2]
            values = {"height": height, "width": width, "encoding": encoding, "step": picture.strides[0]}
            values.update(data=picture.tobytes(), **changes)
            message = ros.TYPES[self._kind](header=header, **values)
        self._publisher.publish(message)
        return stamp


def until(node, done):
    """Spin until something has come true; the predictor has a thread of its own."""
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "it does not come true"
        node.spin_once()
        time.sleep(0.001)


def status(world, node):
    ears = Ears(world, "diagnostic_msgs/DiagnosticArray", "/diagnostics", ros.QoSProfile(depth=5))
    world.advance(1)
    node.spin_once()
    (one,) = ears.heard[-1].status
    return one, {pair.key: pair.value for pair in one.values}


def up(node):
    assert node.trigger_configure() is SUCCESS
    assert node.trigger_activate() is SUCCESS


def test_a_whole_life_with_real_pictures(world, start):
    node = start(load=None, bundle="dsrfau-nano", runtime="onnxruntime", publish_aligned=True)
    assert status(world, node)[0].message == "unconfigured"
    up(node)
    camera = Camera(world)
    tracked = Ears(world, "hri_msgs/IdsList", "/humans/faces/tracked")
    stamp = camera.show()
    until(node, lambda: tracked.heard)
    (message,) = tracked.heard
    ((name,), root) = message.ids, "/humans/faces"
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (stamp.sec, stamp.nanosec)
    assert message.header.frame_id == "eye"
    facs = Ears(world, "hri_msgs/FacialActionUnits", f"{root}/{name}/facs")  # late, and still gets it
    until(node, lambda: facs.heard)
    assert 0.5 < facs.heard[0].intensity[12] <= 1  # she smiles
    assert facs.heard[0].confidence[3] == 0
    for count in range(2, 5):
        camera.show()
        until(node, lambda count=count: len(facs.heard) == count)
    of_face = {f"{root}/{name}/{part}" for part in ("facs", "roi", "landmarks", "aligned")}
    assert world.topics() == {"/diagnostics", "/image", f"{root}/tracked"} | of_face
    one, values = status(world, node)
    assert (one.level, one.message, one.name) == (b"\0", "active", "dsrfau_edge: faces")
    assert values["frames"] == "4"
    assert values["runtime"].startswith("onnxruntime")
    assert node.trigger_deactivate() is SUCCESS
    assert tracked.heard[-1].ids == []
    assert world.topics() == {"/diagnostics", "/image"}
    camera.show()
    node.spin_once()
    assert status(world, node)[0].message == "inactive"
    assert node.trigger_activate() is SUCCESS
    seen = len(tracked.heard)
    camera.show()
    until(node, lambda: len(tracked.heard) > seen)
    assert node.trigger_deactivate() is SUCCESS
    assert node.trigger_cleanup() is SUCCESS
    assert node.state == "unconfigured"
    up(node)
    assert node.trigger_shutdown() is SUCCESS
    assert node.state == "finalized"
    assert world.topics() == {"/diagnostics", "/image"}
    assert [entry for entry in world.log if entry[0] == "error"] == []


def test_compressed_pictures(world, start):
    node = start(load=None, bundle="dsrfau-nano", runtime="onnxruntime", input="compressed")
    up(node)
    tracked = Ears(world, "hri_msgs/IdsList", "/humans/faces/tracked")
    Camera(world, "/image/compressed", "sensor_msgs/CompressedImage").show()
    until(node, lambda: tracked.heard)
    assert len(tracked.heard[0].ids) == 1


def test_faces_that_another_node_cut_out(world, start):
    from dsrfau_edge import Predictor
    from dsrfau_edge.robotics.pictures import cropped

    with Predictor("dsrfau-nano", runtime="onnxruntime") as predictor:
        crop = cropped(PORTRAIT, predictor(PORTRAIT)[0], 128)
    node = start(load=None, bundle="dsrfau-nano", runtime="onnxruntime", input="cropped")
    up(node)
    detector = ros.Publisher(ros.TYPES["hri_msgs/IdsList"], "/humans/faces/tracked", RELIABLE)
    detector.publish(ros.TYPES["hri_msgs/IdsList"](ids=["abcde"]))
    node.spin_once()
    facs = Ears(world, "hri_msgs/FacialActionUnits", "/humans/faces/abcde/facs")
    Camera(world, "/humans/faces/abcde/cropped").show(crop)
    until(node, lambda: facs.heard)
    assert 0.5 < facs.heard[0].intensity[12] <= 1
    assert facs.heard[0].header.frame_id == "eye"


def test_the_newest_of_many_pictures_wins_before_the_node_is_asked(world, start):
    node = start()
    up(node)
    camera = Camera(world)
    for _ in range(5):
        camera.show()
    until(node, lambda: node.scripted.times)
    assert node.scripted.times[0] == pytest.approx(world.nanoseconds / 1e9)
    assert len(node.scripted.times) == 1


def test_parameters_are_declared_with_their_ranges(start):
    node = start()
    for item in fields(NodeSettings):
        assert node.get_parameter(item.name).value == item.default
        descriptor = node.describe_parameter(item.name)
        assert descriptor.description == item.metadata["about"]
        bounds = [*descriptor.integer_range, *descriptor.floating_point_range]
        assert [(one.from_value, one.to_value) for one in bounds] == [span for span in [item.metadata["span"]] if span]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"detect_every": 0}, ros.InvalidParameterValueException),
        ({"keep_seconds": 1}, ros.InvalidParameterTypeException),
        ({"input": "video"}, UsageError),
        ({"aus": "AU12 AUx"}, UsageError),
    ],
)
def test_a_parameter_that_makes_no_sense_ends_the_program(start, values, error):
    with pytest.raises(error):
        start(**values)


def test_parameters_at_run_time(world, start):
    node = start()

    def put(name, value):
        (result,) = node.set_parameters([ros.Parameter(name, value)])
        return result.successful, result.reason

    assert put("detect_every", 3) == (True, "")
    assert put("use_sim_time", True)[0]  # not ours
    up(node)
    assert put("intensity_scale", 1.0) == (True, "")
    assert put("detect_every", 3)[0]  # what it is already
    assert put("detect_every", 5) == (
        False,
        "detect_every takes effect when the node is configured. Deactivate and clean it up first.",
    )
    assert "out of range" in put("intensity_scale", 0.0)[1]
    assert "Wrong parameter type" in put("intensity_scale", 1)[1]
    assert put("aus", "AU99")[1].startswith("Unknown action unit")
    assert put("aus", "AU01") == (False, "aus asks for AU01; this network estimates AU04 AU12 AU25.")
    assert put("aus", "AU12") == (True, "")
    with pytest.raises(ros.ParameterNotDeclaredException):
        put("nonsense", 1)
    facs = []
    Camera(world).show()
    until(node, lambda: any("facs" in topic for topic in world.topics()))
    (topic,) = [topic for topic in world.topics() if "facs" in topic]
    ears = Ears(world, "hri_msgs/FacialActionUnits", topic)
    until(node, lambda: facs.extend(ears.heard) or facs)
    assert {number: value for number, value in enumerate(facs[0].intensity) if value} == {12: 2.5}


def test_a_predictor_that_cannot_be_loaded_is_told_and_tried_again(world, start):
    answers = [BundleError("There is no bundle x."), ScriptedPredictor()]

    def load(_):
        answer = answers.pop(0)
        if isinstance(answer, BundleError):
            raise answer
        return answer

    node = start(load=load)
    assert node.trigger_configure() is FAILURE
    assert node.state == "unconfigured"
    assert ("error", "There is no bundle x.") in world.log
    up(node)


def test_an_error_nobody_thought_of_is_told_and_leaves_the_node_unconfigured(world, start):
    def load(_):
        raise ZeroDivisionError("by chance")

    node = start(load=load)
    assert node.trigger_configure() is ERROR
    assert node.state == "unconfigured"
    assert ("error", "ZeroDivisionError: by chance") in world.log


def test_a_predictor_that_fails_ends_the_node_so_that_it_is_started_again(world, start):
    node = start()
    up(node)
    node.scripted.during = lambda: 1 / 0
    ears = Ears(world, "diagnostic_msgs/DiagnosticArray", "/diagnostics", ros.QoSProfile(depth=5))
    Camera(world).show()
    until(node, lambda: node._working.done() or node.spin_once())
    world.advance(1)
    with pytest.raises(ZeroDivisionError):
        node.spin_once()
    assert ears.heard[-1].status[0].level == b"\2"
    node.release()  # nothing hangs


def test_wrong_pictures_reach_the_log_and_the_diagnostics(world, start):
    node = start()
    up(node)
    camera = Camera(world)
    camera.show(encoding="32FC1")
    until(node, lambda: world.log)
    camera.show(encoding="32FC1", step=1)
    one, values = status(world, node)
    until(node, lambda: status(world, node)[1]["unreadable"] == "2")
    assert one.level in (b"\1", b"\0")
    assert [level for level, _ in world.log] == ["warning"]
    assert "32FC1" in world.log[0][1]


def test_the_stand_in_refuses_what_rclpy_refuses(world, start):
    kind = ros.TYPES["hri_msgs/FacialActionUnits"]
    publisher = ros.Publisher(kind, "/x", RELIABLE)
    with pytest.raises(TypeError):
        publisher.publish("text")
    with pytest.raises(AssertionError):
        kind(intensity=[0.0] * 98)
    with pytest.raises(AttributeError):
        kind().colour = 1
    node = start()
    with pytest.raises(ros.RCLError):
        node.trigger_activate()
    made = node.create_publisher(kind, "/y", 10)
    node.destroy_publisher(made)
    with pytest.raises(ros.InvalidHandle):
        made.publish(kind())
    with pytest.raises(ros.InvalidTopicNameException):
        node.create_publisher(kind, "/7up", 10)
    with pytest.raises(ros.ParameterNotDeclaredException):
        node.get_parameter("nonsense")
    ros.shutdown()
    with pytest.raises(ros.RCLError):
        publisher.publish(kind())


# The program.


def run(world, monkeypatch, *arguments, **overrides):
    world.alive = False
    world.overrides.update(overrides)
    monkeypatch.setattr("sys.argv", ["dsrfau-ros", *arguments])
    with pytest.raises(SystemExit) as exit_:
        ros2.main()
    return exit_.value.code


def test_the_program_starts_by_itself_and_ends_on_interruption(world, shell, monkeypatch, capsys):
    states = []
    world.spinning = [lambda node: states.append(node.state), lambda _: Camera(world).show()]
    arguments = ("--ros-args", "-p", "autostart:=true", "-r", "image:=/camera/image", "--params-file", "x.yaml")
    code = run(world, monkeypatch, *arguments, autostart=True, bundle="dsrfau-nano", runtime="onnxruntime")
    assert (code, states) == (0, ["active"])
    assert world.arguments == ["dsrfau-ros", *arguments]
    assert world.topics() == {"/image"}  # the camera's; all others are gone
    assert world.shutdowns == 0  # rclpy's signal handler had shut down already
    assert capsys.readouterr().err == ""


def test_the_program_refuses_parameters_with_exit_code_2(world, shell, monkeypatch, capsys):
    assert run(world, monkeypatch, input="video") == 2
    assert "give one of image, compressed, cropped, aligned" in capsys.readouterr().err
    assert world.shutdowns == 1


@pytest.mark.parametrize(
    ("missing", "distribution", "words"),
    [
        ("rclpy", "", "source /opt/ros/jazzy/setup.bash"),
        ("rclpy", "humble", "sudo apt install ros-humble-rclpy"),
        ("hri_msgs", "jazzy", "sudo apt install ros-jazzy-hri-msgs"),
        ("hri_msgs", "", "sudo apt install ros-$ROS_DISTRO-hri-msgs"),
        ("diagnostic_msgs", "kilted", "sudo apt install ros-kilted-diagnostic-msgs"),
    ],
)
def test_what_is_missing_is_told_with_the_line_to_type(monkeypatch, capsys, missing, distribution, words):
    made = ros.install(monkeypatch, without=(missing,))
    monkeypatch.setenv("ROS_DISTRO", distribution)
    assert run(made, monkeypatch, runtime="onnxruntime") == RuntimeUnavailable.exit_code
    assert words in capsys.readouterr().err


def test_help_needs_no_ros(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["dsrfau-ros", "--help"])
    with pytest.raises(SystemExit, match="0"):
        ros2.main()
    assert "lifecycle node" in capsys.readouterr().out


# The ROS package, as far as it can be judged without ROS.


def test_the_parameter_file_names_every_parameter_and_no_other():
    yaml = pytest.importorskip("yaml")
    (content,) = yaml.safe_load((PACKAGE / "config/faces.yaml").read_text(encoding="utf-8")).values()
    values = content["ros__parameters"]
    assert NodeSettings(**values) == NodeSettings()
    assert list(values) == [item.name for item in fields(NodeSettings)]


def test_package_xml_follows_format_3():
    root = ET.parse(PACKAGE / "package.xml").getroot()
    assert (root.tag, root.get("format")) == ("package", "3")
    tags = [child.tag for child in root]
    for required in ("name", "version", "description", "maintainer", "license"):
        assert required in tags, required
    assert root.find("maintainer").get("email")
    assert root.findtext("name") == PACKAGE.name
    assert root.findtext("export/build_type") == "ament_python"
    known = {
        "name",
        "version",
        "description",
        "maintainer",
        "license",
        "url",
        "author",
        "exec_depend",
        "test_depend",
        "export",
    }
    assert set(tags) <= known
    assert {item.text for item in root.iter("exec_depend")} >= set(ros2.PACKAGES)


def test_versions_agree():
    from dsrfau_edge import __version__

    assert ET.parse(PACKAGE / "package.xml").getroot().findtext("version") == __version__


def test_setup_installs_what_ros_looks_for(monkeypatch):
    import setuptools

    told = {}
    monkeypatch.setattr(setuptools, "setup", lambda **values: told.update(values))
    monkeypatch.chdir(PACKAGE)
    exec(compile((PACKAGE / "setup.py").read_text(encoding="utf-8"), "setup.py", "exec"), {"__name__": "__main__"})
    assert told["name"] == PACKAGE.name
    installed = dict(told["data_files"])
    assert installed["share/ament_index/resource_index/packages"] == [f"resource/{PACKAGE.name}"]
    listed = [path for paths in installed.values() for path in paths]
    assert {"package.xml", "config/faces.yaml", "launch/faces.launch.py"} <= set(listed)
    assert all((PACKAGE / path).is_file() for path in listed)
    (script,) = told["entry_points"]["console_scripts"]
    name, _, target = script.partition(" = ")
    module, _, function = target.partition(":")
    source = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    assert function in {alias.name for node in source.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert f'executable="{name}"' in (PACKAGE / "launch/faces.launch.py").read_text(encoding="utf-8")


def test_the_launch_file_names_what_is_there():
    source = (PACKAGE / "launch/faces.launch.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] == ["generate_launch_description"]
    declared = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument"
    }
    used = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "LaunchConfiguration"
    }
    assert declared == used
    assert "autostart" in {item.name for item in fields(NodeSettings)} & declared
