"""The commands in docs/predict.md run, and write what they say."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import threading
from pathlib import Path

import pytest
from calling import call
from faces import make_face, make_result

from dsrfau_edge.cli.formats import FORMATS
from dsrfau_edge.cli.predict import command
from dsrfau_edge.face.network import ASSETS
from dsrfau_edge.outputs.sockets import Sender

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
SHOWN = re.findall(r"`(--[a-z-]+)", TEXT)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a portrait, a clip and an archive; commands run in it one after another."""
    import cv2

    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(ASSETS.parent / "portrait.jpg", folder)
    picture = cv2.resize(cv2.imread(str(folder / "portrait.jpg")), (256, 256), interpolation=cv2.INTER_AREA)
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (256, 256))
    for _ in range(4):
        writer.write(picture)
    writer.release()
    (folder / "videos" / "sub").mkdir(parents=True)
    shutil.copy(folder / "clip.mp4", folder / "videos" / "a.mp4")
    shutil.copy(folder / "clip.mp4", folder / "videos" / "sub" / "clip.mp4")
    return folder


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_a_command_runs(place, monkeypatch, number):
    for package in ("matplotlib", "rerun", "pyarrow"):
        pytest.importorskip(package)
    monkeypatch.chdir(place)
    program, *arguments = shlex.split(COMMANDS[number])
    assert program == "dsrfau-predict"
    if "results" in arguments and number and COMMANDS[number] != COMMANDS[number - 1]:
        shutil.rmtree("results", ignore_errors=True)
    called = call("predict", *arguments)
    assert called.code == 0, called.err
    for option, name in zip(arguments, arguments[1:], strict=False):
        if option in ("-o", "--draw", "--plot", "--rerun"):
            assert (place / name).exists()


def test_there_are_commands():
    assert len(COMMANDS) > 10


def test_every_option_in_the_text_exists_and_every_form_is_there():
    known = {spelling for parameter in command.params for spelling in (*parameter.opts, *parameter.secondary_opts)}
    assert set(SHOWN) <= known
    for form in FORMATS:
        assert form in TEXT


def test_the_reader_reads(monkeypatch):
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "create_server" in block)
    bound = threading.Event()
    create, ports = socket.create_server, []

    def anywhere(address):
        server = create((address[0], 0))
        ports.append(server.getsockname()[1])
        bound.set()
        return server

    monkeypatch.setattr(socket, "create_server", anywhere)
    shown = []
    code = compile(block, "predict.md", "exec")
    thread = threading.Thread(target=exec, args=(code, {"print": shown.append}), daemon=True)
    thread.start()
    assert bound.wait(10)
    sender = Sender(f"tcp://127.0.0.1:{ports[0]}")
    sender.write(make_result(make_face(), timestamp=0.0))
    sender.close()
    thread.join(10)
    assert shown == [[2.5]]
