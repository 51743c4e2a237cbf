"""Label files of lines `frame,intensity`: every defect is refused or counted, none moves a label."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_trees import lines, write_labels

from dsrfau_edge.errors import DataError
from dsrfau_edge.train.data.preparation import labels
from dsrfau_edge.train.data.preparation.labels import count_defects, read_frame_labels, read_sequence


@pytest.mark.parametrize(
    "text",
    [
        "1,0\n2,3\n3,5\n",
        "\ufeff1,0\n2,3\n3,5\n",
        "1,0\r\n2,3\r\n3,5\r\n",
        "frame,intensity\n1,0\n2,3\n3,5",
        "\n1,0\n\n\n2,3\n3,5\n\n",
        " 1 , 0.0\n2.0,3\n3,5\n",
        "3,5\n1,0\n2,3\n",
    ],
    ids=["plain", "BOM", "CRLF", "header", "blank lines", "spaces and decimals", "out of order"],
)
def test_usual_spellings_are_the_same(tmp_path: Path, text: str) -> None:
    found = read_frame_labels(write_labels(tmp_path / "a.txt", text))
    assert found.values == {1: 0.0, 2: 3.0, 3: 5.0}
    assert found.defects == ()


@pytest.mark.parametrize(
    ("line", "defect"),
    [
        ("2,7", labels.OUT_OF_RANGE),
        ("2,-1", labels.OUT_OF_RANGE),
        ("2,inf", labels.OUT_OF_RANGE),
        ("2,NaN", labels.NOT_A_NUMBER),
        ("2,", labels.NOT_A_NUMBER),
        ("2,9", labels.UNKNOWN),
        ("2,4\n2,3", labels.CONTRADICTION),
    ],
)
def test_a_label_that_says_nothing_is_unlabelled_and_counted(tmp_path: Path, line: str, defect: str) -> None:
    found = read_frame_labels(write_labels(tmp_path / "a.txt", f"1,1\n{line}\n3,3\n"), unknown=(9.0,))
    assert math.isnan(found.values[2])
    assert found.defects == ((2, defect),)
    assert (found.values[1], found.values[3]) == (1.0, 3.0)


def test_nine_is_out_of_range_where_it_is_no_code(tmp_path: Path) -> None:
    assert read_frame_labels(write_labels(tmp_path / "a.txt", "1,9\n")).defects == ((1, labels.OUT_OF_RANGE),)


def test_a_frame_twice_with_one_label_keeps_it(tmp_path: Path) -> None:
    found = read_frame_labels(write_labels(tmp_path / "a.txt", "1,1\n1,1\n2,2\n"))
    assert found.values == {1: 1.0, 2: 2.0}
    assert found.defects == ((1, labels.REPEATED),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,1\nhello,2\n", "line 2"),
        (b"1,1\n2;2\n", "line 2"),
        (b"1,1\n2,2,2\n", "line 2"),
        (b"1,1\n2.5,2\n", "line 2"),
        (b"1,1\n-2,2\n", "line 2"),
        (b"1,1\n2,two\n", "no intensity"),
        (b"", "holds no labels"),
        (b"frame,intensity\n", "holds no labels"),
        ("1,1\n".encode("utf-16"), "UTF-8"),
    ],
)
def test_what_is_no_label_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_frame_labels(path)
    assert "a.txt" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt"):
        read_frame_labels(tmp_path / "none.txt")


def test_files_of_other_lengths_leave_their_own_frames_unlabelled(tmp_path: Path) -> None:
    long, short = (write_labels(tmp_path / f"{n}.txt", lines(dict.fromkeys(range(1, n + 1), 2))) for n in (4, 3))
    sequence = read_sequence({"AU12": long, "AU25": short})
    assert sequence.numbers == (1, 2, 3, 4)
    assert sequence.at(3) == {"AU12": 2.0, "AU25": 2.0}
    assert sequence.at(4)["AU12"] == 2.0
    assert math.isnan(sequence.at(4)["AU25"])
    assert count_defects(sequence, [1, 2, 3, 4], ("AU12", "AU25")) == {labels.ABSENT: 1}
    assert count_defects(sequence, [1, 2], ("AU12", "AU25")) == {}
    assert count_defects(sequence, [1, 2], ("AU12", "AU25", "AU26")) == {labels.NO_FILE: 2}


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 9999), st.integers(0, 5), min_size=1), st.randoms())
def test_the_order_of_lines_says_nothing(tmp_path_factory: pytest.TempPathFactory, values, random) -> None:
    order = list(values)
    random.shuffle(order)
    path = tmp_path_factory.mktemp("labels") / "a.txt"
    found = read_frame_labels(write_labels(path, lines({number: values[number] for number in order})))
    assert dict(found.values) == values
