"""The node's logic over scripted faces, with a clock that stands still and a graph that records."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robotics.node_graph import SECOND, Clock, RecordingGraph, ScriptedPredictor, picture

from dsrfau_edge.errors import BundleError, UsageError
from dsrfau_edge.robotics.messages import Header, Time
from dsrfau_edge.robotics.node import FaceNode
from dsrfau_edge.robotics.node_mailbox import Mailbox
from dsrfau_edge.robotics.node_settings import NodeSettings
from dsrfau_edge.robotics.node_status import Level

TRACKED = "/humans/faces/tracked"
EVERY = SECOND // 10


class Stage:
    """A node on a recording graph, and pictures a tenth of a second apart."""

    def __init__(self, script=((0,),), **settings):
        self.clock = Clock()
        self.graph = RecordingGraph(self.clock)
        self.predictor = ScriptedPredictor(script)
        self.node = FaceNode(self.graph, load=lambda _: self.predictor, clock=self.clock)
        self.settings = NodeSettings(**settings)
        self.stamp = 50 * SECOND

    def up(self):
        self.node.configure(self.settings)
        self.node.activate()
        return self

    def show(self, count=1, topic="image", **fields):
        for _ in range(count):
            self.stamp += EVERY
            self.clock.now += 0.1
            self.graph.arrive(topic, picture(self.stamp, **fields))
            assert self.node.step()
        return self

    def tracked(self):
        return [message.ids for topic, message in self.graph.sent if topic == TRACKED]

    def upstream(self, *names):
        self.graph.arrive(TRACKED, SimpleNamespace(ids=list(names)))


def faces_of(topics):
    return {topic.split("/")[3] for topic in topics if topic != TRACKED}


def test_nothing_is_subscribed_or_published_before_it_is_active():
    stage = Stage()
    assert stage.node.tick().message == "unconfigured"
    stage.node.configure(stage.settings)
    assert stage.node.tick().message == "inactive"
    assert not stage.graph.subscriptions
    assert not stage.graph.made
    stage.node.activate()
    assert stage.graph.subscriptions["image"][0] == "sensor_msgs/msg/Image"


def test_a_face_brings_its_topics_under_the_pictures_own_header():
    stage = Stage().up().show(frame_id="head_camera")
    ((name,),) = stage.tracked()
    parts = ["tracked", f"{name}/facs", f"{name}/roi", f"{name}/landmarks"]
    assert [topic for topic, _ in stage.graph.sent] == [f"/humans/faces/{part}" for part in parts]
    assert {message.header for _, message in stage.graph.sent} == {Header(Time.from_ns(stage.stamp), "head_camera")}
    assert stage.predictor.times == [stage.stamp / 1e9]
    assert stage.graph.last("facs").intensity[12] == pytest.approx(2.5 / 5)


def test_faces_that_vanish_lose_their_publishers_after_a_while_and_come_back_under_their_name():
    stage = Stage([(0,)] * 2 + [()] * 12 + [(0,)]).up().show(2)
    (name,) = stage.tracked()[-1]
    stage.show(9)
    assert stage.tracked()[-9:] == [()] * 9
    assert f"/humans/faces/{name}/facs" in stage.graph.publishers  # for keep_seconds
    stage.show(3)
    assert set(stage.graph.publishers) == {TRACKED}
    stage.show()
    assert stage.tracked()[-1] == (name,)
    assert stage.graph.made.count(f"/humans/faces/{name}/facs") == 2


def test_faces_that_swap_places_keep_their_publishers():
    stage = Stage([(0, 1), (1, 0)]).up().show(2)
    first, second = stage.tracked()
    assert first == second[::-1]
    assert len(stage.graph.made) == len(set(stage.graph.made)) == 7


def test_one_face_for_another():
    stage = Stage([(0,), (1,)]).up().show(13)
    before, after = stage.tracked()[0][0], stage.tracked()[-1][0]
    assert before != after
    assert faces_of(stage.graph.publishers) == {after}


def test_twelve_faces_and_none():
    stage = Stage([tuple(range(12)), ()]).up().show()
    assert len(set(stage.tracked()[0])) == 12
    assert len(stage.graph.publishers) == 1 + 12 * 3
    assert stage.node.tick().values["faces"] == "12"
    stage.show(12)
    assert set(stage.graph.publishers) == {TRACKED}
    assert stage.node.tick().values["faces"] == "0"


def test_deactivating_says_that_all_faces_are_gone_and_destroys_every_publisher():
    stage = Stage([(0, 1)]).up().show(2)
    stage.clock.now = 500.0
    stage.node.deactivate()
    topic, goodbye = stage.graph.sent[-1]
    assert (topic, goodbye.ids, goodbye.header) == (TRACKED, (), Header(Time(500, 0), "eye"))
    assert not stage.graph.publishers
    assert not stage.graph.subscriptions
    assert not stage.predictor.closed
    stage.node.activate()
    stage.show()
    assert len(stage.tracked()[-1]) == 2


def test_deactivated_in_the_middle_of_a_picture():
    stage = Stage([(0,)]).up().show()
    sent = len(stage.graph.sent)
    stage.predictor.during = stage.node.deactivate  # must not wait for the picture that is being predicted
    stage.show()
    assert [message.ids for _, message in stage.graph.sent[sent:]] == [()]
    assert not stage.graph.publishers


def test_deactivated_and_activated_again_in_the_middle_of_a_picture():
    stage = Stage([(0,)]).up()

    def restart():
        stage.predictor.during = None
        stage.node.deactivate()
        stage.node.activate()

    stage.predictor.during = restart
    stage.show()
    assert stage.node.tick().values["frames"] == "0"
    assert not stage.graph.publishers
    stage.show()
    assert len(stage.tracked()[-1]) == 1


def test_cleaned_up_while_a_picture_is_predicted():
    stage = Stage([(0,)]).up()
    begun, go_on = threading.Event(), threading.Event()

    def during():
        begun.set()
        assert go_on.wait(20)
        assert not stage.predictor.closed

    stage.predictor.during = during
    worker = threading.Thread(target=stage.node.run)
    worker.start()
    stage.graph.arrive("image", picture(stage.stamp))
    assert begun.wait(20)
    cleaner = threading.Thread(target=stage.node.cleanup)
    cleaner.start()
    cleaner.join(0.05)
    assert cleaner.is_alive()  # waits for the picture
    assert stage.predictor.closed == 0
    go_on.set()
    cleaner.join(20)
    worker.join(20)
    assert not cleaner.is_alive()
    assert not worker.is_alive()
    assert stage.predictor.closed == 1
    assert all(not message.ids for _, message in stage.graph.sent)
    assert not stage.node.configured


def test_what_waits_when_it_is_deactivated_is_not_predicted():
    stage = Stage().up()
    stage.graph.arrive("image", picture(stage.stamp))
    stage.node.deactivate()
    stage.node.activate()
    assert not stage.node.step()
    assert stage.predictor.times == []


def test_cleanup_works_from_any_state_and_twice():
    for steps in ((), ("configure",), ("configure", "activate")):
        stage = Stage()
        for step in steps:
            getattr(stage.node, step)(*((stage.settings,) if step == "configure" else ()))
        stage.node.cleanup()
        stage.node.cleanup()
        assert stage.predictor.closed == bool(steps)
        assert not stage.graph.publishers


def test_configuring_again_after_cleanup():
    stage = Stage().up().show()
    stage.node.cleanup()
    stage.predictor = ScriptedPredictor([(0, 1)])
    stage.up().show()
    assert len(stage.tracked()[-1]) == 2


def test_without_a_farewell_nothing_is_published_on_the_way_out():
    stage = Stage().up().show()
    sent = len(stage.graph.sent)
    stage.node.cleanup(farewell=False)
    assert len(stage.graph.sent) == sent
    assert not stage.graph.publishers


def test_the_newest_picture_wins_and_the_others_are_counted():
    stage = Stage().up()
    for number in range(1, 6):
        stage.graph.arrive("image", picture(number * SECOND))
    assert stage.node.step()
    assert not stage.node.step()
    assert stage.predictor.times == [5.0]
    assert stage.node.tick().values["dropped"] == "4"


def test_pictures_that_cannot_be_read_are_counted_told_once_and_passed_over():
    stage = Stage([(0,), None, (0,)]).up().show()
    stage.show(3, encoding="32FC1").show(topic="image").show()
    status = stage.node.tick()
    assert status.level is Level.WARN
    assert status.values["unreadable"] == "4"
    assert status.values["problem"] == status.message == "This picture is bad."
    assert ["32FC1" in text for text in stage.graph.warnings] == [True, False]
    stage.show()
    assert stage.node.tick().level is Level.OK
    assert stage.node.tick().values["unreadable"] == "4"


def test_wrong_encodings_without_end_fill_neither_log_nor_memory():
    stage = Stage().up()
    for number in range(100):
        stage.show(encoding=f"x{number}")
    assert len(stage.graph.warnings) == 20


def test_a_stamp_that_comes_again_is_passed_over_and_one_that_goes_back_is_not():
    stage = Stage().up()
    for stamp in (5, 5, 4, 6):
        stage.graph.arrive("image", picture(stamp * SECOND))
        assert stage.node.step()
    assert stage.predictor.times == [5.0, 4.0, 6.0]
    assert stage.predictor.streams[0].options.restart_time
    assert stage.node.tick().values["repeated"] == "1"


def test_pictures_without_a_stamp_get_the_present_one():
    stage = Stage().up()
    for now in (200.0, 200.1):
        stage.clock.now = now
        stage.graph.arrive("image", picture(0))
        assert stage.node.step()
    assert stage.predictor.times == [200.0, 200.1]
    assert stage.graph.last("facs").header.stamp == Time(200, SECOND // 10)
    status = stage.node.tick()
    assert status.level is Level.WARN
    assert "stamp 0" in status.message


def test_another_size_of_picture_looks_for_faces_anew():
    stage = Stage().up().show().show(size=(10, 6)).show(size=(10, 6))
    assert stage.predictor.streams[0].resets == 1


def test_a_camera_that_falls_silent_takes_its_faces_with_it():
    stage = Stage([(0,)]).up().show()
    assert stage.node.tick().level is Level.OK
    stage.clock.now += 3
    status = stage.node.tick()
    assert status.level is Level.ERROR
    assert status.message == "nothing has come for 3 s on image"
    assert stage.tracked()[-1] == ()
    assert set(stage.graph.publishers) == {TRACKED}
    sent = len(stage.graph.sent)
    stage.clock.now += 3
    stage.node.tick()
    assert len(stage.graph.sent) == sent  # once is enough
    stage.show()
    assert stage.node.tick().level is Level.OK
    assert len(stage.tracked()[-1]) == 1


def test_the_status_tells_rates_latencies_and_the_runtime():
    stage = Stage().up()
    for _ in range(10):
        stage.clock.now += 0.07
        stage.stamp += EVERY
        stage.graph.arrive("image", picture(stage.stamp))
        stage.clock.now += 0.03
        assert stage.node.step()
    values = stage.node.tick().values
    assert values["fps"] == "10.0"
    assert values["latency_ms"] == values["latency_max_ms"] == "30.0"
    assert values["runtime"] == "scripted 1"
    assert values["frames"] == "10"
    stage.clock.now += 1
    values = stage.node.tick().values
    assert values["fps"] == "0.0"
    assert "latency_ms" not in values


def test_temperatures_are_told_where_they_can_be_read(tmp_path):
    from dsrfau_edge.bench.host import Host

    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("61500\n")
    node = FaceNode(RecordingGraph(Clock()), load=lambda _: ScriptedPredictor(), clock=Clock(), host=Host(tmp_path))
    assert node.tick().values["temperature cpu-thermal"] == "61.5"


def test_live_parameters_act_on_the_next_picture_and_faces_keep_their_names():
    stage = Stage().up().show()
    names = stage.tracked()[-1]
    changed = stage.settings.changed({"intensity_scale": 1.0, "aus": "12", "publish_cropped": True}, configured=True)
    stage.node.change(changed)
    stage.show()
    assert stage.tracked()[-1] == names
    facs = stage.graph.last("facs")
    assert {number: value for number, value in enumerate(facs.intensity) if value} == {12: 2.5}
    assert (stage.graph.last("cropped").width, stage.graph.last("cropped").encoding) == (128, "bgr8")
    with pytest.raises(UsageError, match="AU01; this network estimates AU04 AU12 AU25"):
        stage.node.change(stage.settings.changed({"aus": "AU01"}, configured=True))


def test_a_bundle_that_cannot_be_loaded_leaves_it_unconfigured():
    def load(_):
        raise BundleError("There is no bundle x.")

    node = FaceNode(RecordingGraph(Clock()), load=load)
    with pytest.raises(BundleError):
        node.configure(NodeSettings(bundle="x"))
    assert not node.configured
    stage = Stage(aus="AU01")
    with pytest.raises(UsageError, match="AU01"):
        stage.node.configure(stage.settings)
    assert stage.predictor.closed == 1
    assert not stage.node.configured


def test_compressed_pictures_have_a_topic_of_their_own():
    stage = Stage(input="compressed").up()
    assert {topic: kind for topic, (kind, _) in stage.graph.subscriptions.items()} == {
        "image/compressed": "sensor_msgs/msg/CompressedImage"
    }
    header = picture(SECOND).header
    stage.graph.arrive("image/compressed", SimpleNamespace(header=header, format="jpeg", data=b"\xff\xd8 no"))
    assert stage.node.step()
    assert stage.node.tick().values["unreadable"] == "1"


# Faces that another node has found.


def test_each_face_of_another_node_is_subscribed_and_answered_under_its_name():
    stage = Stage(input="cropped", keep_seconds=1.0).up()
    assert set(stage.graph.subscriptions) == {TRACKED}
    stage.upstream("f1", "f2")
    assert set(stage.graph.subscriptions) == {TRACKED, "/humans/faces/f1/cropped", "/humans/faces/f2/cropped"}
    stage.show(topic="/humans/faces/f1/cropped").show(topic="/humans/faces/f2/cropped")
    assert [topic for topic, _ in stage.graph.sent] == ["/humans/faces/f1/facs", "/humans/faces/f2/facs"]
    assert len(stage.predictor.streams) == 2  # each face is smoothed by itself
    stage.node.deactivate()
    assert [topic for topic, _ in stage.graph.sent] == ["/humans/faces/f1/facs", "/humans/faces/f2/facs"]
    assert not stage.graph.publishers
    assert not stage.graph.subscriptions


def test_a_face_of_another_node_may_be_away_for_a_moment():
    stage = Stage(input="aligned", keep_seconds=1.0).up()
    stage.upstream("f1")
    stage.show(topic="/humans/faces/f1/aligned")
    stage.upstream()
    stage.clock.now += 0.9
    stage.upstream("f1")
    stage.clock.now += 5
    stage.upstream("f1")
    stage.show(topic="/humans/faces/f1/aligned")
    assert len(stage.predictor.streams) == 1
    stage.upstream()
    stage.clock.now += 1
    stage.node.tick()
    assert set(stage.graph.subscriptions) == {TRACKED}
    assert not stage.graph.publishers
    stage.upstream("f1")
    stage.show(topic="/humans/faces/f1/aligned")
    assert len(stage.predictor.streams) == 2


def test_a_face_of_another_node_that_goes_while_it_is_read_is_not_published():
    stage = Stage(input="cropped", keep_seconds=0.0).up()
    stage.upstream("f1")
    stage.predictor.during = stage.upstream
    stage.show(topic="/humans/faces/f1/cropped")
    assert stage.graph.sent == []
    assert stage.node.tick().values["discarded"] == "1"


def test_a_crop_without_a_face_says_nothing():
    stage = Stage([()], input="cropped").up()
    stage.upstream("f1")
    stage.show(topic="/humans/faces/f1/cropped")
    assert stage.graph.made == []


def test_strange_names_and_too_many_faces_are_passed_over():
    stage = Stage(input="cropped", max_faces=3).up()
    stage.upstream("../x", "a b", "ok", "fourth")
    assert set(stage.graph.subscriptions) == {TRACKED, "/humans/faces/ok/cropped"}
    stage.upstream("ok", "ok", "7up")
    assert stage.node.tick().values["refused"] == "3"
    crowd = Stage(input="cropped").up()
    crowd.upstream(*(f"f{number}" for number in range(100_000)))
    assert len(crowd.graph.subscriptions) == 101


def test_faces_take_turns():
    stage = Stage(input="cropped").up()
    stage.upstream("f1", "f2")
    for number in range(1, 4):
        stage.graph.arrive("/humans/faces/f1/cropped", picture(number * SECOND))
    stage.graph.arrive("/humans/faces/f2/cropped", picture(9 * SECOND))
    while stage.node.step():
        pass
    assert stage.predictor.times == [3.0, 9.0]
    assert stage.node.tick().values["dropped"] == "2"


def test_the_settings_are_checked():
    for wrong in (
        {"input": "video"},
        {"detect_every": 0},
        {"detect_every": 1.0},
        {"forget_after": float("nan")},
        {"smoothing": 1},
        {"intensity_scale": 0.0},
        {"aus": "AU12 nonsense"},
        {"topic_prefix": "no name"},
        {"face_size": 4},
        {"detector_range": "far"},
    ):
        with pytest.raises(UsageError):
            NodeSettings(**wrong)
    settings = NodeSettings()
    assert settings.changed({"use_sim_time": True, "detect_every": 15}, configured=True) == settings
    assert settings.changed({"detect_every": 3}, configured=False).detect_every == 3
    with pytest.raises(UsageError, match="Deactivate and clean it up first"):
        settings.changed({"detect_every": 3}, configured=True)


def test_a_closed_mailbox_lets_go_and_takes_nothing():
    box = Mailbox()
    box.put("a", 1)
    box.close()
    box.put("a", 2)
    assert box.take() is None


_DO = st.sampled_from(
    [
        "configure",
        "activate",
        "deactivate",
        "cleanup",
        "picture",
        "bad",
        "step",
        "tick",
        "wait",
        "list",
        "crop",
        "change",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_DO, st.integers(0, 3)), max_size=40), st.sampled_from(["image", "cropped"]))
def test_whatever_happens_in_whatever_order(actions, kind):
    """Transitions as ROS allows them; the graph itself refuses what is published or closed where it must not be."""
    stage = Stage([(0,), (0, 1), (), (2,), None, (1,)] * 20, input=kind)
    state = "unconfigured"
    for action, number in actions:
        if (state, action) in _AFTER:
            if action == "configure":
                stage.predictor = ScriptedPredictor([(0,), (0, 1), (), None] * 20)
                stage.node.configure(stage.settings)
            else:
                getattr(stage.node, action)()
            state = _AFTER[state, action]
        else:
            _happen(stage, action, number)
        assert state == "active" or not (stage.graph.publishers or stage.graph.subscriptions)
        assert stage.predictor.closed <= 1


_AFTER = {
    ("unconfigured", "configure"): "inactive",
    ("inactive", "activate"): "active",
    ("active", "deactivate"): "inactive",
    **{(state, "cleanup"): "unconfigured" for state in ("unconfigured", "inactive", "active")},
}


def _happen(stage, action, number):
    if action in ("picture", "bad"):
        _arrive(stage, "image", number, "bgr8" if action == "picture" else "x")
    elif action == "crop":
        _arrive(stage, f"/humans/faces/f{number}/cropped", number, "bgr8")
    elif action == "list" and TRACKED in stage.graph.subscriptions:
        stage.upstream(*(f"f{index}" for index in range(number)))
    elif action == "wait":
        stage.clock.now += number
    elif action == "change":
        stage.node.change(stage.settings.changed({"keep_seconds": number / 2}, configured=True))
    elif action == "tick":
        stage.node.tick()
    else:
        stage.node.step()


def _arrive(stage, topic, number, encoding):
    stage.clock.now += 0.1
    if topic in stage.graph.subscriptions:  # stamps may be 0, stand still and go back
        stage.graph.arrive(topic, picture(number * SECOND, encoding=encoding))
