"""Cost of serving around a decision, connections per worker, and overload.

    python bench/serving.py [--quick]

The first part runs in one process without a network, in alternating rounds: a bare Starlette endpoint that
decodes and encodes, the same endpoint in Proffer's app, and a decision with and without metrics; the figures
are processor time. The second part opens 32 connections at once to two workers, keeps them, and counts those
of the busier worker: where both share one socket, where each has its own (SO_REUSEPORT), and in Proffer. In
the third part a server that accepts 64 requests at once gets them from 32 and from 512 clients, which pause
when they are refused: the figure is the latency of the served requests.
"""

import asyncio
import os
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from _documents import library, request
from _measure import Row, by_turns, compare_rounds, percentile, run_standalone
from _servers import BY, cores, create_database, proffer
from proffer.api.kit.app import App
from proffer.api.kit.observe import RequestTelemetry
from proffer.app import DEV_CONTAINER, Services, asgi
from proffer.service.library.load import library_entries
from proffer.service.monitoring import Monitoring
from proffer.store.memory.store import MemoryStore

LAYERS = "Processor time around a decision"
SPREAD = "Connections of the busier of two workers"
FLOOD = "A server that accepts 64 requests at once"
BARE = "bare endpoint in Starlette"
PLAIN = "decision, no metrics"
AT_ONCE = 200
CONNECTIONS = 32
PATH = f"/data/core/ode/{DEV_CONTAINER}/decisions"


def rows(*, quick: bool) -> Iterator[Row]:
    yield from layers(0.3 if quick else 2)
    yield from spread(3 if quick else 9)
    yield from floods(1 if quick else 4)


# In one process.


def layers(seconds: float) -> Iterator[Row]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        apps, services = runner.run(_apps())
        calls = {name: lambda app=app: runner.run(_send_requests(app)) for name, app in apps.items()}
        took = {
            name: [duration / AT_ONCE for duration in rounds]
            for name, rounds in by_turns(calls, seconds=seconds).items()
        }
        runner.run(services.stop())
    for name, baseline in (
        (BARE, None),
        ("the same in Proffer's app", BARE),
        (PLAIN, BARE),
        ("decision, counted and timed", PLAIN),
    ):
        ratio, spread_ = compare_rounds(took[name], took[baseline]) if baseline else (None, None)
        yield Row(
            table=LAYERS,
            name=name,
            value=statistics.median(took[name]),
            unit="µs",
            baseline=baseline,
            ratio=ratio,
            spread=spread_,
        )


async def _apps() -> tuple[dict[str, Any], Services]:
    """Return the apps by name; all serve the path of decisions."""
    store = MemoryStore()
    services = Services(store)
    await services.start(dev=True)
    for kind, _, document in library_entries(library(100)):
        await services.catalog.create(services.registry.authorize(BY, DEV_CONTAINER), kind, document)
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    answer = {"xdm:propositions": [{"xdm:content": "z" * 700}]}

    async def endpoint(http_request: Request) -> Response:
        decode(await http_request.body())
        return Response(encode(answer), media_type="application/json")

    async def never(_: Request, error: Exception) -> Response:
        raise error

    route = Route("/data/core/ode/{container}/decisions", endpoint, methods=["POST"])
    monitoring = Monitoring(metrics_enabled=True)
    metered_services = Services(store, metrics=monitoring.metrics)
    await metered_services.registry.catch_up()
    metered_app = asgi(metered_services, dev=True, monitoring=monitoring)
    metered_app.observer = RequestTelemetry(monitoring.metrics, access_log=False, traces=None)
    return {
        BARE: Starlette(routes=[route]),
        "the same in Proffer's app": App(routes=[route], error_handler=never),
        PLAIN: asgi(services, dev=True),
        "decision, counted and timed": metered_app,
    }, services


_BODIES = [request(number).partition(b"\r\n\r\n")[2] for number in range(100)]


async def _send_requests(app: Callable[..., Awaitable[None]]) -> None:
    """Send so many requests one after the other, without the HTTP server."""
    status = 0

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    for number in range(AT_ONCE):
        message = {"type": "http.request", "body": _BODIES[number % 100], "more_body": False}

        async def receive(message: Any = message) -> Any:
            return message

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": PATH,
            "root_path": "",
            "query_string": b"",
            "headers": [
                (b"host", b"127.0.0.1"),
                (b"content-type", b"application/json"),
                (b"accept", b"application/json"),
                (b"content-length", str(len(message["body"])).encode()),  # type: ignore[arg-type]
            ],
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
        }
        await app(scope, receive, send)
    assert status == 200


# Several processes.


def spread(rounds: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        database = create_database(Path(folder), library(10))
        with proffer(database, workers=2, core=None) as server:
            time.sleep(1)
            pids = server.processes()[1:]
            ours = [_busier(server.port, pids) for _ in range(rounds)]
    counts_by_server = {
        "one shared socket": [_plain(reuse=False) for _ in range(rounds)],
        "one socket per worker": [_plain(reuse=True) for _ in range(rounds)],
        "Proffer": ours,
    }
    for name, counts in counts_by_server.items():
        yield Row(
            table=SPREAD,
            name=name,
            value=statistics.median(counts),
            unit="of 32",
            spread=(min(counts), max(counts)),
            goal="16",
        )


def _plain(*, reuse: bool) -> int:
    """Run two asyncio processes that accept on one shared socket, or on one each."""

    def listener(port: int) -> socket.socket:
        sock = socket.socket()
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(2048)
        return sock

    first = listener(0)
    port = first.getsockname()[1]
    listeners = [first, listener(port) if reuse else first]
    pids = [_fork(listener_socket) for listener_socket in listeners]
    for listener_socket in set(listeners):
        listener_socket.close()
    try:
        time.sleep(0.3)
        return _busier(port, pids)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _fork(listener: socket.socket) -> int:
    pid = os.fork()
    if pid:
        return pid
    with suppress(BaseException):
        listener.setblocking(False)

        async def serve() -> None:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(_Echo, sock=listener)
            await server.serve_forever()

        uvloop.run(serve())
    os._exit(0)


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, _: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")  # type: ignore[attr-defined]


def _busier(port: int, pids: Sequence[int]) -> int:
    """Open connections at once, use each, and return the maximum number that one process has."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(CONNECTIONS)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        for client in clients:
            client.settimeout(20)
            while client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or not _is_connected(client):
                time.sleep(0.001)
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(4096)
        return max(_connections(pid, port) for pid in pids)


def _is_connected(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True


def _connections(pid: int, port: int) -> int:
    """Return the number of connections of a process, from /proc."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    inodes = {
        f"socket:[{fields[9]}]"
        for fields in map(str.split, lines)
        if int(fields[1].partition(":")[2], 16) == port and fields[3] == "01"
    }
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            links.append(str(entry.readlink()))
    return len(inodes.intersection(links))


# Overload.


def floods(seconds: float) -> Iterator[Row]:
    ours, client = cores()
    with tempfile.TemporaryDirectory() as folder, _on(client):
        database = create_database(Path(folder), library(1_000))
        with proffer(database, "--max-requests", "64", core=ours) as server:
            uvloop.run(_flood(server.port, 32, 1))  # warm
            quiet = uvloop.run(_flood(server.port, 32, seconds))
            flooded = uvloop.run(_flood(server.port, 512, seconds))
            after = uvloop.run(_flood(server.port, 32, seconds))
    base = percentile(quiet[0], 99)
    for name, (took, refused) in (
        ("32 clients", quiet),
        ("512 clients", flooded),
        ("32 clients again", after),
    ):
        yield Row(
            table=FLOOD,
            name=f"{name}: p99 of served requests",
            value=percentile(took, 99) * 1e3,
            unit="ms",
            baseline="32 clients",
            ratio=percentile(took, 99) / base,
            note=f"{len(took) / seconds:,.0f} served and {refused / seconds:,.0f} refused per second",
        )


@contextmanager
def _on(core: int | None) -> Iterator[None]:
    """Pin this process to a core meanwhile."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _flood(port: int, clients: int, seconds: float) -> tuple[list[float], int]:
    """Return the latency of each response, and the number of refused requests."""
    took: list[float] = []
    refused = 0
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        raw_request = request(number)
        while time.perf_counter() < until:
            begun = time.perf_counter()
            writer.write(raw_request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            await reader.readexactly(length)
            if head.startswith(b"HTTP/1.1 200"):
                took.append(time.perf_counter() - begun)
            else:
                assert head.startswith(b"HTTP/1.1 503"), head
                refused += 1
                await asyncio.sleep(0.25)
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return took, refused


if __name__ == "__main__":
    run_standalone(rows, __doc__)
