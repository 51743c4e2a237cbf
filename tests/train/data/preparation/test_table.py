"""A folder of pictures with one CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from picture_trees import nobody, table, write_labels, write_picture

from dsrfau_edge.action_units import sites_of
from dsrfau_edge.errors import DataError
from dsrfau_edge.shards import Sample
from dsrfau_edge.train.data.preparation.options import Options
from dsrfau_edge.train.data.preparation.table import plan

from .making import made


def values(sample: Sample, aus: tuple[str, ...]) -> dict[str, float]:
    """Labelled sites only."""
    sites = [site.name for site in sites_of(aus)]
    return {site: float(value) for site, value in zip(sites, sample.intensities, strict=True) if not np.isnan(value)}


@pytest.mark.parametrize(
    "text",
    [
        "path,subject,AU12,AU12_left,AU25\na.jpg,x,2,3,\nb.jpg,y,,,1.5\n",
        "\ufeffpath,subject,AU12,AU12_left,AU25\r\na.jpg,x,2,3,\r\n\r\nb.jpg,y,,,1.5\r\n",
        "AU25,subject,au12_LEFT,path,12\n,x,3,a.jpg,2\n1.5,y,,b.jpg,NaN\n",
        'path,subject,AU12,AU12_left,AU25\n"a.jpg",x, 2 ,3,""\n"b.jpg","y",,,1.5\n',
    ],
    ids=["plain", "BOM and CRLF", "other order and spelling", "quotes"],
)
def test_usual_spellings_are_the_same(tmp_path: Path, text: str) -> None:
    table(tmp_path / "faces", text)
    planned = plan(tmp_path / "faces", Options())
    assert planned.index.aus == ("AU12", "AU25")
    samples, lost = made(planned, tmp_path / "out")
    assert lost == {}
    assert [sample.identity for sample in samples] == ["table-faces:x", "table-faces:y"]
    assert values(samples[0], planned.index.aus) == {"AU12_left": 3.0, "AU12_right": 2.0}
    assert values(samples[1], planned.index.aus) == {"AU25": 1.5}


def test_pictures_that_give_nothing_are_counted(tmp_path: Path) -> None:
    text = "path,subject,AU12\na.jpg,x,1\nb.jpg,x,2\nc.jpg,x,3\nd.jpg,x,\nsub/e.jpg,x,5\n"
    table(tmp_path / "faces", text, ("a.jpg", "d.jpg", "sub/e.jpg"))
    write_picture(tmp_path / "faces" / "b.jpg", nobody())
    samples, lost = made(plan(tmp_path / "faces", Options()), tmp_path / "out")
    assert [sample.meta["source"] for sample in samples] == ["a.jpg", "sub/e.jpg"]
    assert lost == {"no face": 1, "picture missing": 1, "no label": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("path,subject,AU12\n", "no rows"),
        ("file,subject,AU12\na.jpg,x,1\n", "no column path"),
        ("path,AU12\na.jpg,1\n", "no column subject"),
        ("path;subject;AU12\na.jpg;x;1\n", "semicolons"),
        ("path,subject\na.jpg,x\n", "photos"),
        ("path,subject,AU12,mood\na.jpg,x,1,good\n", "'mood'"),
        ("path,subject,AU99\na.jpg,x,1\n", "'AU99'"),
        ("path,subject,AU25_left\na.jpg,x,1\n", "'AU25_left'"),
        ("path,subject,AU12,au12\na.jpg,x,1,1\n", "more than one column AU12"),
        ("path,subject,AU12\na.jpg,x,1\nb.jpg,x\n", "line 3"),
        ("path,subject,AU12\na.jpg,x,7\n", "line 2: AU12 is '7'"),
        ("path,subject,AU12\na.jpg,x,-1\n", "line 2: AU12 is '-1'"),
        ("path,subject,AU12\na.jpg,x,high\n", "line 2: AU12 is 'high'"),
        ("path,subject,AU12\na.jpg,,1\n", "line 2: no subject"),
        ("path,subject,AU12\na.jpg,x,1\na.jpg,y,2\n", "line 2 and in line 3"),
        ("path,subject,AU12\na.jpg,x,1\n./a.jpg,y,2\n", "line 2 and in line 3"),
        ("path,subject,AU12\n../secret.jpg,x,1\n", "leads out"),
        ("path,subject,AU12\n/etc/secret.jpg,x,1\n", "leads out"),
        ("path,subject,AU12\nC:\\secret.jpg,x,1\n", "leads out"),
        ("path,subject,AU12\nlink/secret.jpg,x,1\n", "leads out"),
        ('path,subject,AU12\n"a.jpg,x,1\n', "comma-separated"),
        ("path,subject,AU12\nx.jpg,x,1\n", "picture missing: 1"),
    ],
)
def test_what_is_not_as_documented_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = table(tmp_path / "faces", text)
    write_picture(tmp_path / "secret.jpg")
    (file.parent / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match=message.replace("'", ".")):
        plan(file, Options())


def test_many_faults_are_counted(tmp_path: Path) -> None:
    file = table(tmp_path / "faces", "path,subject,AU12\n" + "".join(f"{n}.jpg,x,8\n" for n in range(9)))
    with pytest.raises(DataError, match="and 4 more"):
        plan(file, Options())


def test_text_in_another_encoding_is_named(tmp_path: Path) -> None:
    file = table(tmp_path / "faces", "path,subject,AU12\na.jpg,x,1\n")
    file.write_bytes("path,subject,AU12\na.jpg,Zoë,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        plan(file, Options())


def test_a_folder_holds_one_table(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    with pytest.raises(DataError, match="none"):
        plan(tmp_path / "faces", Options())
    table(tmp_path / "faces", "path,subject,AU12\na.jpg,x,1\n")
    write_labels(tmp_path / "faces" / "more.csv", "path\n")
    with pytest.raises(DataError, match=r"labels\.csv, more\.csv"):
        plan(tmp_path / "faces", Options())
    assert plan(tmp_path / "faces" / "labels.csv", Options()).count == 1
    with pytest.raises(DataError, match="does not exist"):
        plan(tmp_path / "absent", Options())


def test_the_licence_is_recorded(tmp_path: Path) -> None:
    table(tmp_path / "faces", "path,subject,AU12\na.jpg,x,1\n")
    assert plan(tmp_path / "faces", Options(), licence="CC0-1.0").index.licence == "CC0-1.0"
