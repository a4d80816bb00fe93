"""A server with several workers, for tests, and clients that do not retry."""

import http.client
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from support.process import listening_address, start_server
from support.server import NAMESPACE, ODE, XCORE

PATIENCE_S = 30.0
DECISIONS = f"{ODE}/decisions"


@dataclass(frozen=True)
class RunningServer:
    """A server process and its URL."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    def workers(self) -> list[int]:
        """Return the process ids of its living workers."""
        return children(self.process.pid)

    def end(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and the output on stderr."""
        self.process.send_signal(how)
        _, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, err

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """Return a new connection."""
        if context is not None:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE_S, context=context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and JSON of a path, over a new connection."""
        with closing(self.connect()) as connection:
            return ask(connection, "GET", path)[::2]

    @contextmanager
    def connections(self, count: int) -> Iterator[list[http.client.HTTPConnection]]:
        """Open so many connections, each with one completed request."""
        with ExitStack() as stack:
            connections = [stack.enter_context(closing(self.connect())) for _ in range(count)]
            for connection in connections:
                ask(connection, "GET", "/healthz")
            yield connections


def children(parent: int) -> list[int]:
    """Return the living children of a process, from /proc."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, ppid = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(ppid) == parent and state != "Z":
                    pids.append(int(entry.name))
    return sorted(pids)


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def run_workers(
    folder: Path,
    *options: str,
    dev: bool = True,
    port: int = 0,
    stdin: int = subprocess.DEVNULL,
    **variables: str,
) -> Iterator[RunningServer]:
    """Run a server with its database in `folder`; kill all its processes at the end."""
    mode = ["--dev"] if dev else []
    process = start_server(folder, *mode, *options, port=port, stdin=stdin, **variables)
    pids: list[int] = []
    try:
        server = RunningServer(process, listening_address(process))
        yield server
        pids = server.workers()
    finally:
        pids = pids or children(process.pid)
        process.kill()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if process.stderr is not None and not process.stderr.closed:
            process.communicate()
        process.wait()


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    document: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], Any]:
    """Send a request; return status, headers by lower-case name, and JSON body."""
    body = None if document is None else json.dumps(document).encode()
    sent = {"Content-Type": "application/json"} if body else {}
    connection.request(method, path, body, {**sent, **(headers or {})})
    answer = connection.getresponse()
    text = answer.read()
    response_headers = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, response_headers, json.loads(text) if text else None


def until(condition: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Poll `condition` until its value is true; return the value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"still {value!r} after {seconds} s"
        time.sleep(0.01)
    return value


def set_no_delay(connection: http.client.HTTPConnection) -> None:
    """Set TCP_NODELAY."""
    sock: socket.socket | None = connection.sock
    assert sock is not None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass
class Load:
    """Clients that send requests continuously without retries, over kept-alive connections."""

    ports: Callable[[], Sequence[int]]
    path: str
    body: Any = None
    clients: int = 4
    pause_s: float = 0.002
    statuses: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_answers(self, count: int = 50) -> None:
        """Wait for so many more responses, or a failure."""
        goal = len(self.statuses) + count
        until(lambda: len(self.statuses) >= goal or self.failures)

    def _run(self, number: int) -> None:
        connections: dict[int, http.client.HTTPConnection] = {}
        turn = number
        while not self._stop.is_set():
            ports = self.ports()
            port = ports[turn % len(ports)]
            turn += 1
            connection = connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S))
            try:
                if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
                    connection.close()  # the server closed it; every connection pool checks this
                if connection.sock is None:
                    connection.connect()
                    set_no_delay(connection)
                method = "GET" if self.body is None else "POST"
                status, _, _ = ask(connection, method, self.path, self.body)
                self.statuses.append(status)  # a `Connection: close` closes ours too
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{port}: {error!r}")
                connection.close()
            time.sleep(self.pause_s)
        for connection in connections.values():
            connection.close()


def a_decision(server: RunningServer, limit: int) -> dict[str, Any]:
    """Create a decision whose only offer has this total cap; return a request for it."""
    html = f"{NAMESPACE}content-component-html"
    component = {"@type": html, "dc:format": "text/html", "xdm:content": "<p>hello</p>"}
    with closing(server.connect()) as connection:

        def create(kind: str, **document: Any) -> str:
            media = f'application/schema-instance+json; schema="{NAMESPACE}{kind}"'
            members = {f"xdm:{name}": value for name, value in document.items()}
            status, _, receipt = ask(connection, "POST", f"{XCORE}/instances", members, {"Content-Type": media})
            assert status == 201, receipt
            return str(receipt["@id"])

        place = create("offer-placement", name="Home", channel="web", componentType=html)
        representations = [{"xdm:placement": place, "xdm:components": [component]}]
        tag = create("tag", name="all")
        create(
            "personalized-offer",
            name="Few",
            status="approved",
            representations=representations,
            rank={"xdm:priority": 1},
            tags=[tag],
            cappingConstraint={"xdm:globalCap": limit},
        )
        fallback = create("fallback-offer", name="House", status="approved", representations=representations)
        collection = create("offer-filter", name="All", filterType="anyTags", ids=[tag])
        criteria = [{"xdm:placements": [place], "xdm:optionSelection": {"xdm:filter": collection}}]
        decision = create("offer-activity", name="Home", status="live", fallback=fallback, criteria=criteria)
    return {
        "xdm:propositionRequests": [{"xdm:activityId": decision, "xdm:placementId": place}],
        "xdm:profiles": [{"xdm:identityMap": {"Email": [{"xdm:id": "ada@example.org"}]}}],
    }
