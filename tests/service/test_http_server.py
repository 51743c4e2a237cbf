"""The health endpoint under requests of every kind, over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
from http import HTTPStatus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streams import until

from dsrfau_edge.errors import DsrfauError
from dsrfau_edge.service.http_server import HttpServer, Response, json_response


def broken():
    raise ZeroDivisionError


PAGES = {
    "/healthz": lambda: json_response({"status": "ok"}),
    "/metrics": lambda: Response(HTTPStatus.OK, b"a 1\n"),
    "/broken": broken,
}


@pytest.fixture(scope="module")
def server():
    found = HttpServer(("127.0.0.1", 0), PAGES, seconds=2.0, most_connections=8)
    found.start()
    yield found
    found.close()


def asked(server, method="GET", path="/healthz"):
    connection = http.client.HTTPConnection(*server.address, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read()


def raw(server, content, *, end=True):
    """What comes back for these bytes; b"" where the connection is cut."""
    with socket.create_connection(server.address, timeout=20) as connection:
        answer = b""
        with contextlib.suppress(OSError):
            connection.sendall(content)
            if end:
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                answer += more
        return answer


def test_pages_and_their_types(server):
    assert asked(server) == (200, "application/json", b'{\n "status": "ok"\n}\n')
    assert asked(server, path="/metrics?x=1")[2] == b"a 1\n"
    assert asked(server, "HEAD", "/metrics")[::2] == (200, b"")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET /\xff\x00 HTTP/1.0\r\n\r\n", 404),
        (b"GET http://x/healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/2.0\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"DELETE /healthz HTTP/1.1\r\n\r\n", 405),
        (b"GET /broken HTTP/1.1\r\n\r\n", 500),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 8300, 431),
    ],
)
def test_what_is_no_plain_request_gets_an_error(server, request_, status):
    assert raw(server, request_).startswith(f"HTTP/1.1 {status} ".encode())
    assert asked(server)[0] == 200


def test_a_defect_of_a_page_is_logged_and_not_shown(server, caplog):
    assert asked(server, path="/broken") == (500, "text/plain; charset=utf-8", b"The page could not be made.\n")
    assert "ZeroDivisionError" in caplog.text


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=600)
    | st.tuples(
        st.sampled_from([b"GET", b"HEAD", b"get", b"", b"PRI"]),
        st.binary(max_size=80),
        st.sampled_from([b"HTTP/1.1", b"HTTP/9", b"", b"\xff"]),
        st.lists(st.binary(max_size=80), max_size=5),
    ).map(lambda parts: b" ".join(parts[:3]) + b"\r\n" + b"\r\n".join(parts[3]) + b"\r\n\r\n")
)
def test_any_bytes_get_an_answer_or_a_cut_and_do_no_harm(server, content):
    answer = raw(server, content)
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert asked(server)[0] == 200


def test_a_flood_of_bytes_is_cut(server):
    assert len(raw(server, random.Random(0).randbytes(4 << 20))) < 1000
    assert asked(server)[0] == 200


def test_those_who_send_nothing_keep_nobody_out(server):
    idle = [socket.create_connection(server.address, timeout=20) for _ in range(40)]
    for connection in idle[::2]:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
    try:
        assert asked(server)[0] == 200
        assert until(lambda: len(server._connections) <= 8)
    finally:
        for connection in idle:
            connection.close()


def test_a_request_that_does_not_end_is_cut_after_its_time(server):
    assert raw(server, b"GET /healthz HTTP/1.1\r\n", end=False) == b""


def test_a_request_byte_by_byte_has_the_same_time(server):
    with socket.create_connection(server.address, timeout=20) as connection:
        done = threading.Event()

        def drip():
            with contextlib.suppress(OSError):
                while not done.wait(0.05):
                    connection.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        with contextlib.suppress(OSError):
            assert connection.recv(100) == b""
        done.set()
        dripping.join()
    assert asked(server)[0] == 200


def test_no_connection_and_no_thread_is_left(server):
    assert asked(server)[0] == 200
    assert until(lambda: not server._connections)
    assert until(lambda: not [one for one in threading.enumerate() if one.name == "http request"])


def test_it_listens_on_loopback_alone_and_says_so_otherwise(caplog):
    with contextlib.closing(HttpServer(("127.0.0.1", 0), PAGES)):
        assert not caplog.records
    with contextlib.closing(HttpServer(("0.0.0.0", 0), PAGES)):
        assert "without a password" in caplog.text


def test_an_address_in_use_is_said(server):
    with pytest.raises(DsrfauError, match="--listen"):
        HttpServer(server.address, PAGES)


@pytest.mark.parametrize("host", ["256.1.1.1", "no-such-host.invalid", "x" * 300, "198.51.100.7"])
def test_an_address_that_is_none_is_said(host):
    with pytest.raises(DsrfauError, match="--listen"):
        HttpServer((host, 0), PAGES)


def test_closing_cuts_what_is_open():
    found = HttpServer(("127.0.0.1", 0), PAGES)
    found.start()
    with socket.create_connection(found.address, timeout=20) as connection:
        assert until(lambda: found._connections)
        found.close()
        with contextlib.suppress(OSError):
            assert connection.recv(10) == b""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(found.address, timeout=20)
