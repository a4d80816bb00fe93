"""A real server in a hostile network: bodies that stop in the middle, a thousand connections that do nothing."""

import http.client
import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from api.edge.requests import body
from support.process import run_server

IDLE = 1_000
PATH = "/ee/v1/interact?configId=dev"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder: Path = tmp_path_factory.mktemp("edge")
    with run_server(folder, "--body-timeout", "1", "--header-timeout", "5") as address:
        parts = urlsplit(address)
        yield parts.hostname or "", parts.port or 0


def answered(place: tuple[str, int]) -> int:
    connection = http.client.HTTPConnection(*place, timeout=20)
    try:
        connection.request("POST", PATH, json.dumps(body()), {"Content-Type": "text/plain"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_body_that_stops_in_the_middle_ends(place: tuple[str, int]) -> None:
    """The connection is given up after a while, whether its client waits or leaves; others never notice."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n"
    with socket.create_connection(place, timeout=20) as waits:
        with socket.create_connection(place, timeout=20) as leaves:
            leaves.sendall(head.encode() + b'{"events": [')
        waits.sendall(head.encode() + b'{"events": [')
        assert answered(place) == 200
        said = waits.recv(65_536)  # at last: a refusal, or nothing more to come
        assert not said or said.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
    assert answered(place) == 200


def test_a_thousand_idle_connections_harm_nobody(place: tuple[str, int]) -> None:
    """They are held open, some with half a request, and everybody else is answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + 200
    if soft < wanted:
        assert hard == resource.RLIM_INFINITY or hard >= wanted, "too few open files are allowed here"
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        with ExitStack() as stack:
            for number in range(IDLE):
                idle = stack.enter_context(socket.create_connection(place, timeout=20))
                if number % 3 == 0:
                    idle.sendall(b"POST /ee/v1/interact?configId=dev HTTP/1.1\r\nHost: a\r\n")
            assert [answered(place) for _ in range(20)] == [200] * 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answered(place) == 200
