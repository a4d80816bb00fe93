"""Decisions over HTTP with profile look-up, exact caps and durable events.

    TMPDIR=. python bench/over_http.py [--quick]

The baseline is a bare Starlette app that decodes the same requests with msgspec and encodes a response of
the same size: it looks up no profile, decides nothing and writes nothing. Both are real servers on loopback
(uvloop, httptools) and share one core; the load comes from the other core. Rounds alternate, and the idle
server is suspended. The library has 1,000 offers, each with a rule of three tests; every tenth offer has a
total cap and a cap per customer. The requests are for 1,000 different customers, who are stored in the same
SQLite database as everything else. `fdatasync` is the latency of the disk in the same minute.
"""

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from _documents import CAPPED_EVERY, library, offer_id, profile, request
from _load import Flood, flood, generator, once, paced, settle_on
from _machine import disk
from _measure import Row, compare_rounds, percentile, run_standalone
from _servers import Server, cores, create_database, echo, proffer

CUSTOMERS = 1_000
CONNECTIONS = 32
MOST_OPTIONS = 100
"""Maximum number of options in a response (spec 4)."""
FEW = 8  # so that a slow answer does not wait behind many others
ALL = "One scope, 1,000 offers"
MANY = "30 scopes, 500 offers, 100 options"
LATENCY = "Latency at 70 % of the maximum rate"
ECHO = "bare echo"
OURS = "Proffer"


@dataclass
class Rounds:
    """Results of one server, round by round."""

    floods: list[Flood] = field(default_factory=list)
    busy: float = 0.0
    elapsed: float = 0.0

    @property
    def rates(self) -> list[float]:
        return [result.rate for result in self.floods]

    @property
    def cost_us(self) -> float:
        """Microseconds of the server's processor time per request."""
        return self.busy / sum(result.requests for result in self.floods) * 1e6

    @property
    def load(self) -> str:
        """The share of its core that the server used, as text; the rest went to other processes."""
        share = f"{self.busy / self.elapsed:.0%} of its core" if self.elapsed else "its core"
        return f"{self.cost_us:.0f} µs of processor time per request, at {share}"


class Waits(NamedTuple):
    """Latency at a fixed rate: requests per second, and milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float


def rows(*, quick: bool) -> Iterator[Row]:
    rounds, seconds = (3, 1.0) if quick else (7, 2.0)
    ours, client = cores()
    settle_on(client)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        customers = [profile(number) for number in range(CUSTOMERS)]
        database = create_database(folder, library(1_000), customers)
        raw_requests = [request(number) for number in range(CUSTOMERS)]
        with proffer(database, core=ours) as server:
            yield from one_scope(server, raw_requests, folder, rounds, seconds)
        items = [4] * 10 + [3] * 20
        database = create_database(folder, library(500, len(items), narrow=False), customers, "many")
        raw_requests = [request(number, items) for number in range(CUSTOMERS)]
        with proffer(database, core=ours) as server:
            yield from many_scopes(server, raw_requests, min(rounds, 5), seconds)


def one_scope(
    server: Server, raw_requests: Sequence[bytes], folder: Path, rounds: int, seconds: float
) -> Iterator[Row]:
    answers = [once(server.port, raw_request) for raw_request in raw_requests[:200]]
    size = round(statistics.mean(map(len, answers)))
    capped = {offer_id(number) for number in range(CAPPED_EVERY, 1_001, CAPPED_EVERY)}
    capped_counts = Counter(_first_offer(answer) in capped for answer in answers)
    before = disk(folder)
    core, _ = cores()
    with echo([size], core) as bare:
        ours, yardstick = alternate(server, bare, raw_requests, rounds, seconds)
        bare.freeze()
        waits = [at_a_pace(server, raw_requests, seconds) for _ in range(min(rounds, 5))]
    after = disk(folder)
    sync = max(before["p99_ms"], after["p99_ms"])
    body = len(raw_requests[0].partition(b"\r\n\r\n")[2])
    yield from _comparison(
        ALL,
        ours,
        yardstick,
        goal="0.45; better 0.60",
        note=f"request {body} bytes, response {size}; {capped_counts[True] / 2:.0f} % of responses have a capped offer",
    )
    yield from _latencies(waits, sync)


def many_scopes(server: Server, raw_requests: Sequence[bytes], rounds: int, seconds: float) -> Iterator[Row]:
    answered = {raw_request: once(server.port, raw_request) for raw_request in raw_requests}
    full = {raw_request: answer for raw_request, answer in answered.items() if _option_count(answer) == MOST_OPTIONS}
    raw_requests, size = list(full), round(statistics.mean(map(len, full.values())))
    core, _ = cores()
    with echo([size], core) as bare:
        ours, yardstick = alternate(server, bare, raw_requests, rounds, seconds, FEW)
    note = f"{MOST_OPTIONS} options, {size:,} bytes; only the {len(raw_requests)} customers with so many options"
    yield from _comparison(MANY, ours, yardstick, note=note, goal="")
    yield Row(table=MANY, name="server time", value=ours.cost_us / 1e3, unit="ms", goal="3 ms")


def alternate(
    server: Server,
    bare: Server,
    raw_requests: Sequence[bytes],
    rounds: int,
    seconds: float,
    connections: int = CONNECTIONS,
) -> tuple[Rounds, Rounds]:
    """Load both servers alternately, round by round."""
    ours, yardstick = Rounds(), Rounds()
    paths = [b"POST /0" + active[active.index(b" HTTP/") :] for active in raw_requests]
    both = ((server, raw_requests, ours), (bare, paths, yardstick))
    _, client = cores()
    bare.freeze()
    flood(server.port, raw_requests, seconds, connections=connections, core=client)  # warm
    for number in range(rounds):
        for active, requests, into in both if number % 2 else reversed(both):
            idle = bare if active is server else server
            idle.freeze()
            active.thaw()
            busy, begun = active.cpu_seconds(), time.perf_counter()
            into.floods.append(flood(active.port, requests, seconds, connections=connections, core=client))
            into.busy += active.cpu_seconds() - busy
            into.elapsed += time.perf_counter() - begun
    server.thaw()
    return ours, yardstick


def _comparison(table: str, ours: Rounds, yardstick: Rounds, *, goal: str, note: str) -> Iterator[Row]:
    ratio, spread = compare_rounds(ours.rates, yardstick.rates)
    yield Row(
        table=table,
        name=ECHO,
        value=statistics.median(yardstick.rates),
        unit="requests/s",
        note=f"{yardstick.load}; load by {generator()}",
    )
    yield Row(
        table=table,
        name=OURS,
        value=statistics.median(ours.rates),
        unit="requests/s",
        baseline=ECHO,
        ratio=ratio,
        spread=spread,
        goal=goal,
        note=f"{ours.load}; {note}",
    )
    yield Row(
        table=table,
        name=f"{OURS}, processor time",
        value=ours.cost_us,
        unit="µs/request",
        baseline=ECHO,
        ratio=yardstick.cost_us / ours.cost_us,
        note="the echo's processor time divided by Proffer's: the ratio if each server had its own core",
    )


def at_a_pace(server: Server, raw_requests: Sequence[bytes], seconds: float) -> Waits:
    """Return the latency at 70 % of the maximum rate, which is measured just before."""
    _, client = cores()
    max_rate = flood(server.port, raw_requests, 1.0, connections=CONNECTIONS, core=client).rate
    took = [wait * 1e3 for _, wait in paced(server.port, raw_requests, seconds, rate=0.7 * max_rate)]
    return Waits(0.7 * max_rate, percentile(took, 50), percentile(took, 99))


def _latencies(waits: Sequence[Waits], sync: float) -> Iterator[Row]:
    rate = statistics.median(wait.rate for wait in waits)
    for name, values in (
        ("p50", [wait.p50_ms for wait in waits]),
        ("p99", [wait.p99_ms for wait in waits]),
    ):
        yield Row(
            table=LATENCY,
            name=name,
            value=statistics.median(values),
            unit="ms",
            spread=(min(values), max(values)),
            goal=f"5 ms + 3 × {sync:.2f} ms = {5 + 3 * sync:.1f} ms" if name == "p99" else "",
            note=f"median of {len(waits)} rounds at {rate:,.0f} requests/s, from the time a request is due",
        )
    yield Row(table=LATENCY, name="fdatasync p99", value=sync, unit="ms")


def _option_count(answer: bytes) -> int:
    propositions = msgspec.json.decode(answer)["xdm:propositions"]
    return sum(len(proposition.get("xdm:options", ())) for proposition in propositions)


def _first_offer(answer: bytes) -> Any:
    """Return the id of the first option of a response; None for the fallback offer."""
    options = msgspec.json.decode(answer)["xdm:propositions"][0].get("xdm:options")
    return options[0]["xdm:id"] if options else None


if __name__ == "__main__":
    run_standalone(rows, __doc__)
