"""PostgreSQL: cost of a capped decision, and effect of a second server.

    TMPDIR=. python bench/postgres.py [--quick]

All servers have the same customers and the same 200 offers, each with a total cap and a cap per customer;
every decision is counted and recorded before it is answered. The database is on the disk of the benchmark,
with `fsync` on; `fdatasync` is the latency of that disk in the same minute. One server has a core to itself;
the database and the load share the other. On a machine with two cores, the second server runs on that core
too, so the throughput shows the cost of sharing rather than the gain: compare the processor time per request.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import asyncpg

from _documents import profile, request
from _load import flood, paced, settle_on
from _machine import disk
from _measure import Row, compare_rounds, percentile, run_standalone
from _servers import Server, cores, create_database, fill_database, proffer
from caps import CUSTOMERS, the_library
from support.own_postgres import own_postgres

RATE = 500.0
_SETTLING = 0.3
"""Seconds for running requests to finish: a server frozen in a transaction would hold its locks."""
CONNECTIONS = 32
WAITS, SERVERS = "Latency at 500 capped decisions per second", "Servers on one database"
SQLITE, ONE, TWO = "SQLite, one server", "PostgreSQL, one server", "PostgreSQL, two servers"


def rows(*, quick: bool) -> Iterator[Row]:
    rounds, seconds = (3, 1.0) if quick else (5, 2.0)
    core, client = cores()
    settle_on(client)
    with (
        tempfile.TemporaryDirectory() as name,
        own_postgres(fsync="on", full_page_writes="on", shared_buffers="256MB", min_wal_size="512MB") as database,
    ):
        asyncio.run(_age(database.url))
        folder = Path(name)
        customers = [profile(number) for number in range(CUSTOMERS)]
        documents = the_library(capped=True)
        sqlite = create_database(folder, documents, customers)
        postgres = fill_database(database.url, folder, documents, customers)
        with (
            proffer(sqlite, core=core) as sqlite_server,
            proffer(postgres, core=core) as first,
            proffer(postgres, core=client) as second,
        ):
            yield from _waits(folder, sqlite_server, first, second, 3 * seconds)
            yield from _servers(sqlite_server, first, second, rounds, seconds)


async def _age(url: str) -> None:
    """Fill the write-ahead log once, so that its files are reused, as in a database that ran for a while."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE filler AS SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 300000) n"
    )
    await connection.execute("DROP TABLE filler")
    await connection.execute("CHECKPOINT")
    await connection.close()


def _waits(folder: Path, sqlite_server: Server, first: Server, second: Server, seconds: float) -> Iterator[Row]:
    raw_requests = [request(number) for number in range(CUSTOMERS)]
    second.freeze()
    before = disk(folder)
    durations = []
    for server, idle in ((sqlite_server, first), (first, sqlite_server)):
        time.sleep(_SETTLING)
        idle.freeze()
        server.thaw()
        paced(server.port, raw_requests, 1.0, rate=RATE)  # warms
        durations.append([took for _, took in paced(server.port, raw_requests, seconds, rate=RATE)])
    sync = max(before["p99_ms"], disk(folder)["p99_ms"])
    at = [[percentile(took, share) * 1e3 for share in (50, 99)] for took in durations]
    for share, place in (("p50", 0), ("p99", 1)):
        yield Row(table=WAITS, name=f"{SQLITE}, {share}", value=at[0][place], unit="ms")
        yield Row(
            table=WAITS,
            name=f"{ONE}, {share}",
            value=at[1][place],
            unit="ms",
            baseline=f"{SQLITE}, {share}",
            ratio=at[1][place] / at[0][place],
            goal=f"15 ms + {sync:.2f} ms" if share == "p99" else "",
        )
    yield Row(table=WAITS, name="fdatasync p99", value=sync, unit="ms")


def _servers(sqlite_server: Server, first: Server, second: Server, rounds: int, seconds: float) -> Iterator[Row]:
    raw_requests = [request(number) for number in range(CUSTOMERS)]
    sides: Sequence[tuple[Server, ...]] = ((sqlite_server,), (first,), (first, second))
    rates: list[list[float]] = [[], [], []]
    costs: list[list[float]] = [[], [], []]
    for number in range(rounds + 1):
        for which, side in enumerate(sides):
            time.sleep(_SETTLING)
            for server in (sqlite_server, first, second):
                (server.thaw if server in side else server.freeze)()
            busy = sum(server.cpu_seconds() for server in side)
            done = flood_all(side, raw_requests, seconds)
            if number:  # the first round warms
                rates[which].append(sum(rate for rate, _ in done))
                spent = sum(server.cpu_seconds() for server in side) - busy
                costs[which].append(spent / sum(count for _, count in done) * 1e6)
    for server in (sqlite_server, first, second):
        server.thaw()
    for which, name in enumerate((SQLITE, ONE, TWO)):
        against = (None, 0, 1)[which]
        ratio, spread = (None, None)
        cost, costs_spread = (None, None)
        if against is not None:
            ratio, spread = compare_rounds(rates[which], rates[against])
            cost, costs_spread = compare_rounds(costs[which], costs[against])
        baseline = None if against is None else (SQLITE, ONE)[against]
        yield Row(
            table=SERVERS,
            name=name,
            value=statistics.median(rates[which]),
            unit="requests/s",
            baseline=baseline,
            ratio=ratio,
            spread=spread,
            goal="1.6 with a core each" if name == TWO else "",
        )
        yield Row(
            table=SERVERS,
            name=f"{name}, processor time",
            value=statistics.median(costs[which]),
            unit="µs/request",
            baseline=None if baseline is None else f"{baseline}, processor time",
            ratio=cost,
            spread=costs_spread,
        )


def flood_all(side: Sequence[Server], raw_requests: Sequence[bytes], seconds: float) -> list[tuple[float, int]]:
    """Load all servers at the same time; return requests per second and number of requests of each."""
    with ThreadPoolExecutor(len(side)) as pool:
        floods = pool.map(
            lambda server: flood(
                server.port,
                raw_requests,
                seconds,
                connections=CONNECTIONS // len(side),
                core=cores()[1],
            ),
            side,
        )
        return [(result.rate, result.requests) for result in floods]


if __name__ == "__main__":
    run_standalone(rows, __doc__)
