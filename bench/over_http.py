"""Decisions per second over HTTP, beside a bare app that only reads and writes JSON of the same sizes.

    python bench/over_http.py [--quick] [--seconds 2] [--rounds 5] [--connections 16]

Both are real servers on loopback, with uvicorn, uvloop and httptools, pinned to one core; the client has another.
The yardstick is a Starlette app that decodes the same requests with msgspec and encodes an answer as large
as Proffer's. Rounds alternate, and the server that is not asked is stopped meanwhile. The library has
1,000 offers, each with a rule of three tests; every request is for another customer, in turn.

(The file is not called `http.py` because scripts beside it could not import the module of that name.)
"""

import argparse
import asyncio
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, groupby
from pathlib import Path
from typing import Any, cast

import msgspec

from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, Services, open_store
from proffer.auth.principal import Permission, Principal
from proffer.config import Settings
from proffer.service.loading import sections

NAMESPACE = "https://ns.adobe.com/experience/offer-management/"
HTML = f"{NAMESPACE}content-component-html"
DECISION = "xcore:offer-activity:1"
PLACEMENTS = [f"xcore:offer-placement:{number}" for number in (1, 2, 3)]
COUNTRIES = ("FR", "DE", "NL", "AT", "BE", "IE")
PATH = f"/data/core/ode/{DEV_CONTAINER}/decisions"


# The library and the requests.


def library(offers: int) -> dict[str, Any]:
    """A library file: so many offers under one tag, one decision with three placements."""
    numbers = range(1, offers + 1)
    return {
        "placements": [
            {"@id": one, "xdm:name": one, "xdm:channel": "web", "xdm:componentType": HTML}
            for one in PLACEMENTS
        ],
        "tags": [{"@id": "xcore:tag:1", "xdm:name": "all"}],
        "rules": [
            {
                "@id": f"xcore:eligibility-rule:{number:x}",
                "xdm:name": f"Rule {number}",
                "xdm:condition": {
                    "xdm:type": "PQL",
                    "xdm:format": "pql/text",
                    "xdm:value": f"person.age >= {18 + number % 50} and "
                    f'homeAddress.countryCode = "{COUNTRIES[number % 6]}" and '
                    f"loyalty.points > {number * 7 % 1000}",
                },
            }
            for number in numbers
        ],
        "offers": [
            {
                "@id": f"xcore:personalized-offer:{number:x}",
                "xdm:name": f"Offer {number}",
                "xdm:status": "approved",
                "xdm:rank": {"xdm:priority": number * 37 % 101},
                "xdm:tags": ["xcore:tag:1"],
                "xdm:selectionConstraint": {
                    "xdm:startDate": "2020-01-01T00:00:00Z",
                    "xdm:endDate": "2090-01-01T00:00:00Z",
                    "xdm:profileConstraintType": "eligibilityRule",
                    "xdm:eligibilityRule": f"xcore:eligibility-rule:{number:x}",
                },
                "xdm:representations": shown(f"<p>Offer {number}: {'words ' * 30}</p>"),
            }
            for number in numbers
        ],
        "collections": [
            {
                "@id": "xcore:offer-filter:1",
                "xdm:name": "All",
                "xdm:filterType": "anyTags",
                "xdm:ids": ["xcore:tag:1"],
            }
        ],
        "fallbacks": [
            {
                "@id": "xcore:fallback-offer:1",
                "xdm:name": "House",
                "xdm:status": "approved",
                "xdm:representations": shown("<p>house</p>"),
            }
        ],
        "decisions": [
            {
                "@id": DECISION,
                "xdm:name": "Home",
                "xdm:status": "live",
                "xdm:fallback": "xcore:fallback-offer:1",
                "xdm:criteria": [
                    {
                        "xdm:placements": PLACEMENTS,
                        "xdm:optionSelection": {"xdm:filter": "xcore:offer-filter:1"},
                    }
                ],
            }
        ],
    }


def shown(content: str) -> list[dict[str, Any]]:
    component = {"@type": HTML, "dc:format": "text/html", "xdm:content": content}
    return [{"xdm:placement": one, "xdm:components": [component]} for one in PLACEMENTS]


def request(scopes: int, customer: int) -> dict[str, Any]:
    """A decision request for one of many customers."""
    return {
        "xdm:propositionRequests": [
            {"xdm:activityId": DECISION, "xdm:placementId": one} for one in PLACEMENTS[:scopes]
        ],
        "xdm:profiles": [
            {
                "xdm:identityMap": {"Email": [{"xdm:id": f"customer{customer}@example.org"}]},
                "xdm:attributes": {
                    "person": {"name": {"firstName": "Ada"}, "age": 18 + customer * 13 % 60},
                    "homeAddress": {"countryCode": COUNTRIES[customer % 6], "city": "Somewhere"},
                    "loyalty": {"tier": "gold", "points": customer * 97 % 1100},
                    "preferredLanguage": "fr",
                },
            }
        ],
        "xdm:responseFormat": {
            "xdm:includeContent": True,
            "xdm:includeMetadata": {"xdm:option": ["name"]},
        },
    }


def wire(path: str, body: bytes) -> bytes:
    """A whole HTTP request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


# The yardstick.


def serve_echo(sizes: Sequence[int]) -> None:
    """Serve the bare app: at `/0`, `/1`, … an answer of each of these sizes."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    option = {"xdm:id": "x" * 40, "repo:etag": "1", "@type": "y" * 60, "dc:format": "text/html"}
    answers = [
        {"xdm:propositions": [option], "xdm:content": "z" * max(size - 200, 1)} for size in sizes
    ]
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode

    async def echo(asked: Request) -> Response:
        decode(await asked.body())
        answer = answers[asked.path_params["which"]]
        return Response(encode(answer), media_type="application/json")

    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    app = Starlette(routes=[Route("/{which:int}", echo, methods=["POST"])])
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])


# Servers.


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    port: int

    def busy(self) -> float:
        """Seconds of processor time it has used; 0 where the system does not tell."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        if not stat.exists():
            return 0
        user, system = stat.read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: Sequence[str], core: int) -> Iterator[Server]:
    """A server process on one core, from the moment it listens."""
    process = subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {core})
        assert process.stderr is not None
        for line in process.stderr:
            match = re.search(r"listening on http://[^:]+:(\d+)", line)
            if match:
                yield Server(process, int(match[1]))
                break
            print(line, end="", file=sys.stderr)
        else:
            raise SystemExit("the server did not start")
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=20)


# The client.


@dataclass
class Measured:
    """What one kind of request came to, round by round."""

    name: str
    rates: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    busy: float = 0  # seconds of processor time

    @property
    def cost(self) -> float:
        """Microseconds of the server's processor time per request."""
        return self.busy / len(self.took) * 1e6


class Connection(asyncio.Protocol):
    """Sends the next request when the answer to the one before has arrived."""

    def __init__(self, requests: Iterator[bytes], until: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._until = until
        self._done = done
        self._buffer = b""
        self._begun = 0.0
        self._transport: asyncio.Transport | None = None
        self.took: list[float] = []
        self.answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._begun = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = re.search(rb"content-length: (\d+)", self._buffer[:head].lower())
        assert length is not None, self._buffer[:200]
        end = head + 4 + int(length[1])
        if len(self._buffer) < end:
            return
        now = time.perf_counter()
        self.took.append(now - self._begun)
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self._finish(RuntimeError(self._buffer[:500].decode("latin-1")))
            return
        self.answer, self._buffer = self._buffer[head + 4 : end], b""
        if now < self._until:
            self._send()
        else:
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or RuntimeError("the server closed the connection"))

    def _finish(self, error: Exception | None) -> None:
        if not self._done.done():
            if error is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(error)
        if self._transport is not None:
            self._transport.close()


async def ask(
    server: Server, requests: Sequence[bytes], seconds: float, connections: int
) -> tuple[list[float], float, bytes]:
    """Keep so many connections busy for so long: how long each answer took, the time in all, one answer."""
    loop = asyncio.get_running_loop()
    turn = cycle(requests)
    begun = time.perf_counter()
    made: list[Connection] = []
    waiting: list[asyncio.Future[None]] = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        connection = Connection(turn, begun + seconds, done)
        await loop.create_connection(lambda made=connection: made, "127.0.0.1", server.port)  # type: ignore[misc]
        made.append(connection)
        waiting.append(done)
    await asyncio.wait_for(asyncio.gather(*waiting), seconds + 20)
    elapsed = time.perf_counter() - begun
    return [each for one in made for each in one.took], elapsed, made[0].answer


def measure(
    server: Server, others: Sequence[Server], requests: Sequence[bytes], to: Measured, given: Any
) -> None:
    """One round: this server runs, the others stand still."""
    for other in others:
        other.process.send_signal(signal.SIGSTOP)
    server.process.send_signal(signal.SIGCONT)
    before = server.busy()
    took, elapsed, _ = given.runner.run(ask(server, requests, given.seconds, given.connections))
    to.busy += server.busy() - before
    to.rates.append(len(took) / elapsed)
    to.took += took


# The whole.


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--seconds", type=float, default=2, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--offers", type=int, default=1000)
    parser.add_argument("--echo", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.seconds, given.rounds = min(given.seconds, 0.7), min(given.rounds, 2)
    return given


def load(folder: Path, offers: int) -> str:
    """A database with the library in it. What is of one kind is written together, and shares commits."""
    chosen = Settings(database=f"sqlite:///{folder / 'bench.db'}")

    async def write() -> None:
        services = Services(await open_store(chosen))
        by = Principal(
            organisation=DEV_ORGANISATION,
            sandbox=None,
            permissions=frozenset({Permission.ADMIN}),
            user="bench",
            client="bench",
        )
        try:
            await services.start(dev=True)
            for kind, listed in groupby(sections(library(offers)), key=lambda one: one[0]):
                creating = (
                    services.catalog.create(by, DEV_CONTAINER, kind, document)
                    for _, _, document in listed
                )
                await asyncio.gather(*creating)
        finally:
            await services.stop()

    begun = time.perf_counter()
    asyncio.run(write())
    print(f"wrote {offers:,} offers with their rules in {time.perf_counter() - begun:.1f} s")
    return chosen.database


def main() -> None:
    given = arguments()
    if given.echo:
        serve_echo([int(size) for size in given.echo.split(",")])
        return
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[-1]})
    else:
        print("one core only: the client takes time from the servers")
    customers = [
        [msgspec.json.encode(request(scopes, customer)) for customer in range(200)]
        for scopes in (1, 3)
    ]
    asked = [[wire(PATH, body) for body in bodies] for bodies in customers]
    import uvloop

    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as given.runner,
    ):
        database = load(Path(folder), given.offers)
        serve = ["-m", "proffer", "serve", "--dev", "--port", "0", "--database", database]
        with running(serve, cores[0]) as proffer:
            answers = [given.runner.run(ask(proffer, requests, 0.3, 1))[2] for requests in asked]
            sizes = ",".join(str(len(answer)) for answer in answers)
            with running([__file__, "--echo", sizes], cores[0]) as echo:
                report(alternate(proffer, echo, customers, asked, given), customers, answers)


def alternate(
    proffer: Server,
    echo: Server,
    customers: Sequence[Sequence[bytes]],
    asked: Sequence[Sequence[bytes]],
    given: Any,
) -> list[tuple[Measured, Measured]]:
    """The rounds, in turns: for each kind of request the yardstick and Proffer."""
    found = [
        (Measured(f"echo, {scopes}"), Measured(f"proffer, {scopes}"))
        for scopes in ("1 scope", "3 scopes")
    ]
    for number in range(given.rounds):
        for which, (bare, ours) in enumerate(found):
            echoed = [wire(f"/{which}", body) for body in customers[which]]
            steps = [(echo, [proffer], echoed, bare), (proffer, [echo], asked[which], ours)]
            for server, others, requests, to in steps if number % 2 == 0 else steps[::-1]:
                measure(server, others, requests, to, given)
    for server in (proffer, echo):
        server.process.send_signal(signal.SIGCONT)
    return found


def report(
    found: Sequence[tuple[Measured, Measured]],
    customers: Sequence[Sequence[bytes]],
    answers: Sequence[bytes],
) -> None:
    print(
        f"{'':20}{'req/s':>9}{'of echo':>9}{'p50 ms':>9}{'p99 ms':>9}"
        f"{'cpu µs':>9}{'of echo':>9}   request, answer bytes; rounds"
    )
    for (bare, ours), bodies, answer in zip(found, customers, answers, strict=True):
        yardstick = statistics.median(bare.rates)
        ratios = sorted(mine / echo for mine, echo in zip(ours.rates, bare.rates, strict=True))
        for one in (bare, ours):
            rate = statistics.median(one.rates)
            cuts = statistics.quantiles(one.took, n=100)
            print(
                f"{one.name:20}{rate:9,.0f}{rate / yardstick:9.2f}"
                f"{cuts[49] * 1e3:9.2f}{cuts[98] * 1e3:9.2f}"
                f"{one.cost:9,.0f}{bare.cost / (one.cost or 1):9.2f}   {len(bodies[0])}, {len(answer)}"
                + (f"; {ratios[0]:.2f} to {ratios[-1]:.2f}" if one is ours else "")
            )
    print("The ratio of processor time is the one to trust where others use the machine too.")


if __name__ == "__main__":
    main()
