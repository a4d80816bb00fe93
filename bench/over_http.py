"""Decisions over HTTP, with everything on: profile lookup, exact caps, a durable event for each decision.

    TMPDIR=. python bench/over_http.py [--quick]

The yardstick is a bare Starlette app that decodes the same requests with msgspec and encodes an answer of
the same size: it looks nobody up, decides nothing, writes nothing. Both are real servers on loopback
(uvloop, httptools), on one core; the load comes from the other. Rounds alternate, and the server that is
not asked stands still. The library has 1,000 offers, each with a rule of three tests, each tenth with a
limit in all and one for each customer; each request is for another of 1,000 customers who are kept in the
same SQLite database as everything else. `fdatasync` is that of the disk during the same minute.
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

from _documents import EACH_TENTH, library, offer_id, profile, request
from _load import Flood, flood, generator, once, paced, settle_on
from _machine import disk
from _measure import Row, alone, compared
from _servers import Server, cores, echo, filled, proffer

CUSTOMERS = 1_000
CONNECTIONS = 32
MOST_OPTIONS = 100
"""Maximum number of options in a response (spec 4)."""
FEW = 8  # so that a slow answer does not wait behind many others
ALL = "One scope, 1,000 offers"
MANY = "30 scopes, 500 offers, 100 options"
LATENCY = "At 70 % of its own most requests a second"
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
        return [one.rate for one in self.floods]

    @property
    def cost_us(self) -> float:
        """Microseconds of the server's processor time per request."""
        return self.busy / sum(one.requests for one in self.floods) * 1e6

    @property
    def load(self) -> str:
        """The share of its core that the server used, as text; the rest went to other processes."""
        share = f"{self.busy / self.elapsed:.0%} of its core" if self.elapsed else "its core"
        return f"{self.cost_us:.0f} µs of processor each, with {share}"


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
        database = filled(folder, library(1_000), customers)
        asked = [request(number) for number in range(CUSTOMERS)]
        with proffer(database, core=ours) as server:
            yield from one_scope(server, asked, folder, rounds, seconds)
        items = [4] * 10 + [3] * 20
        database = filled(folder, library(500, len(items), narrow=False), customers, "many")
        asked = [request(number, items) for number in range(CUSTOMERS)]
        with proffer(database, core=ours) as server:
            yield from many_scopes(server, asked, min(rounds, 5), seconds)


def one_scope(
    server: Server, asked: Sequence[bytes], folder: Path, rounds: int, seconds: float
) -> Iterator[Row]:
    answers = [once(server.port, one) for one in asked[:200]]
    size = round(statistics.mean(map(len, answers)))
    capped = {offer_id(number) for number in range(EACH_TENTH, 1_001, EACH_TENTH)}
    given = Counter(_first(answer) in capped for answer in answers)
    before = disk(folder)
    core, _ = cores()
    with echo([size], core) as bare:
        mine, yardstick = by_turns(server, bare, asked, rounds, seconds)
        bare.freeze()
        waits = [at_a_pace(server, asked, seconds) for _ in range(min(rounds, 5))]
    after = disk(folder)
    sync = max(before["p99_ms"], after["p99_ms"])
    body = len(asked[0].partition(b"\r\n\r\n")[2])
    yield from _compared(
        ALL,
        mine,
        yardstick,
        goal="0.45; better 0.60",
        note=f"request {body} bytes, answer {size}; {given[True] / 2:.0f} % of answers are capped offers",
    )
    yield from _latencies(waits, sync)


def many_scopes(
    server: Server, asked: Sequence[bytes], rounds: int, seconds: float
) -> Iterator[Row]:
    answered = {one: once(server.port, one) for one in asked}
    full = {one: answer for one, answer in answered.items() if _options(answer) == MOST_OPTIONS}
    asked, size = list(full), round(statistics.mean(map(len, full.values())))
    core, _ = cores()
    with echo([size], core) as bare:
        mine, yardstick = by_turns(server, bare, asked, rounds, seconds, FEW)
    note = (
        f"{MOST_OPTIONS} options, {size:,} bytes; the {len(asked)} customers whom so many are for"
    )
    yield from _compared(MANY, mine, yardstick, note=note, goal="")
    yield Row(table=MANY, name="server time", value=mine.cost_us / 1e3, unit="ms", goal="3 ms")


def by_turns(
    server: Server,
    bare: Server,
    asked: Sequence[bytes],
    rounds: int,
    seconds: float,
    connections: int = CONNECTIONS,
) -> tuple[Rounds, Rounds]:
    """Load both servers alternately, round by round."""
    mine, yardstick = Rounds(), Rounds()
    paths = [b"POST /0" + one[one.index(b" HTTP/") :] for one in asked]
    both = ((server, asked, mine), (bare, paths, yardstick))
    _, client = cores()
    bare.freeze()
    flood(server.port, asked, seconds, connections=connections, core=client)  # warm
    for number in range(rounds):
        for one, requests, into in both if number % 2 else reversed(both):
            other = bare if one is server else server
            other.freeze()
            one.thaw()
            busy, begun = one.busy(), time.perf_counter()
            into.floods.append(
                flood(one.port, requests, seconds, connections=connections, core=client)
            )
            into.busy += one.busy() - busy
            into.elapsed += time.perf_counter() - begun
    server.thaw()
    return mine, yardstick


def _compared(
    table: str, mine: Rounds, yardstick: Rounds, *, goal: str, note: str
) -> Iterator[Row]:
    ratio, spread = compared(mine.rates, yardstick.rates)
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
        value=statistics.median(mine.rates),
        unit="requests/s",
        baseline=ECHO,
        ratio=ratio,
        spread=spread,
        goal=goal,
        note=f"{mine.load}; {note}",
    )
    yield Row(
        table=table,
        name=f"{OURS}, of the processor",
        value=mine.cost_us,
        unit="µs each",
        baseline=ECHO,
        ratio=yardstick.cost_us / mine.cost_us,
        note="the echo's processor time over ours: what the ratio is where both servers have a core for themselves",
    )


def at_a_pace(server: Server, asked: Sequence[bytes], seconds: float) -> Waits:
    """Return the latency at 70 % of the maximum rate, which is measured just before."""
    _, client = cores()
    most = flood(server.port, asked, 1.0, connections=CONNECTIONS, core=client).rate
    took = sorted(wait * 1e3 for _, wait in paced(server.port, asked, seconds, rate=0.7 * most))
    return Waits(0.7 * most, took[len(took) // 2], took[len(took) * 99 // 100])


def _latencies(waits: Sequence[Waits], sync: float) -> Iterator[Row]:
    rate = statistics.median(one.rate for one in waits)
    for name, values in (
        ("p50", [one.p50_ms for one in waits]),
        ("p99", [one.p99_ms for one in waits]),
    ):
        yield Row(
            table=LATENCY,
            name=name,
            value=statistics.median(values),
            unit="ms",
            spread=(min(values), max(values)),
            goal=f"5 ms + 3 × {sync:.2f} ms = {5 + 3 * sync:.1f} ms" if name == "p99" else "",
            note=f"median of {len(waits)} rounds at {rate:,.0f} requests/s, from the moment they were due",
        )
    yield Row(table=LATENCY, name="fdatasync p99", value=sync, unit="ms")


def _options(answer: bytes) -> int:
    found = msgspec.json.decode(answer)["xdm:propositions"]
    return sum(len(one.get("xdm:options", ())) for one in found)


def _first(answer: bytes) -> Any:
    """Return the id of the first option of a response; None for the fallback offer."""
    options = msgspec.json.decode(answer)["xdm:propositions"][0].get("xdm:options")
    return options[0]["xdm:id"] if options else None


if __name__ == "__main__":
    alone(rows, __doc__)
