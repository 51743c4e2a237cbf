"""The predictor over a fake runtime (logic) and over ONNX Runtime (the real chain, with a tiny network)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from dsrfau_edge import Predictor
from dsrfau_edge.action_units import sites_of
from dsrfau_edge.bundle import Bundle, write_bundle
from dsrfau_edge.errors import BundleError, InputError, RuntimeUnavailable, UsageError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.face.images import read_image
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.manifest import Manifest
from dsrfau_edge.runtimes import registry
from dsrfau_edge.runtimes.base import Availability, Outputs
from dsrfau_edge.stages import STAGES

PORTRAIT = read_image(ASSETS.parent / "portrait.jpg")
PAIR = np.hstack([PORTRAIT, PORTRAIT])
AUS = ("AU12", "AU25")


@dataclass
class FakeRuntime:
    """Registers itself as a third party's runtime; gives 1, 2, 3 for the sites, plus a tenth a face."""

    name: str = "fake"
    formats: tuple = ("onnx",)
    calls: list = field(default_factory=list)
    options: list = field(default_factory=list)
    closed: int = 0
    answer: object = None

    def availability(self, device=None):
        return Availability(ok=device in (None, "cpu"), reason="It has a CPU only.", fix="--device cpu", version="1")

    def load(self, model, device=None, options=None):
        self.options.append((device, options))
        self.sites = model.sites
        return self

    def infer(self, crops):
        assert crops.dtype == np.uint8
        self.calls.append(crops.shape)
        if self.answer is not None:
            return self.answer
        values = np.arange(1, self.sites + 1, dtype=np.float32) + 0.1 * np.arange(len(crops), dtype=np.float32)[:, None]
        maps = np.ones((len(crops), self.sites, 8, 8), np.float32) if self.options[-1][1].heatmaps else None
        return Outputs(values, maps)

    def close(self):
        self.closed += 1


@pytest.fixture
def fake(monkeypatch):
    runtime = FakeRuntime()

    class Point:
        name, value = "fake", "tests:FakeRuntime"

        def load(self):
            return lambda: runtime

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()])
    return runtime


def fake_bundle(folder, sites=None):
    manifest = Manifest(
        name="fake", created="2026-01-01T00:00:00+00:00", target="onnx", precision="fp32", aus=AUS,
        sites=sites or tuple(site.name for site in sites_of(AUS)), input_size=32, batch="dynamic",
        template=DEFAULT_TEMPLATE.to_dict(), heatmap={"size": 8, "sigma": 0.25}, model="m.onnx", portable="m.onnx",
    )  # fmt: skip
    return write_bundle(folder / "fake.dsrfau", manifest, {"m.onnx": b"not read by the fake"}).path


@pytest.fixture
def predictor(fake, tmp_path):
    with Predictor(fake_bundle(tmp_path), runtime="fake") as made:
        yield made


def test_a_face_has_its_aus_and_sides(predictor):
    (face,) = predictor(PORTRAIT)
    assert face.aus == {"AU12": 1.5, "AU25": 3.0}
    assert (face.left, face.right) == ({"AU12": 1.0}, {"AU12": 2.0})
    assert face["AU12"] == 1.5
    assert face.heatmaps is None
    assert 0.9 < face.confidence <= 1
    assert face.confidences["AU12"] == pytest.approx(face.confidence, abs=0.02)
    assert predictor.aus == AUS
    assert predictor.sided == ("AU12",)
    assert predictor.selection.runtime.name == "fake"


def test_all_faces_of_a_frame_go_in_one_call(predictor, fake):
    faces = predictor(PAIR)
    assert fake.calls == [(2, 32, 32, 3)]
    assert [face.id for face in faces] == [0, 1]
    assert faces[1]["AU25"] == pytest.approx(3.1)
    assert {face.box[0] > 512 for face in faces} == {True, False}


def test_every_stage_of_a_frame_is_entered_in_order(fake, tmp_path):
    entered = []

    @contextmanager
    def stage(name):
        entered.append(name)
        yield

    with Predictor(fake_bundle(tmp_path), runtime="fake", detector_range="short", stage=stage) as predictor:
        assert len(predictor(PORTRAIT)) == 1
    assert tuple(entered) == STAGES


def test_crops_that_are_aligned_already(predictor):
    (one, other) = predictor.predict_crops(np.zeros((2, 32, 32, 3), np.uint8))
    assert one.aus == {"AU12": 1.5, "AU25": 3.0}
    assert (one["AU12"], one.left, one.right) == (1.5, {"AU12": 1.0}, {"AU12": 2.0})
    assert other.aus["AU25"] == pytest.approx(3.1)


def test_no_face_calls_no_network(predictor, fake):
    assert predictor(np.zeros((100, 100, 3), np.uint8)) == []
    assert predictor(np.zeros((1, 1), np.uint8)) == []
    assert fake.calls == []


@pytest.mark.parametrize("frame", [np.zeros((0, 0, 3), np.uint8), np.full((9, 9), np.nan), None, "portrait.jpg"])
def test_what_is_no_picture_is_an_input_error(predictor, frame):
    with pytest.raises(InputError):
        predictor(frame)


def test_options_reach_the_session(fake, tmp_path):
    bundle = Bundle.open(fake_bundle(tmp_path))
    with Predictor(bundle, runtime="fake", device="cpu", threads=3, heatmaps=True, max_faces=1) as predictor:
        (face,) = predictor(PAIR)
    device, options = fake.options[0]
    assert (device, options.threads, options.heatmaps) == ("cpu", 3, True)
    assert set(face.heatmaps) == {"AU12_left", "AU12_right", "AU25"}
    assert face.heatmaps["AU25"].shape == (8, 8)


@pytest.mark.parametrize(
    "answer",
    [
        Outputs(np.full((1, 3), np.nan, np.float32)),
        Outputs(np.full((1, 4), 1, np.float32)),
        Outputs(np.full((2, 3), 1, np.float32)),
    ],
)
def test_what_is_no_intensity_is_not_passed_on(predictor, fake, answer):
    fake.answer = answer
    with pytest.raises(BundleError, match="Export the bundle again"):
        predictor(PORTRAIT)


def test_intensities_stay_on_the_scale(predictor, fake):
    fake.answer = Outputs(np.array([[-1, 9, 5.1]], np.float32))
    (face,) = predictor(PORTRAIT)
    assert face.aus == {"AU12": 2.5, "AU25": 5.0}


def test_closing_twice_frees_once_and_then_refuses(fake, tmp_path):
    predictor = Predictor(fake_bundle(tmp_path), runtime="fake")
    predictor.close()
    predictor.close()
    assert fake.closed == 1
    with pytest.raises(UsageError, match="closed"):
        predictor(PORTRAIT)


def test_a_runtime_that_is_named_is_never_replaced(fake, tmp_path):
    bundle = fake_bundle(tmp_path)
    with pytest.raises(UsageError, match="fake"):
        Predictor(bundle, runtime="nonsense")
    with pytest.raises(RuntimeUnavailable, match="CPU only"):
        Predictor(bundle, runtime="fake", device="cuda:0")


@pytest.mark.parametrize(
    "options", [{"max_faces": 0}, {"max_faces": -1}, {"threads": 0}, {"detector_range": "far"}], ids=str
)
def test_options_that_make_no_sense_are_refused(fake, tmp_path, options):
    with pytest.raises(UsageError):
        Predictor(fake_bundle(tmp_path), runtime="fake", **options)


def test_a_missing_bundle_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"nowhere\.dsrfau"):
        Predictor(tmp_path / "nowhere.dsrfau")


def test_sites_of_another_version_are_refused(fake, tmp_path):
    with pytest.raises(BundleError, match="sites"):
        Predictor(fake_bundle(tmp_path, sites=("AU12_right", "AU12_left", "AU25")), runtime="fake")


class TestTinyNetwork:
    """With a real graph in ONNX Runtime."""

    def test_the_chain_gives_what_the_network_says_of_the_crop(self, tiny_bundle):
        from dsrfau_edge.face.frontend import FaceFrontEnd

        with Predictor(tiny_bundle, runtime="onnxruntime", heatmaps=True) as predictor:
            (face,) = predictor(PORTRAIT)
            (aligned,) = FaceFrontEnd(DEFAULT_TEMPLATE, 32)(PORTRAIT)
            direct = predictor.infer(aligned.crop[None])
        values = direct.intensities[0]
        assert face["AU04"] == pytest.approx(values[:2].mean())
        assert face.left["AU12"] == pytest.approx(values[2])
        assert face["AU25"] == pytest.approx(values[4])
        for channel, heat in enumerate(face.heatmaps.values()):
            assert np.clip(heat.max(), 0, 5) == pytest.approx(values[channel], abs=1e-5)

    def test_a_face_gets_the_same_values_alone_and_among_others(self, tiny_bundle):
        with Predictor(tiny_bundle, runtime="onnxruntime") as predictor:
            (alone,) = predictor(PORTRAIT)
            among = predictor(np.hstack([PORTRAIT, np.zeros((512, 100, 3), np.uint8), PORTRAIT]))
        assert len(among) == 2
        for face in among:
            for au, value in alone.aus.items():
                assert face[au] == pytest.approx(value, abs=0.25)

    def test_threads_share_one_predictor(self, tiny_bundle):
        with Predictor(tiny_bundle, runtime="onnxruntime") as predictor:
            (expected,) = predictor(PORTRAIT)
            with ThreadPoolExecutor(4) as pool:
                for faces in pool.map(predictor, [PORTRAIT] * 12):
                    assert faces[0].aus == pytest.approx(expected.aus)

    def test_many_frames_need_no_more_memory(self, tiny_bundle):
        import tracemalloc

        with Predictor(tiny_bundle, runtime="onnxruntime") as predictor:
            predictor(PORTRAIT)
            tracemalloc.start()
            before = tracemalloc.take_snapshot()
            for _ in range(20):
                predictor(PORTRAIT)
            grown = sum(entry.size_diff for entry in tracemalloc.take_snapshot().compare_to(before, "filename"))
            tracemalloc.stop()
        assert grown < 200_000
