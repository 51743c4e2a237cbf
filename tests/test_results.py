"""Faces and the rows they become."""

from __future__ import annotations

import dataclasses
import json

import pytest
from faces import AUS, make_face, make_result

from dsrfau_edge.errors import UsageError
from dsrfau_edge.results import Assembler, csv_header, csv_rows, openface_header, openface_rows

SIDED = ("AU04", "AU12")


def test_an_au_is_the_mean_of_its_sites():
    face = make_face()
    assert face["AU04"] == pytest.approx(0.4)
    assert face["AU12"] == face[12] == face["au12"] == pytest.approx(2.5)
    assert face["AU25"] == 4.75
    assert face.left == {"AU04": pytest.approx(0.2), "AU12": 3.0}
    assert face.right == {"AU04": pytest.approx(0.6), "AU12": 2.0}


def test_letters_and_presence_come_from_the_same_intensity():
    face = make_face()
    assert face.letters == {"AU04": "", "AU12": "C", "AU25": "E"}
    assert face.presence == {"AU04": False, "AU12": True, "AU25": True}


def test_asking_for_an_au_that_is_not_there_names_those_that_are():
    with pytest.raises(UsageError, match="AU04, AU12, AU25"):
        make_face()["AU06"]
    with pytest.raises(UsageError, match="Unknown action unit"):
        make_face()["AU99"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("café.jpg", "café.jpg"), ("caf\udce9.jpg", "caf\ufffd.jpg"), ("caf\ud800.jpg", "caf?.jpg")],
    ids=["UTF-8", "Latin-1", "half a UTF-16 pair"],
)
def test_any_source_can_be_written(name, shown):
    result = make_result(make_face(), source=name)
    assert result.source == result.to_dict()["source"] == csv_rows(result, AUS, SIDED)[0][0] == shown
    assert shown.encode("utf-8")


def test_a_face_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_face().id = 3


def test_only_some_aus():
    face = make_face(heatmaps=True).only(["AU25", "AU12"])
    assert list(face.aus) == ["AU25", "AU12"]
    assert set(face.left) == {"AU12"}
    assert set(face.confidences) == {"AU12", "AU25"}
    assert set(face.heatmaps) == {"AU12_left", "AU12_right", "AU25"}


def test_json_has_everything_by_name():
    raw = json.loads(json.dumps(make_result(make_face(flags=["small"]), index=3, timestamp=0.12).to_dict()))
    assert (raw["schema"], raw["source"], raw["frame"], raw["timestamp"]) == (1, "a.jpg", 3, 0.12)
    assert (raw["width"], raw["height"]) == (200, 160)
    (face,) = raw["faces"]
    assert face["aus"]["AU12"] == {
        "intensity": 2.5, "letter": "C", "present": True, "confidence": 0.75, "left": 3.0, "right": 2.0,
    }  # fmt: skip
    assert "left" not in face["aus"]["AU25"]
    assert face["quality"]["flags"] == ["small"]
    assert face["box"] == [20, 30, 120, 140]


def test_csv_rows_fit_their_header():
    header = csv_header(AUS, SIDED)
    rows = csv_rows(make_result(make_face(0), make_face(1, flags=["small", "blurred"]), timestamp=1.5), AUS, SIDED)
    assert [len(row) for row in rows] == [len(header)] * 2
    cells = dict(zip(header, rows[1], strict=True))
    assert cells["face"] == "1"
    assert cells["timestamp"] == "1.5000"
    assert cells["flags"] == "small blurred"
    assert (cells["AU12"], cells["AU12_left"], cells["AU12_right"]) == ("2.5000", "3.0000", "2.0000")
    assert cells["AU12_confidence"] == "0.7500"


def test_a_frame_without_faces_keeps_its_row():
    header = csv_header(AUS, SIDED)
    (row,) = csv_rows(make_result(index=7), AUS, SIDED)
    assert row == ["a.jpg", "7", "", *[""] * (len(header) - 3)]


def test_openface_columns():
    assert openface_header(AUS) == [
        "frame", "face_id", "timestamp", "confidence", "success",
        "AU04_r", "AU12_r", "AU25_r", "AU04_c", "AU12_c", "AU25_c",
    ]  # fmt: skip
    (row,) = openface_rows(make_result(make_face(), index=4, timestamp=0.5), 5, AUS)
    assert row == ["5", "0", "0.500", "0.88", "1", "0.40", "2.50", "4.75", "0.00", "1.00", "1.00"]
    (empty,) = openface_rows(make_result(), 1, AUS)
    assert empty == ["1", "0", "0.000", "0.00", "0", *["0.00"] * 6]


def test_assemble_refuses_a_wrong_number_of_sites():
    with pytest.raises(ValueError, match="3 values for 2 sites"):
        Assembler(["AU12"], [("AU12", "left"), ("AU12", "right")])([0.0, 0.0, 0.0])
