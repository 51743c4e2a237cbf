"""`dsrfau-train prepare`, through exit codes, output and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from calling import Called, call
from picture_trees import bp4d, disfa, nobody, table, write_picture
from toy_data import write_toy

from dsrfau_edge.cli.prepare import command
from dsrfau_edge.train.data.preparation import labels, photos, plan
from dsrfau_edge.train.data.prepared import load_prepared


def prepare(*arguments: object) -> Called:
    return call(command, *arguments)


def test_disfa_from_the_command_line(tmp_path: Path) -> None:
    root = disfa(tmp_path / "set", frames=None)
    called = prepare("disfa", root, "-o", tmp_path / "out", "--size", 64, "--subsample", 2, "--workers", 1)
    assert called.code == 0, called.err
    assert "2 samples of 1 subject," in called.out
    assert "Next: dsrfau-train all --data" in called.out
    data = load_prepared([tmp_path / "out"])
    assert [record["frame"] for record in data.meta] == [1, 3]
    assert (data.index.kind, data.index.input_size, data.index.crop_size) == ("disfa", 64, 80)
    assert data.index.generator["camera"] == "left"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"index.json", "summary.json", "losses.csv", "preview.jpg", "plan.json"} <= names
    again = prepare("disfa", root, "-o", tmp_path / "out", "--size", 64, "--subsample", 2, "--json")
    assert json.loads(again.out)["samples"] == 2


def test_bp4d_as_json(tmp_path: Path) -> None:
    root = bp4d(tmp_path / "set")
    write_picture(root / "F001" / "T1" / "2441.jpg", nobody())
    called = prepare("bp4d", root, "-o", tmp_path / "out", "--workers", 1, "--json")
    assert called.code == 0, called.err
    report = json.loads(called.out)
    assert (report["kind"], report["samples"], report["lost"]) == ("bp4d", 2, {"no face": 1})
    assert report["bands"]["AU12"]["0"] == 1


def test_losses_are_told(tmp_path: Path) -> None:
    table(tmp_path / "faces", "path,subject,AU12\na.jpg,x,1\nb.jpg,x,2\nc.jpg,x,3\n")
    write_picture(tmp_path / "faces" / "b.jpg", nobody())
    called = prepare("table", tmp_path / "faces", "-o", tmp_path / "out", "--workers", 1, "--licence", "CC0-1.0")
    assert called.code == 0, called.err
    assert "pictures not in the set: no face: 1" in called.out
    assert "pictures not in the set: picture missing: 1" in called.out
    assert "more pictures were lost than prepared" in called.err
    assert load_prepared([tmp_path / "out"]).index.licence == "CC0-1.0"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("disfa", "{empty}", "-o", "{out}"), 5, "ActionUnit_Labels/SN001/SN001_au1.txt"),
        (("bp4d", "{disfa}", "-o", "{out}"), 5, "AU-INT/AU06/F001_T1_AU06.csv"),
        (("table", "{empty}", "-o", "{out}"), 5, "one CSV"),
        (("disfa", "{disfa}", "-o", "{out}", "--size", "100"), 2, "multiples of 32"),
        (("disfa", "{disfa}", "-o", "{out}", "--camera", "top"), 2, "top"),
        (("disfa", "{disfa}", "-o", "{out}", "--subject", "SN077"), 5, "SN077"),
        (("disfa", "{disfa}"), 2, "--output"),
        (("disfa", "{disfa}", "-o", "{disfa}/ActionUnit_Labels/SN001/SN001_au1.txt"), 5, "cannot be written"),
        (("photos", "{disfa}", "-o", "{out}"), 2, "--tracker"),
        (("photos", "{disfa}", "-o", "{out}", "--tracker", "{disfa}/none.task"), 5, "none.task cannot be read"),
        (("photos", "{disfa}", "-o", "{disfa}/out", "--tracker", "a.task"), 2, "lies in"),
        (("rendered", "{disfa}", "-o", "{out}"), 5, "index.json"),
        (("rendered", "{toy}", "-o", "{out}"), 5, "kind 'toy'"),
        (("ckplus", "{disfa}", "-o", "{out}"), 2, "ckplus"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "disfa": disfa(tmp_path / "disfa"), "out": tmp_path / "out"}
    places["toy"] = write_toy(tmp_path / "toy")
    called = prepare(*(argument.format(**places) for argument in arguments))
    assert (called.code, message in called.err) == (code, True), called.err
    assert not (tmp_path / "out").exists()


DOCS = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_documented_commands_are_understood() -> None:
    lines = [line.split()[2:] for line in DOCS.splitlines() if line.startswith("    dsrfau-train prepare ")]
    assert {kind for kind, *_ in lines} == set(command.commands)
    for kind, *arguments in lines:
        command.commands[kind].make_context(kind, list(arguments))  # raises for what it does not know


def test_the_documents_name_every_reason_and_option() -> None:
    reasons = [value for name, value in vars(plan).items() if name.isupper() and isinstance(value, str)]
    defects = [value for name, value in vars(labels).items() if name.isupper() and isinstance(value, str)]
    assert len(reasons) > 8
    assert len(defects) > 6
    for reason in (*reasons, *defects, photos.UNTRACKED):
        assert f"`{reason}`" in DOCS
    for kind in command.commands.values():
        for option in (parameter for parameter in kind.params if parameter.param_type_name == "option"):
            if {"--verbose", "--quiet", "--version"} & set(option.opts):
                continue  # every command has them, once the programs' entry has been loaded
            assert any(spelling in DOCS for spelling in option.opts), option.opts


def test_every_kind_has_help() -> None:
    called = prepare("--help")
    assert called.code == 0
    for kind in command.commands:
        assert kind in called.out
        assert prepare(kind, "--help").code == 0
