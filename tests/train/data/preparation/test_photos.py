"""Pseudo-labels: the tracker's plumbing, the maps, and what a set says of where its labels are from."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_trees import nobody, portrait, write_picture

from dsrfau_edge.action_units import MAX_INTENSITY, sites_of
from dsrfau_edge.errors import DataError, RuntimeUnavailable, UsageError
from dsrfau_edge.face.alignment import DEFAULT_TEMPLATE
from dsrfau_edge.face.frontend import FaceFrontEnd
from dsrfau_edge.face.landmarks import Landmarks, roi_from_landmarks
from dsrfau_edge.train.data.preparation import photos, pseudo, tracker
from dsrfau_edge.train.data.preparation.options import Options
from dsrfau_edge.train.data.preparation.tracker import BLENDSHAPES, FaceLandmarker

from .making import made

CHOSEN = list(tracker._CHOSEN)


def write_task(path: Path, *, names: tuple[str, ...] = (tracker._POINTS, tracker._SHAPES)) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"network")
    return path


class Networks:
    """Both networks: one places points as it is told, one remembers them and says the scores it is told."""

    def __init__(self, points: np.ndarray, scores: dict[str, float], presence: float = 9.0) -> None:
        self.points, self.presence = points, presence
        self.scores = np.array([scores.get(name, 0.0) for name in BLENDSHAPES], np.float32)
        self.pictures: list[np.ndarray] = []
        self.seen: list[np.ndarray] = []

    def compiled(self, content: bytes, name: str) -> object:
        assert content == b"network"
        return self.place if name == tracker._POINTS else self.score

    def place(self, picture: np.ndarray) -> list[np.ndarray]:
        self.pictures.append(picture)
        flat = np.pad(self.points, ((0, 0), (0, 1))).astype(np.float32)
        return [flat.reshape(1, 1, 1, -1), np.full((1, 1, 1, 1), self.presence, np.float32)]

    def score(self, points: np.ndarray) -> list[np.ndarray]:
        self.seen.append(points)
        return [self.scores]


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Networks]:
    pytest.importorskip("openvino", reason="the tracker runs in OpenVINO, whose version a set records")
    made_up = Networks(np.full((478, 2), 128.0), {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.1, "jawOpen": 0.5})
    monkeypatch.setattr(tracker, "_compiled", made_up.compiled)
    photos._tracker.cache_clear()
    yield made_up
    photos._tracker.cache_clear()


def test_there_is_a_name_for_every_score_and_a_place_for_every_point() -> None:
    assert len(BLENDSHAPES) == len(set(BLENDSHAPES)) == 52
    assert len(CHOSEN) == len(set(CHOSEN)) == 146
    assert max(CHOSEN) == 477
    named = {name.format(side) for shapes in pseudo.SHAPES.values() for name in shapes for side in ("Left", "Right")}
    assert named <= set(BLENDSHAPES)


def test_points_go_to_the_picture_and_back(tmp_path: Path, networks: Networks) -> None:
    """Points placed where FaceMesh has them must come out there, in pixels of the whole picture."""
    image = portrait()
    (face,) = FaceFrontEnd(DEFAULT_TEMPLATE, 128)(image)
    matrix = roi_from_landmarks(face.landmarks.points).matrix(256)
    known = face.landmarks.points[:, :2] @ matrix[:, :2].T + matrix[:, 2] + 0.5  # counted from a pixel's edge
    networks.points = np.concatenate([known, np.full((10, 2), 128.0)])
    scores = FaceLandmarker(write_task(tmp_path / "a.task"))(image, face.landmarks)
    assert scores is not None
    assert scores["mouthSmileLeft"] == pytest.approx(0.9)
    mesh = [place for place, point in enumerate(CHOSEN) if point < 468]
    expected = face.landmarks.points[[CHOSEN[place] for place in mesh], :2]
    np.testing.assert_allclose(networks.seen[0][0, mesh], expected, atol=1e-3)
    (picture,) = networks.pictures
    assert (picture.shape, picture.dtype) == ((1, 256, 256, 3), np.float32)
    assert 0 <= picture.min() < picture.max() <= 1
    assert picture[..., 0].mean() > picture[..., 2].mean()  # RGB: skin is red


def test_an_absent_face_has_no_scores(tmp_path: Path, networks: Networks) -> None:
    networks.presence = -9.0
    points = np.random.default_rng(0).uniform(60, 190, (468, 3)).astype(np.float32)
    assert FaceLandmarker(write_task(tmp_path / "a.task"))(portrait(), Landmarks(points, 1.0)) is None


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"no zip", "no .task file"), ((), "face_blendshapes.tflite")]
)
def test_another_file_is_named(tmp_path: Path, content: bytes | tuple[str, ...] | None, message: str) -> None:
    path = tmp_path / "a.task"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        write_task(path, names=content)
    with pytest.raises(DataError, match=message):
        FaceLandmarker(path)


def test_networks_that_are_none_are_named(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the tracker runs in OpenVINO")
    with pytest.raises(DataError, match="Download"):
        FaceLandmarker(write_task(tmp_path / "a.task"))


def test_openvino_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[openvino\]"):
        FaceLandmarker(write_task(tmp_path / "a.task"))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_every_map_rises_and_stays_on_the_scale(scores: list[float]) -> None:
    for au, one in pseudo.read_maps().items():
        told = [one(score) for score in sorted(scores)]
        assert told == sorted(told), au
        assert 0 <= told[0] <= told[-1] <= MAX_INTENSITY


def test_the_file_says_how_the_maps_were_measured() -> None:
    about = pseudo.about()
    assert "rendered faces of known intensities" in about["measured"]
    assert about["command"].startswith("python benchmarks/pseudo_labels.py fit")
    assert set(pseudo.read_maps()) == set(pseudo.SHAPES)
    raw = json.loads(Path(pseudo.__file__).with_name("blendshapes.json").read_text())
    assert {au: tuple(one["blendshapes"]) for au, one in raw["maps"].items()} == dict(pseudo.SHAPES)


def test_weak_maps_label_nothing() -> None:
    maps = pseudo.read_maps()
    assert pseudo.labelled_aus(0.0) == tuple(sorted(pseudo.SHAPES))
    strong = pseudo.labelled_aus(0.5)
    assert strong
    assert all(maps[au].correlation >= 0.5 for au in strong)
    assert all(maps[au].correlation < 0.5 for au in set(maps) - set(strong))
    with pytest.raises(UsageError, match="leaves no AU"):
        pseudo.labelled_aus(1.0)


def test_left_is_the_persons_left(tmp_path: Path, networks: Networks) -> None:
    """Each site has its own side's score; what the tracker is blind to stays out of the set."""
    write_picture(tmp_path / "faces" / "sub" / "a.png")
    write_picture(tmp_path / "faces" / "b.png", nobody())
    write_picture(tmp_path / "faces" / "c.png")
    planned = photos.plan(
        tmp_path / "faces", Options(), tracker=write_task(tmp_path / "a.task"), min_correlation=0.5, licence="CC0-1.0"
    )
    samples, lost = made(planned, tmp_path / "out")
    assert lost == {"no face": 1}
    assert [sample.identity for sample in samples] == ["photos-faces:c", "photos-faces:sub/a"]
    assert not {"AU06", "AU09"} & set(planned.index.aus)
    values = dict(zip((site.name for site in sites_of(planned.index.aus)), samples[0].intensities, strict=True))
    assert values["AU12_left"] > values["AU12_right"] + 1
    maps = pseudo.read_maps()
    assert values["AU12_left"] == pytest.approx(maps["AU12"](0.9), abs=1e-3)
    assert values["AU26"] == pytest.approx(maps["AU26"](0.5), abs=1e-3)
    assert values["AU25"] == pytest.approx(maps["AU25"](0.5 / 3), abs=1e-3)


def test_a_set_says_that_its_labels_are_pseudo_labels(tmp_path: Path, networks: Networks) -> None:
    write_picture(tmp_path / "faces" / "a.png")
    task = write_task(tmp_path / "a.task")
    index = photos.plan(tmp_path / "faces", Options(), tracker=task, licence="CC0-1.0").index
    assert index.kind == "photos"
    assert index.licence.startswith("CC0-1.0; labels are pseudo-labels of MediaPipe Face Landmarker (Apache-2.0)")
    assert index.generator["labels"] == "pseudo"
    assert index.generator["tracker"]["sha256"] == tracker.digest(task)
    networks.presence = -9.0
    samples, lost = made(photos.plan(tmp_path / "faces", Options(), tracker=task), tmp_path / "out")
    assert (samples, lost) == ([], {"the tracker sees no face": 1})


def test_a_folder_without_photographs_is_named(tmp_path: Path, networks: Networks) -> None:
    (tmp_path / "faces").mkdir()
    with pytest.raises(DataError, match="no labelled picture"):
        photos.plan(tmp_path / "faces", Options(), tracker=write_task(tmp_path / "a.task"))
