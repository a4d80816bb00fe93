"""`--workers N`: one address and one database, several processes, and what happens when one of them ends."""

import http.client
import os
import pty
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from proffer.serving.sockets import listen_per_worker
from support.postgres import lent_database
from support.process import PROFFER, environment
from support.server import NAMESPACE, ODE, XCORE
from support.workers import (
    DECISIONS,
    PATIENCE_S,
    Load,
    RunningServer,
    a_decision,
    alive,
    ask,
    run_workers,
    until,
)

HOME = "/data/core/xcore/"
TAGS = f"{XCORE}/instances?schema={NAMESPACE}tag"


@pytest.fixture(params=["sqlite", "postgres"])
def options(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """Options of a server for each kind of database."""
    if request.param == "sqlite":
        yield ()
        return
    with lent_database() as url:
        yield ("--database", url)


def create_tag(server: RunningServer, name: str) -> str:
    media = f'application/schema-instance+json; schema="{NAMESPACE}tag"'
    path = f"{XCORE}/instances"
    with closing(server.connect()) as connection:
        status, _, receipt = ask(connection, "POST", path, {"xdm:name": name}, {"Content-Type": media})
    assert status == 201
    return str(receipt["instanceId"])


@contextmanager
def shared_out(server: RunningServer, workers: list[int], count: int) -> Iterator[list[http.client.HTTPConnection]]:
    """So many connections, of which every worker has one at least."""
    for _ in range(50):
        with server.connections(count) as connections:
            if all(sockets_of(pid, server.port) for pid in workers):
                yield connections
                return
    raise AssertionError("some worker takes no connections")


def workers_there(server: RunningServer, count: int, without: list[int] | None = None) -> list[int]:
    """The workers, if there are so many, all take connections, and none is one of those; else nothing."""
    found = server.workers()
    if len(found) != count or set(found) & set(without or ()):
        return []
    with server.connections(2 * count):
        if all(sockets_of(pid, server.port) for pid in found):
            return found
    return []


def test_connections_are_spread_over_all_workers(tmp_path: Path) -> None:
    """Of sixty that stay open each of three workers has a fair share: the kernel chooses by a hash."""
    with run_workers(tmp_path, "--workers", "3") as server:
        workers = until(lambda: workers_there(server, 3))
        with server.connections(60):
            held = [sockets_of(pid, server.port) for pid in workers]

    assert sum(held) == 60
    assert min(held) >= 5, held  # fewer have a chance below one in 100,000


def test_a_second_server_cannot_share_the_port(tmp_path: Path) -> None:
    """The sockets of the workers are open to each other, not to whoever starts another server."""
    with run_workers(tmp_path, "--workers", "2") as server:
        until(lambda: server.get(HOME)[0] == 200)
        command = [*PROFFER, "serve", "--dev", "--workers", "2", "--port", str(server.port)]
        second = subprocess.run(command, check=False, capture_output=True, text=True, env=environment())
    assert second.returncode != 0
    assert "stop the process that uses the port" in second.stderr


def test_workers_share_a_socket_that_a_service_manager_holds(tmp_path: Path) -> None:
    """It cannot be bound again, so it is the only one; so it is where the kernel does not spread connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        assert listen_per_worker(held, 3) == [held] * 3


def sockets_of(pid: int, port: int) -> int:
    """How many established connections to this port the process has, as Linux tells."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        local, state, inode = (line.split()[index] for index in (1, 3, 9))
        if int(local.partition(":")[2], 16) == port and state == "01":
            inodes.add(f"socket:[{inode}]")
    links = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(one.readlink()))
        except OSError:
            continue
    return sum(1 for link in links if link in inodes)


def test_a_change_is_in_force_in_every_worker(tmp_path: Path, options: tuple[str, ...]) -> None:
    """What one worker has acknowledged, both serve; and a deletion is seen by both."""
    with run_workers(tmp_path, *options, "--workers", "2") as server:
        workers = until(lambda: workers_there(server, 2))
        with shared_out(server, workers, 6) as connections:
            tag = f"{XCORE}/instances/{create_tag(server, 'seen by all')}"

            def everybody(status: int) -> bool:
                return {ask(one, "GET", tag)[0] for one in connections} == {status}

            until(lambda: everybody(200))
            assert ask(connections[0], "DELETE", tag)[0] == 202
            until(lambda: everybody(404))


def test_a_killed_worker_is_replaced(tmp_path: Path, options: tuple[str, ...]) -> None:
    """It had acknowledged a write, which is there; the other goes on serving; and soon there are two again."""
    with run_workers(tmp_path, *options, "--workers", "2") as server:
        before = until(lambda: workers_there(server, 2))
        tag = create_tag(server, "kept")
        os.kill(before[0], signal.SIGKILL)
        until(lambda: server.get(f"{XCORE}/instances/{tag}")[0] == 200)
        after = until(lambda: workers_there(server, 2, without=before[:1]))
        assert before[1] in after
        code, err = server.end()

    assert code == 0
    assert f"worker {before[0]} ended by signal 9 and is replaced" in err


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    """One that has been stopped is killed when its patience is over, and another serves in its place."""
    with run_workers(tmp_path, "--workers", "2", "--worker-timeout", "1") as server:
        before = until(lambda: workers_there(server, 2))
        assert server.get(HOME)[0] == 200
        os.kill(before[1], signal.SIGSTOP)
        after = until(lambda: workers_there(server, 2, without=before[1:]))
        assert before[0] in after
        assert all(server.get(HOME)[0] == 200 for _ in range(4))
        code, err = server.end()

    assert code == 0
    assert f"worker {before[1]} was blocked for 1 s and is killed" in err


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    """`kill -9` of the parent: the workers finish and leave, and the port is free for the next server."""
    with run_workers(tmp_path, "--workers", "2") as server:
        workers = until(lambda: workers_there(server, 2))
        assert server.get(HOME)[0] == 200
        server.process.kill()
        server.process.wait()
        until(lambda: not any(alive(pid) for pid in workers))
        with run_workers(tmp_path, "--workers", "2", port=server.port) as after:
            assert after.get(HOME)[0] == 200


def test_workers_are_renewed_without_a_failed_request(tmp_path: Path) -> None:
    """SIGHUP under load, from clients that retry nothing: new processes, and every request answered."""
    with run_workers(tmp_path, "--workers", "2") as server:
        before = until(lambda: workers_there(server, 2))
        body = a_decision(server, limit=1_000_000)
        with shared_out(server, before, 4) as connections:
            until(lambda: {ask(one, "POST", DECISIONS, body)[0] for one in connections} == {200})
        load = Load(lambda: [server.port], DECISIONS, body)
        with load:
            load.wait_for_answers()
            server.process.send_signal(signal.SIGHUP)
            until(lambda: workers_there(server, 2, without=before) or load.failures)
            load.wait_for_answers()
        code, err = server.end()

    assert load.failures == []
    assert set(load.statuses) == {200}
    assert (code, err) == (0, "")


def test_a_server_that_renews_its_workers_stays_ready(tmp_path: Path) -> None:
    """Nobody who asks a worker that gives way hears that the server leaves, and no drain delay is waited for."""
    with run_workers(tmp_path, "--workers", "2", "--drain-delay", "600") as server:
        before = until(lambda: workers_there(server, 2))
        with Load(lambda: [server.port], "/readyz") as load:
            load.wait_for_answers()
            server.process.send_signal(signal.SIGHUP)
            until(lambda: workers_there(server, 2, without=before) or load.failures)
            load.wait_for_answers()

    assert load.failures == []
    assert set(load.statuses) == {200}


def test_a_signal_ends_all_in_order(tmp_path: Path) -> None:
    """Ctrl-C reaches parent and workers alike, SIGTERM only the parent: exit code 0, no traceback, nobody left."""
    for how in (signal.SIGTERM, signal.SIGINT):
        with run_workers(tmp_path, "--workers", "2") as server:
            workers = until(lambda: workers_there(server, 2))
            if how is signal.SIGINT:
                for pid in workers:
                    os.kill(pid, how)
            code, err = server.end(how)
            assert not any(alive(pid) for pid in workers)
        assert (code, err) == (0, "")


def test_a_worker_that_dies_at_birth_is_not_tried_for_ever(tmp_path: Path) -> None:
    """When none was ever ready the parent says so and ends with code 3, having waited longer each time."""
    with run_workers(tmp_path, "--workers", "2") as server:
        began = time.monotonic()
        while server.process.poll() is None and time.monotonic() < began + 30:
            for pid in server.workers():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)
        _, err = server.process.communicate()

    assert server.process.returncode == 3
    assert "no worker could start" in err


def test_caps_are_exact_across_workers(tmp_path: Path, options: tuple[str, ...]) -> None:
    """An offer that may be given 25 times is given 25 times by three workers together, then its fallback."""
    limit, asked, clients = 25, 120, 6
    with run_workers(tmp_path, *options, "--workers", "3") as server:
        workers = until(lambda: workers_there(server, 3))
        body = a_decision(server, limit)
        with shared_out(server, workers, clients) as connections:
            until(lambda: {decide(one, body, dry=True) for one in connections} == {True})
            given: list[bool] = []

            def client(connection: http.client.HTTPConnection) -> None:
                given.extend(decide(connection, body) for _ in range(asked // clients))

            threads = [threading.Thread(target=client, args=(one,)) for one in connections]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    assert (given.count(True), given.count(False)) == (limit, asked - limit)


def decide(connection: http.client.HTTPConnection, body: dict[str, Any], *, dry: bool = False) -> bool:
    """Whether the offer was given; not, too, where this worker does not know the decision yet."""
    asked = {**body, "xdm:dryRun": dry}
    status, _, answer = ask(connection, "POST", f"{ODE}/decisions", asked)
    return status == 200 and "xdm:options" in answer["xdm:propositions"][0]


def test_a_server_ends_with_its_terminal(tmp_path: Path) -> None:
    """SIGHUP where stdin is a terminal: nobody is left behind, with one worker and with two."""
    for workers in ("1", "2"):
        ours, theirs = pty.openpty()
        try:
            with run_workers(tmp_path, "--workers", workers, stdin=theirs) as server:
                until(lambda: server.get(HOME)[0] == 200)
                there = server.workers()
                server.process.send_signal(signal.SIGHUP)
                server.process.wait(PATIENCE_S)
                until(lambda: not any(alive(pid) for pid in there))  # noqa: B023 - asked at once
        finally:
            os.close(ours)
            os.close(theirs)
