"""Notifications reach a real datagram socket as systemd's would be."""

from __future__ import annotations

import os
import socket

import pytest

from dsrfau_edge.service.notify import Notifier


@pytest.fixture
def manager(tmp_path):
    """The socket of a service manager, and its address."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "notify"))
    receiver.settimeout(10)
    yield receiver, str(tmp_path / "notify")
    receiver.close()


def test_lines_go_in_one_datagram(manager):
    receiver, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.send("READY=1", "STATUS=1 of 2 cameras running")
    assert receiver.recv(4096) == b"READY=1\nSTATUS=1 of 2 cameras running"
    notifier.close()
    notifier.send("STOPPING=1")  # after the end: nothing, and no error


def test_an_abstract_address():
    name = f"dsrfau-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(10)
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}"})
        notifier.send("WATCHDOG=1")
        assert receiver.recv(4096) == b"WATCHDOG=1"
        notifier.close()


@pytest.mark.parametrize("address", ["", "tcp://x", "/nowhere/at/all", "/" + "x" * 300])
def test_where_nobody_listens_nothing_happens(address):
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.send("READY=1")
    notifier.close()


def test_a_manager_that_does_not_read_is_not_waited_for(manager):
    _, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address})
    for _ in range(5000):
        notifier.send("WATCHDOG=1")
    notifier.close()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_time(environment, seconds):
    assert Notifier(environment).watchdog == seconds
