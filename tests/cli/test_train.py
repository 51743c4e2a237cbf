"""`dsrfau-train` from the command line: teacher and student on toy faces, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from toy_data import write_toy

pytest.importorskip("torch", reason="training needs the train extra")
pytest.importorskip("lightning", reason="training needs the train extra")

from dsrfau_edge.cli import train as module  # noqa: E402
from dsrfau_edge.cli.train import command  # noqa: E402
from dsrfau_edge.errors import DsrfauError, RuntimeUnavailable, UsageError  # noqa: E402
from dsrfau_edge.train.checkpoint import load_network  # noqa: E402


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, toy):
    output = tmp_path_factory.mktemp("trained")
    result = run("all", "--data", toy, "-o", output, "--recipe", "tiny", "--seed", 5)
    assert result.exit_code == 0, result.output
    return output, result


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=True)


def test_all_trains_teacher_and_student(trained):
    output, result = trained
    for role in ("teacher", "student"):
        _, checkpoint = load_network(output / role)
        assert checkpoint.training["role"] == role
        assert checkpoint.training["seed"] == 5
        assert str(output / role) in result.stdout
    assert load_network(output / "student")[1].training["teacher"] is not None
    assert "| **mean** |" in result.stdout
    assert "student: epoch 1 of 1: held out icc" in result.stderr
    assert "Next: dsrfau-export" in result.stdout.splitlines()[-1]


def test_a_second_run_keeps_what_is_there(trained, toy):
    output, first = trained
    again = run("all", "--data", toy, "-o", output, "--recipe", "tiny", "--seed", 5)
    assert again.stdout == first.stdout
    assert again.stderr.count("already trained") == 2


def test_student_finds_the_teacher_of_its_folder(trained, toy):
    output, _ = trained
    arguments = ("student", "--data", toy, "-o", output, "--recipe", "tiny", "--seed", 6, "--json")
    refused = run(*arguments)
    assert isinstance(refused.exception, UsageError)
    assert "--fresh" in str(refused.exception)
    result = run(*arguments, "--fresh")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["student"]["training"]["seed"] == 6
    assert set(report["student"]["metrics"]["held_out"]["per_au"]) == {"AU12", "AU25"}


def test_epochs_limit_and_settings(tmp_path, toy):
    result = run(
        "teacher", "--data", toy, "-o", tmp_path, "--recipe", "tiny", "--epochs", 2, "--limit", 30,
        "--set", "teacher.batch=4", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    checkpoint = json.loads(result.stdout)["teacher"]
    assert checkpoint["training"]["epochs"] == 2
    assert checkpoint["training"]["recipe"]["teacher"]["batch"] == 4
    assert checkpoint["data"]["sets"][0]["samples"] == 30


def test_a_student_needs_a_teacher(tmp_path, toy):
    result = run("student", "--data", toy, "-o", tmp_path, "--recipe", "tiny")
    assert result.exit_code == 2
    assert "dsrfau-train all" in result.output
    result = run("student", "--data", toy, "-o", tmp_path, "--teacher", tmp_path, "--no-teacher")
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--recipe", "nonsense"], 2, "neither a recipe"),
        (["--set", "teacher.epochs=zero", "--recipe", "tiny"], 2, "wrong kind"),
        (["--recipe", "tiny", "--data", "nowhere"], 5, "not prepared data"),
    ],
)
def test_errors_carry_their_exit_code(tmp_path, toy, arguments, code, message):
    result = run("teacher", *(["--data", toy] if "--data" not in arguments else []), "-o", tmp_path, *arguments)
    assert isinstance(result.exception, DsrfauError)
    assert result.exception.exit_code == code
    assert message in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [("--device", "banana"), ("--devices", "x"), ("--devices", "0"), ("--devices", "-1"), ("--devices", "1.5")],
)
def test_devices_that_cannot_be_are_refused_before_anything_is_loaded(tmp_path, monkeypatch, arguments):
    monkeypatch.setattr(module, "_train", lambda *args, **options: pytest.fail("the command began"))
    result = run("teacher", "--data", tmp_path, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert f"'{arguments[0]}'" in result.output
    assert arguments[1] in result.output
    assert "auto" in result.output


@pytest.mark.parametrize("folder", ["teacher", "student", "runs/student"])
def test_a_folder_of_photos_is_refused_before_the_data_is_read(tmp_path, monkeypatch, folder):
    photo = tmp_path / folder / "photo.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"a photo")
    monkeypatch.chdir(tmp_path)
    result = run("all", "--data", "nowhere", "-o", ".", "--recipe", "tiny", "--fresh")
    assert isinstance(result.exception, UsageError)
    assert f"{Path(folder)} is not training's to replace" in str(result.exception)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [photo]


def test_a_missing_extra_names_the_command(monkeypatch):
    import builtins

    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name == "lightning":
            raise ImportError("no lightning", name="lightning")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(RuntimeUnavailable, match=r"dsrfau-edge\[train\]"):
        module.require_training()


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path, toy):
    script = tmp_path / "train.py"  # Lightning starts the other processes with the same command line
    script.write_text("from dsrfau_edge.cli.train import command\n\ncommand()\n")
    result = subprocess.run(
        [sys.executable, str(script), "teacher", "--data", str(toy),
         "-o", str(tmp_path), "--recipe", "tiny", "--device", "cpu", "--devices", "2", "--json"],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["teacher"]["training"]["role"] == "teacher", "one process speaks"
    load_network(tmp_path / "teacher")
