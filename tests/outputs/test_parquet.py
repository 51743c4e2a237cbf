"""Parquet: what is written is read back, with its types; memory holds one group of rows."""

from __future__ import annotations

import errno
import json
import signal
from dataclasses import replace

import pytest
from faces import AUS, make_face, make_result

from dsrfau_edge.outputs.columns import Columns

resource = pytest.importorskip("resource", reason="limits on files are POSIX")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")

COLUMNS = Columns(AUS, ("AU04", "AU12"), raw=True, neutral=True, about={"bundle": "tiny"})


def tracked(number):
    face = make_face(number, flags=("blurred",))
    return replace(face, raw={au: 1.5 for au in AUS}, present={"AU04": False, "AU12": True, "AU25": True})


def test_a_round_trip(tmp_path):
    from dsrfau_edge.outputs.parquet import Parquet

    output = Parquet(tmp_path / "out.parquet", COLUMNS, group=2)
    output.write(make_result(tracked(0), tracked(7), index=0, timestamp=0.0, source="clip.mp4"))
    output.write(make_result(index=1, timestamp=0.04, source="clip.mp4"))
    assert not (tmp_path / "out.parquet").exists()
    output.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    file = pq.ParquetFile(tmp_path / "out.parquet")
    assert file.num_row_groups == 2, "written as it came"
    rows = file.read().to_pylist()
    assert [(row["frame"], row["face"]) for row in rows] == [(0, 0), (0, 7), (1, None)]
    assert rows[0]["AU12"] == 2.5
    assert rows[0]["AU12_left"] == 3.0
    assert rows[0]["AU12_raw"] == 1.5
    assert rows[0]["AU12_neutral"] is None
    assert (rows[0]["AU04_present"], rows[0]["AU12_present"]) == (False, True)
    assert rows[0]["flags"] == ["blurred"]
    assert rows[2]["timestamp"] == 0.04
    about = json.loads(file.schema_arrow.metadata[b"dsrfau_edge"])
    assert about["aus"] == list(AUS)
    assert about["bundle"] == "tiny"
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types["AU12"] == "float"
    assert types["frame"] == "int64"


def test_pictures_have_no_columns_of_streams(tmp_path):
    from dsrfau_edge.outputs.parquet import Parquet

    output = Parquet(tmp_path / "out.parquet", Columns(AUS, ("AU04", "AU12")))
    output.write(make_result(make_face()))
    output.close()
    names = pq.read_schema(tmp_path / "out.parquet").names
    assert "AU12_confidence" in names
    assert "AU12_raw" not in names
    assert pq.read_table(tmp_path / "out.parquet")["timestamp"].to_pylist() == [None]


def test_nothing_written_is_no_file(tmp_path):
    from dsrfau_edge.outputs.parquet import Parquet

    Parquet(tmp_path / "out.parquet", COLUMNS).close()
    assert not list(tmp_path.iterdir())


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    from dsrfau_edge.errors import RuntimeUnavailable
    from dsrfau_edge.outputs.parquet import Parquet

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[parquet\]"):
        Parquet(tmp_path / "out.parquet", COLUMNS)


def fill(path, room, monkeypatch, rows=40):
    """Write more than there is room for; the error."""
    from dsrfau_edge.outputs import parquet

    monkeypatch.setattr(parquet, "room_for", room)
    output = parquet.Parquet(path, COLUMNS, group=8)
    with pytest.raises(OSError) as caught:  # noqa: PT011, PT012 - its number is looked at; which write fails is open
        for index in range(rows):
            output.write(make_result(tracked(0), index=index, timestamp=index / 30, source="clip.mp4"))
    output.close()
    return caught.value


def test_a_disk_that_fills_leaves_a_table_that_can_be_read(tmp_path, monkeypatch):
    left = iter([1e9, 1e9, 1e4])
    error = fill(tmp_path / "out.parquet", lambda _: next(left), monkeypatch)
    assert error.errno == errno.ENOSPC
    assert "after 16 rows" in str(error)
    assert pq.read_table(tmp_path / "out.parquet")["frame"].to_pylist() == list(range(16))
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_a_torn_table_replaces_nothing(tmp_path, monkeypatch):
    """Where the system says that there is room, and there is none."""
    from dsrfau_edge.outputs.parquet import Parquet

    before = Parquet(tmp_path / "out.parquet", COLUMNS)
    before.write(make_result(tracked(0), timestamp=0.0))
    before.close()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        fill(tmp_path / "out.parquet", lambda _: 1e9, monkeypatch, rows=2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_what_is_left_for_the_footer_is_enough(tmp_path):
    from dsrfau_edge.outputs import parquet

    output = parquet.Parquet(tmp_path / "out.parquet", COLUMNS, group=1)
    for index in range(200):
        output.write(make_result(tracked(0), index=index, timestamp=index / 30, source="clip.mp4"))
    output.close()
    about = pq.read_metadata(tmp_path / "out.parquet")
    needed = about.serialized_size + len(output._schema.serialize()) * 2
    assert needed < parquet._FOOTER + parquet._FOOTER_CELL * about.num_row_groups * about.num_columns
