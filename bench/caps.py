"""Cost of exact caps and durable events: throughput, latency, size and recovery.

    TMPDIR=. python bench/caps.py [--quick]

Two servers share one core and get the load in turn. Each has a SQLite database with the same customers and
the same 200 offers with rules. In one, every offer has a total cap and a cap per customer, and every decision
is counted and recorded in one durable commit. The other has no caps and gets dry runs, so it counts and
writes nothing: it is the baseline. `fdatasync` is the latency of the disk in the same minute.
"""

import asyncio
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _documents import library, placement, profile, request
from _load import flood, paced, settle_on
from _machine import disk
from _measure import Row, compare_rounds, percentile, run_standalone
from _servers import BY, Server, cores, create_database, proffer
from proffer.app import DEV_CONTAINER, Services
from proffer.model.capping import CapLimit, CapScope, OfferCaps
from proffer.model.events import DecisionEvent, ScopeAnswer, Selection, new_decision_id
from proffer.model.identity import IdentityKey
from proffer.model.profile import Profile, ProfileIdentity
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.store.common.event_codec import encode_event, encode_pack
from proffer.store.sql import cap_statements as cap_rows
from proffer.store.sqlite.store import SqliteStore

CUSTOMERS = 1_000
OFFERS = 200
CONNECTIONS = 32
CAPPED, PLAIN = "caps and events", "no caps, no events"
THROUGHPUT, WAITS = "Throughput", "Latency at half of the maximum rate"
EVENTS, RECOVERY = "Events", "Recovery after kill -9"
MILLION = 1_000_000
IN_A_PACK = 20


def rows(*, quick: bool) -> Iterator[Row]:
    rounds, seconds = (3, 1.0) if quick else (7, 2.0)
    core, client = cores()
    settle_on(client)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from throughput_and_waits(folder, rounds, seconds, core)
        yield from bytes_of_an_event(folder)
        yield from recovery(folder, MILLION // 10 if quick else MILLION)


def the_library(*, capped: bool) -> dict[str, Any]:
    documents = library(OFFERS)
    for offer in documents["offers"]:
        offer.pop("xdm:cappingConstraint", None)
        if capped:
            offer["xdm:cappingConstraint"] = {"xdm:globalCap": 10**9, "xdm:profileCap": 10**6}
    return documents


def dry_run(raw_request: bytes) -> bytes:
    """Return the same request as a dry run."""
    head, _, body = raw_request.partition(b"\r\n\r\n")
    document = json.loads(body) | {"xdm:dryRun": True}
    text = json.dumps(document, separators=(",", ":")).encode()
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(text), b"", text])


def throughput_and_waits(folder: Path, rounds: int, seconds: float, core: int | None) -> Iterator[Row]:
    customers = [profile(number) for number in range(CUSTOMERS)]
    raw_requests = [request(number) for number in range(CUSTOMERS)]
    databases = [
        create_database(folder, the_library(capped=capped), customers, name)
        for name, capped in (("capped", True), ("plain", False))
    ]
    before = disk(folder)
    with proffer(databases[0], core=core) as capped, proffer(databases[1], core=core) as plain:
        sides = (
            (capped, raw_requests, plain),
            (plain, [dry_run(raw_request) for raw_request in raw_requests], capped),
        )
        rates: list[list[float]] = [[], []]
        costs: list[list[float]] = [[], []]
        for number in range(rounds + 1):
            order = (0, 1) if number % 2 else (1, 0)
            for which in order:
                server, requests, idle_server = sides[which]
                idle_server.freeze()
                server.thaw()
                busy = server.cpu_seconds()
                done = flood(server.port, requests, seconds, connections=CONNECTIONS, core=cores()[1])
                if number:  # the first round warms
                    rates[which].append(done.rate)
                    costs[which].append((server.cpu_seconds() - busy) / done.requests * 1e6)
        ratio, spread = compare_rounds(*rates)
        yield Row(table=THROUGHPUT, name=PLAIN, value=statistics.median(rates[1]), unit="requests/s")
        yield Row(
            table=THROUGHPUT,
            name=CAPPED,
            value=statistics.median(rates[0]),
            unit="requests/s",
            baseline=PLAIN,
            ratio=ratio,
            spread=spread,
            goal="0.60",
        )
        ratio, spread = compare_rounds(costs[1], costs[0])
        yield Row(
            table=THROUGHPUT,
            name=f"{CAPPED}, processor time",
            value=statistics.median(costs[0]),
            unit="µs/request",
            baseline=PLAIN,
            ratio=ratio,
            spread=spread,
            note="the baseline's processor time divided by this: less affected by other load",
        )
        half = statistics.median(rates[0]) / 2
        waits: list[float] = []
        for server, requests, idle_server in sides:
            idle_server.freeze()
            server.thaw()
            waits.append(p99_ms(server, requests, half, 3 * seconds))
        plain.thaw()
        capped.thaw()
    after = disk(folder)
    sync = max(before["p99_ms"], after["p99_ms"])
    yield from _waits(waits, sync, half)


def p99_ms(server: Server, requests: Sequence[bytes], rate: float, seconds: float) -> float:
    return percentile([wait_s for _, wait_s in paced(server.port, requests, seconds, rate=rate)], 99) * 1e3


def _waits(waits: Sequence[float], sync: float, rate: float) -> Iterator[Row]:
    capped, plain = waits
    note = f"p99 at {rate:,.0f} requests/s"
    yield Row(table=WAITS, name=PLAIN, value=plain, unit="ms", note=note)
    yield Row(table=WAITS, name=CAPPED, value=capped, unit="ms", note=note)
    yield Row(table=WAITS, name="fdatasync p99", value=sync, unit="ms")
    yield Row(
        table=WAITS,
        name="added by caps and events",
        value=capped - plain,
        unit="ms",
        baseline="fdatasync p99",
        ratio=(capped - plain) / sync,
        goal=f"3 ms + {sync:.2f} ms",
    )


def an_event(number: int, now_us: int) -> DecisionEvent:
    """Return the event of a decision with one scope and one option that read twenty attributes."""
    draw = random.Random(number)
    return DecisionEvent(
        id=new_decision_id(now_us),
        container=DEV_CONTAINER,
        decided_us=now_us,
        revision=1_234,
        surface="ode",
        request=DecisionRequest(scopes=(ScopeRequest("xcore:offer-activity:15abc3f1d8c7e2a0", placement(1)),)),
        answers=(
            ScopeAnswer(
                decision="xcore:offer-activity:15abc3f1d8c7e2a0",
                decision_etag=7,
                placement=placement(1),
                placement_etag=2,
                selections=(
                    Selection(
                        offer=f"xcore:personalized-offer:{draw.getrandbits(60):x}",
                        etag=draw.randint(1, 40),
                        rank=1,
                        score=draw.random(),
                        formula="xcore:ranking-function:15abc3f1d8c7e2a1",
                        component=0,
                    ),
                ),
            ),
        ),
        identities=(
            IdentityKey("Email", f"customer{draw.randint(0, 10**7)}@example.org"),
            IdentityKey("ECID", f"{draw.getrandbits(120):038d}"),
        ),
        request_id=f"{draw.getrandbits(128):032x}",
        customer_found=True,
        attributes={
            "person": {
                "age": draw.randint(18, 90),
                "name": {"firstName": _word(draw), "lastName": _word(draw)},
                "gender": draw.choice(["male", "female"]),
            },
            "homeAddress": {
                "city": _word(draw),
                "countryCode": draw.choice(["FR", "DE", "NL"]),
                "postalCode": str(draw.randint(10_000, 99_999)),
            },
            "loyalty": {"tier": _word(draw), "points": draw.randint(0, 99_999)},
            "_acme": {f"attribute{place}": draw.randint(0, 10**6) for place in range(11)},
        },
    )


def _word(draw: random.Random) -> str:
    return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(5, 10)))


async def _bytes_per_event(path: Path, count: int, together: int) -> float:
    """Return how many bytes the file grows per event, with so many decisions at once."""
    store = await SqliteStore.open(path)
    services = Services(store)
    await services.start(dev=True)
    limits = (CapLimit(name="1", limit=10**9, scope=CapScope.GLOBAL),)
    await store.ensure_caps(DEV_CONTAINER, 10**6, [OfferCaps(offer="other", limits=limits)])
    now_us = time.time_ns() // 1000
    begun = _size(path)
    for first in range(0, count, together):
        events = [an_event(first + number, now_us + first) for number in range(together)]
        await asyncio.gather(*(store.record(DEV_CONTAINER, event) for event in events))
    await services.stop()
    return (_size(path) - begun) / count


def _size(path: Path) -> int:
    """Return the size of the database in bytes after a checkpoint."""
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]);c.execute('PRAGMA wal_checkpoint(TRUNCATE)')"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    return path.stat().st_size


def bytes_of_an_event(folder: Path) -> Iterator[Row]:
    for together in (1, 10, 100):
        size = asyncio.run(_bytes_per_event(folder / f"events{together}.db", 1_000, together))
        yield Row(
            table=EVENTS,
            name="size on disk of an event, by events per commit",
            at=together,
            value=size,
            unit="bytes",
            goal="1,024",
            note="one scope, one option, 20 attributes read",
        )


_WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from caps import an_event, DEV_CONTAINER
from proffer.store.sqlite.store import SqliteStore
import time

async def main():
    store = await SqliteStore.open(sys.argv[1])
    number = 0
    while True:
        events = [an_event(number + each, time.time_ns() // 1000) for each in range(8)]
        await asyncio.gather(*(store.record(DEV_CONTAINER, one) for one in events))
        number += 8
        print(number, flush=True)

asyncio.run(main())
"""


def recovery(folder: Path, count: int) -> Iterator[Row]:
    """Measure how soon a server decides on a database of so many events whose writer was killed."""
    customers = [profile(number) for number in range(CUSTOMERS)]
    create_database(folder, the_library(capped=True), customers, "killed")
    path = folder / "killed.db"
    asyncio.run(_fill(path, count))
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) > 2_000:
            break
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    log = Path(f"{path}-wal").stat().st_size
    begun = time.perf_counter()
    asyncio.run(_decide_once(path))
    yield Row(
        table=RECOVERY,
        name="open, read the library, decide",
        value=time.perf_counter() - begun,
        unit="s",
        goal="5 s",
        note=f"{count:,} events, {path.stat().st_size / 2**20:,.0f} MB, write-ahead log of {log / 2**20:.1f} MB",
    )


async def _fill(path: Path, count: int) -> None:
    """Insert so many old events, in packs as of many commits."""
    store = await SqliteStore.open(path, synchronous="OFF")
    long_ago_us = time.time_ns() // 1000 - 10 * 86_400_000_000
    bodies: Sequence[bytes] = [
        encode_pack((encode_event(an_event(number * IN_A_PACK + each, long_ago_us)), None) for each in range(IN_A_PACK))
        for number in range(50)
    ]
    packs = [
        (DEV_CONTAINER, moment, moment, IN_A_PACK, bodies[number % len(bodies)])
        for number in range(count // IN_A_PACK)
        if (moment := long_ago_us // 1000 + number)
    ]
    await store.submit(lambda connection: connection.executemany(cap_rows.ADD_PACK, packs))
    await store.close()


async def _decide_once(path: Path) -> None:
    services = Services(await SqliteStore.open(path))
    await services.start(dev=True)
    identity = ProfileIdentity(namespace="Email", id="customer1@example.org")
    customer = await services.profiles.resolve(
        services.registry.authorize(BY, DEV_CONTAINER), Profile(identities=(identity,))
    )
    decision_request = DecisionRequest(scopes=(ScopeRequest("xcore:offer-activity:1", placement(1)),))
    await services.decide.decide(
        services.registry.authorize(BY, DEV_CONTAINER), decision_request, customer, surface="ode"
    )
    await services.stop()


if __name__ == "__main__":
    run_standalone(rows, __doc__)
