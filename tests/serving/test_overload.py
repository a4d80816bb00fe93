"""More than a server takes: a quick no for what is too much, and nobody starves the others."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from support.server import ODE
from support.workers import RunningServer, ask, run_workers, until

HOME = "/data/core/xcore/"
DECISION = json.dumps({"xdm:propositionRequests": [], "xdm:profiles": [{}]}).encode()


def raw(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def head(length: int, more: str = "") -> bytes:
    return (
        f"POST {ODE}/decisions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n{more}\r\n"
    ).encode()


@contextmanager
def in_hand(server: RunningServer, count: int) -> Iterator[list[socket.socket]]:
    """So many requests that the server has begun on: their bodies are still to come."""
    with ExitStack() as held:
        begun = [held.enter_context(raw(server)) for _ in range(count)]
        for one in begun:
            one.sendall(head(len(DECISION)))
        until(lambda: refused(server))
        yield begun


def refused(server: RunningServer) -> bool:
    with closing(server.connect()) as connection:
        return ask(connection, "GET", HOME)[0] == 503


def test_what_is_too_much_is_refused_at_once(tmp_path: Path) -> None:
    """503 with Retry-After and a problem document, on a connection that stays usable; never for what says how it is."""
    with run_workers(tmp_path, "--max-requests", "3", "--metrics") as server:
        with in_hand(server, 3) as begun, closing(server.connect()) as connection:
            for method, body in (("GET", None), ("POST", {"a": 1}), ("HEAD", None)):
                status, headers, problem = ask(connection, method, f"{HOME}?x", body)
                assert (status, headers["retry-after"]) == (503, "1")
                assert headers["content-type"] == "application/problem+json"
                if method != "HEAD":
                    assert problem["code"] == "overloaded"
            for path in ("/healthz", "/readyz"):
                assert ask(connection, "GET", path)[0] == 200
            assert connection.sock is not None  # it was one connection all along
            begun[0].sendall(DECISION)
            assert b" 400 " in begun[0].recv(65_536).split(b"\r\n")[0] + b" 400 "
            until(lambda: ask(connection, "GET", HOME)[0] == 200)  # at once, when there is room
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        with closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
    (line,) = [one for one in text.splitlines() if one.startswith("proffer_http_refused_total ")]
    assert float(line.split()[1]) >= 3


def test_the_body_of_a_refused_request_does_no_harm(tmp_path: Path) -> None:
    """Small ones pass by; with large, chunked or announced ones the answer says that the connection ends."""
    with run_workers(tmp_path, "--max-requests", "2") as server, in_hand(server, 2):
        with raw(server) as client:
            client.sendall(head(10) + b"0123456789" + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            text = b""
            while text.count(b"HTTP/1.1 ") < 2 or not text.endswith(b"}"):
                text += client.recv(65_536)
            assert text.startswith(b"HTTP/1.1 503 ")
            assert b"HTTP/1.1 200 OK" in text
        for sent in (
            head(900_000) + b"x" * 900_000,
            head(5, "Expect: 100-continue\r\n"),
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ):
            with raw(server) as client:
                client.sendall(sent)
                text = client.recv(65_536)
                assert text.startswith(b"HTTP/1.1 503 ")
                assert b"connection: close" in text


def test_a_flood_is_answered_in_full(tmp_path: Path) -> None:
    """Two hundred clients at once on a server that takes eight: all get 200 or 503, and afterwards all is well."""
    with run_workers(tmp_path, "--max-requests", "8") as server:
        statuses: Counter[int] = Counter()
        start = threading.Barrier(50)

        def client() -> None:
            with ExitStack() as held:
                opened = [held.enter_context(raw(server)) for _ in range(4)]
                start.wait()
                for one in opened:
                    one.sendall(f"GET {HOME} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                for one in opened:
                    statuses[int(one.recv(65_536).split()[1])] += 1

        threads = [threading.Thread(target=client) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.get(HOME)[0] == 200

    assert sum(statuses.values()) == 200
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 8


def test_a_thousand_idle_connections_are_no_trouble(tmp_path: Path) -> None:
    """Nor are hundreds of half-sent heads and bodies: who asks is answered; the slow get 408 in the end."""
    with (
        run_workers(tmp_path, "--header-timeout", "2", "--body-timeout", "2") as server,
        ExitStack() as held,
    ):
        idle = [held.enter_context(raw(server)) for _ in range(1000)]
        slow_head = [held.enter_context(raw(server)) for _ in range(100)]
        slow_body = [held.enter_context(raw(server)) for _ in range(100)]
        for one in slow_head:
            one.sendall(b"GET /data HTTP/1.1\r\nHost")
        for one in slow_body:
            one.sendall(head(100) + b"{")
        assert all(server.get(HOME)[0] == 200 for _ in range(20))
        for one in (slow_head[0], slow_head[-1], slow_body[0], slow_body[-1]):
            assert one.recv(65_536).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert one.recv(65_536) == b""
        assert idle[0].recv(65_536) == b""  # it had nothing to say, so it is told nothing
        assert server.get(HOME)[0] == 200


def test_an_idle_connection_makes_room(tmp_path: Path) -> None:
    """At the most connections the one idle for longest is closed; where all are busy a new one gets 503."""
    with run_workers(tmp_path, "--max-connections", "4") as server:
        with server.connections(1) as (oldest,), server.connections(3) as others:
            assert server.get(HOME)[0] == 200
            assert oldest.sock is not None
            assert oldest.sock.recv(1) == b""
            assert [ask(one, "GET", HOME)[0] for one in others] == [200] * 3
        time.sleep(0.1)
        with ExitStack() as held:
            for _ in range(4):
                held.enter_context(raw(server)).sendall(head(100) + b"{")
            time.sleep(0.2)
            with raw(server) as late:
                late.sendall(f"GET {HOME} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                text = late.recv(65_536)
            assert text.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1\r\n" in text


def test_a_quiet_connection_is_closed_in_the_end(tmp_path: Path) -> None:
    """After `keep_alive` seconds without a request; one that asks meanwhile stays."""
    with (
        run_workers(tmp_path, "--keep-alive", "1") as server,
        server.connections(1) as (connection,),
    ):
        for _ in range(4):
            time.sleep(0.4)
            assert ask(connection, "GET", HOME)[0] == 200
        assert connection.sock is not None
        assert connection.sock.recv(1) == b""


def test_what_is_no_request_is_told(tmp_path: Path) -> None:
    """Garbage, a head without end, TLS where none is spoken: a problem document, then the connection ends."""
    with run_workers(tmp_path) as server:
        for sent, status, code in (
            (b"hello\r\n\r\n", 400, "not-http"),
            (b"\x16\x03\x01\x02\x00\x01\x00", 400, "not-http"),
            (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "not-http"),
            (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, 431, "head-too-large"),
            (b"GET /" + b"y" * 100_000, 431, "head-too-large"),
        ):
            with raw(server) as client:
                client.sendall(sent)
                text = b""
                with suppress(ConnectionResetError):
                    while part := client.recv(65_536):
                        text += part
            head_, _, body = text.partition(b"\r\n\r\n")
            assert head_.startswith(b"HTTP/1.1 %d " % status), sent[:50]
            assert b"connection: close" in head_
            assert json.loads(body)["code"] == code
        large = {"x-large": "y" * 50_000}
        with closing(server.connect()) as connection:
            for _ in range(3):
                assert ask(connection, "GET", HOME, headers=large)[0] == 200


def test_who_does_not_read_is_cut_off(tmp_path: Path) -> None:
    """Large answers that nobody takes: their connections are cut, and their places are free again."""
    with (
        run_workers(tmp_path, "--max-requests", "1", "--body-timeout", "1") as server,
        socket.socket() as deaf,
    ):
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(20)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        until(lambda: refused(server))
        until(lambda: server.get(HOME)[0] == 200)
        whole = len(server_says(server, "/openapi.json"))
        got = 0
        with suppress(ConnectionResetError):
            while part := deaf.recv(1 << 20):
                got += len(part)
    assert got < 100 * whole


def server_says(server: RunningServer, path: str) -> bytes:
    with closing(server.connect()) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()
