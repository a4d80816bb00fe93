"""SIGTERM: nothing that was begun is lost, and whoever spreads the load can see it coming."""

import http.client
import json
import signal
import socket
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from support.server import ODE
from support.workers import (
    DECISIONS,
    Load,
    RunningServer,
    a_decision,
    alive,
    ask,
    run_workers,
    until,
)

HOME = "/data/core/xcore/"


def test_what_is_under_way_is_finished(tmp_path: Path) -> None:
    """A request whose body is half there when SIGTERM comes is answered, as the last of its connection."""
    body = json.dumps({"xdm:propositionRequests": [], "xdm:profiles": [{}]}).encode()
    for workers in ("1", "2"):
        with run_workers(tmp_path, "--workers", workers) as server:
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")  # this worker serves
                client.sendall(
                    f"POST {ODE}/decisions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n".encode()
                )
                client.sendall(body[:10])
                time.sleep(0.2)
                server.process.send_signal(signal.SIGTERM)
                until(lambda: not accepts(server))
                client.sendall(body[10:])
                text = b"".join(iter(lambda: client.recv(65_536), b""))
                assert text.startswith(b"HTTP/1.1 4")  # no proposition was asked for
                assert b"connection: close" in text
                assert text.endswith(b"}")
            _, err = server.process.communicate(timeout=20)
            assert (server.process.returncode, err) == (0, "")


def accepts(server: RunningServer) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=2).close()
    except OSError:
        return False
    return True


def refusal(server: RunningServer) -> Any:
    """Return the body of a 503 of `/readyz`, else None; the next answer may come from another worker."""
    status, problem = server.get("/readyz")
    return problem if status == 503 else None


def test_it_says_so_before_it_leaves(tmp_path: Path) -> None:
    """While the drain delay lasts `/readyz` is 503 with the reason, `/healthz` is 200 and everything is served."""
    for workers in ("1", "2"):
        with run_workers(tmp_path, "--drain-delay", "2", "--workers", workers) as server:
            assert server.get("/readyz") == (200, {"status": "ready"})
            server.process.send_signal(signal.SIGTERM)
            problem = until(lambda: refusal(server))
            assert list(problem["reasons"]) == ["draining"]
            assert server.get("/healthz") == (200, {"status": "ok"})
            assert server.get(HOME)[0] == 200
            _, err = server.process.communicate(timeout=20)
            assert (server.process.returncode, err) == (0, "")


def test_it_leaves_within_the_bound(tmp_path: Path) -> None:
    """A request that never ends is cut off, with a word in the log."""
    with (
        run_workers(tmp_path, "--shutdown-timeout", "1") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as client,
    ):
        client.sendall(f"POST {ODE}/decisions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode())
        time.sleep(0.2)
        code, err = server.end()
        assert client.recv(1) == b""

    assert code == 0
    assert "1 requests were not finished within 1 s" in err


def test_two_servers_are_restarted_one_after_the_other(tmp_path: Path) -> None:
    """On one database, under load from clients that ask `/readyz` as a load balancer does and retry nothing."""
    options = ("--drain-delay", "1")
    with ExitStack() as held:
        first, second = (held.enter_context(run_workers(tmp_path, *options)) for _ in range(2))
        ready = {first.port, second.port}
        body = a_decision(first, limit=1_000_000)
        until(lambda: knows(second, body))
        load = Load(lambda: sorted(ready), DECISIONS, body)
        with load:
            load.wait_for_answers()
            for server in (first, second):
                server.process.send_signal(signal.SIGTERM)
                until(lambda: not is_ready(server.port))  # noqa: B023 - asked at once
                ready.discard(server.port)
                server.process.communicate(timeout=20)
                assert server.process.returncode == 0
                held.enter_context(run_workers(tmp_path, *options, port=server.port))
                until(lambda: is_ready(server.port))  # noqa: B023 - asked at once
                ready.add(server.port)
                load.wait_for_answers()

    assert load.failures == []
    assert set(load.statuses) == {200}


def knows(server: RunningServer, body: Any) -> bool:
    """Whether the server has the library that another has taken."""
    with closing(server.connect()) as connection:
        return ask(connection, "POST", DECISIONS, body)[0] == 200


def is_ready(port: int) -> bool:
    """As a load balancer asks: a connection of its own each time."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            return ask(connection, "GET", "/readyz")[0] == 200
        except OSError:
            return False


def test_workers_leave_a_request_of_the_dead_parent_alone(tmp_path: Path) -> None:
    """What a worker has in hand when the parent is killed is answered before the worker leaves."""
    with run_workers(tmp_path, "--workers", "2") as server:
        workers = until(lambda: server.workers() if len(server.workers()) == 2 else [])
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(f"POST {ODE}/decisions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n".encode())
            time.sleep(0.2)
            server.process.kill()
            until(lambda: not accepts(server))
            client.sendall(b"{}")
            assert client.recv(65_536).startswith(b"HTTP/1.1 4")
        until(lambda: not any(alive(pid) for pid in workers))
