"""Import, look-up and streaming of customers, compared with the database alone.

    python bench/profiles.py [--quick] [--profiles 1000000] [--folder .]

Profiles have 1 KB and two identities. The baseline of imports is the database alone: the same rows with the
same index, written by `executemany` in commits of the same size. Imports run the command itself, and the
memory of its processes is sampled meanwhile. The second import has changed profiles, at most 300,000 rows.
Look-ups are measured at rest and during an import. Streaming uses a real server on loopback with 16
connections.
"""

import argparse
import asyncio
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from _load import open_connection
from _measure import Row, percentile
from _servers import proffer
from proffer.model.identity import IdentityKey
from proffer.service.imports.files import BLOCK_ROWS
from proffer.store.sqlite.store import SqliteStore


def profile(number: int) -> dict[str, object]:
    draw = random.Random(number)
    return {
        "identityMap": {
            "Email": [{"id": f"customer{number}@example.org", "primary": True}],
            "ECID": [{"id": f"{draw.getrandbits(120):036d}"}],
        },
        "person": {
            "name": {"firstName": "Ada", "lastName": "Byron"},
            "birthDate": "1990-12-10",
            "age": draw.randint(10, 90),
        },
        "homeAddress": {"city": "Ulm", "countryCode": "DE", "postalCode": "89073"},
        "loyalty": {"tier": draw.choice(["gold", "silver"]), "points": draw.randint(0, 9_999)},
        "consents": {"marketing": {"email": {"val": "y"}}},
        "_acme": {"interests": ["sports", "music"], "note": "x" * 560},
    }


_FEW = 100_000
"""Rows of the yardstick, which holds them in memory."""
_AGAIN = 300_000


def write_changed(path: Path, of: Path, count: int) -> None:
    """Write the first profiles of a file with other points."""
    with of.open("rb") as file, path.open("wb") as changed:
        changed.writelines(line.replace(b'"points":', b'"points":1') for line in islice(file, count))


def write_file(path: Path, count: int) -> None:
    with path.open("wb") as file:
        for number in range(count):
            file.write(msgspec.json.encode(profile(number)) + b"\n")


def yardstick(path: Path, folder: Path) -> float:
    """Return the rows per second of the database alone."""
    database = sqlite3.connect(folder / "alone.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA cache_size = -32000")
    database.execute("CREATE TABLE c (customer INTEGER PRIMARY KEY, document BLOB)")
    database.execute(
        "CREATE TABLE i (space, namespace, id, customer, PRIMARY KEY (space, namespace, id)) WITHOUT ROWID"
    )
    with path.open("rb") as file:
        lines = list(islice(file, _FEW))
    rows = [
        (
            number,
            line,
            [
                (1, "Email", f"customer{number}@example.org", number),
                (1, "ECID", line[90:126], number),
            ],
        )
        for number, line in enumerate(lines)
    ]
    begun = time.perf_counter()
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO c VALUES (?, ?)", [row[:2] for row in block])
        owned = sorted(identity for row in block for identity in row[2])
        database.executemany("INSERT OR IGNORE INTO i VALUES (?, ?, ?, ?)", owned)
        database.execute("COMMIT")
    took = time.perf_counter() - begun
    database.close()
    return len(rows) / took


_watching: set[asyncio.Task[None]] = set()


async def imported(database: Path, path: Path, sizes: list[float]) -> asyncio.subprocess.Process:
    """Start to import a file with the command; append its resident megabytes to `sizes`."""
    command = [sys.executable, "-m", "proffer", "profiles", "import", str(path), "--dataset", "crm"]
    command += ["--database", f"sqlite:///{database}", "--org", "acme"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def watch() -> None:
        while process.returncode is None:
            sizes.append(resident(process.pid))
            await asyncio.sleep(0.25)

    task = asyncio.create_task(watch())
    _watching.add(task)
    task.add_done_callback(_watching.discard)
    return process


def resident(process: int) -> float:
    """Return resident megabytes of a process and its children; shared memory counts for each."""
    with suppress(OSError):
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        own_mb = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return own_mb + sum(resident(int(child)) for child in children)
    return 0.0


async def look_up(store: SqliteStore, count: int, times: int, pause: float = 0) -> list[float]:
    """Return the latency of lookups by identity, in microseconds."""
    (container,) = await store.containers()
    draw = random.Random(7)
    took = []
    for _ in range(times):
        keys = [IdentityKey("Email", f"customer{draw.randrange(count)}@example.org")]
        begun = time.perf_counter()
        customers = await store.customers(container.id, keys)
        took.append((time.perf_counter() - begun) * 1e6)
        assert customers
        await asyncio.sleep(pause)
    return took


async def stream_messages(port: int, messages: int, connections: int = 16) -> tuple[float, list[float]]:
    """Return messages per second over HTTP, and the latency of each, in milliseconds."""
    took: list[float] = []
    numbers = iter(range(messages))

    async def send() -> None:
        connection = await open_connection(port)
        for number in numbers:
            raw_request = request(number)
            begun = time.perf_counter()
            await connection.ask(raw_request)
            took.append((time.perf_counter() - begun) * 1e3)
        connection.close()

    begun = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(connections)))
    return messages / (time.perf_counter() - begun), took


def request(number: int) -> bytes:
    schema = {"schemaRef": {"id": "https://ns.adobe.com/xdm/context/profile"}}
    body = msgspec.json.encode(
        {
            "header": {**schema, "datasetId": "web"},
            "body": {"xdmMeta": schema, "xdmEntity": profile(number)},
        }
    )
    head = (
        "POST /collection/dev HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def stream(folder: Path, messages: int) -> tuple[float, list[float], float]:
    """Stream into a new server; return rate, latencies, and processor microseconds per message."""
    with proffer(f"sqlite:///{folder / 'stream.db'}", core=None) as server:
        asyncio.run(stream_messages(server.port, 200))
        before = server.cpu_seconds()
        rate, took = asyncio.run(stream_messages(server.port, messages))
        spent = server.cpu_seconds() - before
    return rate, took, spent / messages * 1e6


def print_times(name: str, took: Sequence[float], unit: str) -> None:
    print(f"{name:<34} median {statistics.median(took):8.1f} {unit}   p99 {percentile(took, 99):8.1f} {unit}")


async def measure(folder: Path, path: Path, count: int) -> None:
    alone = yardstick(path, folder)
    print(f"{'database alone':<34} {alone:10,.0f} rows/s")
    sizes: list[float] = []
    begun = time.perf_counter()
    first = await imported(folder / "a.db", path, sizes)
    assert await first.wait() == 0
    empty = count / (time.perf_counter() - begun)
    print(f"{'import into an empty store':<34} {empty:10,.0f} rows/s   {empty / alone:.2f} of the database alone")
    print_memory(sizes)
    store = await SqliteStore.open(folder / "a.db")
    print_times("lookup by identity", await look_up(store, count, 20_000), "µs")
    changed, again = path.with_name("changed.jsonl"), min(count, _AGAIN)
    write_changed(changed, path, again)
    sizes.clear()
    begun = time.perf_counter()
    second = await imported(folder / "a.db", changed, sizes)
    took = []
    while second.returncode is None:
        took += await look_up(store, count, 50, pause=0.0005)
    upserts = again / (time.perf_counter() - begun)
    print(f"{'import of changes':<34} {upserts:10,.0f} rows/s   {upserts / alone:.2f} of the database alone")
    print_memory(sizes)
    print_times("lookup while an import runs", took, "µs")
    await store.close()
    size = (folder / "a.db").stat().st_size
    print(f"{'on disk':<34} {size / count:10,.0f} bytes a profile")


def print_memory(sizes: Sequence[float]) -> None:
    """Print the peak of resident memory in each quarter of the time."""
    quarter = max(len(sizes) // 4, 1)
    peaks = [max(sizes[start : start + quarter], default=0) for start in range(0, len(sizes), quarter)]
    peaks_text = ", ".join(f"{size:,.0f}" for size in peaks[:4])
    print(f"{'resident, by quarters of the time':<34} {peaks_text} MB")


def rows(*, quick: bool) -> Iterator[Row]:
    """Return the rows of the suite, for customers that take a minute."""
    count = 10_000 if quick else 100_000
    baseline = "the database alone"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "profiles.jsonl"
        write_file(path, count)
        before = yardstick(path, folder)
        begun = time.perf_counter()
        looked, size = asyncio.run(_import_and_look_up(folder, path, count))
        empty = count / (time.perf_counter() - begun - looked.pop())
        (folder / "alone.db").unlink()
        after = yardstick(path, folder)
        rate, took, spent = stream(folder, 2_000 if quick else 10_000)
    ends = sorted((empty / before, empty / after))
    yield Row(name=baseline, value=(before + after) / 2, unit="rows/s", note=f"{count:,} profiles")
    yield Row(
        name="import into an empty store",
        value=empty,
        unit="rows/s",
        baseline=baseline,
        ratio=empty * 2 / (before + after),
        spread=(ends[0], ends[1]),
        note=f"{size / count:,.0f} bytes on disk for a profile of 1 KB",
    )
    yield Row(
        name="look-up by identity, median",
        value=statistics.median(looked),
        unit="µs",
        note=f"p99 {percentile(looked, 99):.0f} µs",
    )
    yield Row(
        name="streamed records, durable",
        value=rate,
        unit="/s",
        note=f"{spent:.0f} µs of processor time per record; p99 {percentile(took, 99):.1f} ms",
    )


async def _import_and_look_up(folder: Path, path: Path, count: int) -> tuple[list[float], int]:
    """Import, then look up; return latencies in µs, their total in s as last element, and bytes on disk."""
    process = await imported(folder / "a.db", path, [])
    assert await process.wait() == 0
    begun = time.perf_counter()
    store = await SqliteStore.open(folder / "a.db")
    looked = await look_up(store, count, 10_000)
    await store.close()
    return [*looked, time.perf_counter() - begun], (folder / "a.db").stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 profiles, for a look")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    count = 20_000 if options.quick else options.profiles
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        path = folder / "profiles.jsonl"
        write_file(path, count)
        print(f"{count:,} profiles of {path.stat().st_size // count:,} bytes")
        rate, took, spent = stream(folder, 4_000 if options.quick else 20_000)
        print(f"{'streamed, durable':<34} {rate:10,.0f} records/s   {spent:,.0f} µs of processor time each")
        print_times("streamed", took, "ms")
        asyncio.run(measure(folder, path, count))


if __name__ == "__main__":
    main()
