"""Memory of a worker, by the size of its library.

    TMPDIR=. python bench/memory.py [--quick]

The largest library has 10,000 offers, each with its own rule, in 1,000 live decisions. The figure is the
resident memory of a process of a real server, as the system reports it after all decisions were requested
once. Pages that a worker shares with its parent count for both. The baseline is the size of all documents as
JSON text.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from _documents import library, profile, request
from _load import flood, once, settle_on
from _measure import Row, run_standalone
from _servers import cores, create_database, proffer

SIZES = ((100, 10), (1_000, 100), (10_000, 1_000))
TABLE = "Resident memory of a worker"
ASKED = 1_000


def rows(*, quick: bool) -> Iterator[Row]:
    core, client = cores()
    settle_on(client)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        customers = [profile(number) for number in range(ASKED)]
        for offers, decisions in SIZES[:2] if quick else SIZES:
            documents = library(offers, 1, decisions)
            database = create_database(folder, documents, customers, f"{offers}")
            size = len(msgspec.json.encode(documents)) / 2**20
            raw_requests = [request(number, decision=number % decisions + 1) for number in range(ASKED)]
            with proffer(database, core=core) as server:
                once(server.port, raw_requests[0])  # it listens before it has read everything
                flood(server.port, raw_requests, 2.0, connections=8, core=client)
                for raw_request in raw_requests[:decisions]:
                    once(server.port, raw_request)
                resident_mb = max(server.resident_mb().values())
            yield Row(
                table=TABLE,
                name="a worker",
                at=offers,
                value=resident_mb,
                unit="MB",
                baseline="documents as JSON text",
                ratio=resident_mb / size,
                goal="250 MB" if offers == 10_000 else "",
                note=f"{decisions:,} live decisions; documents {size:.1f} MB",
            )


if __name__ == "__main__":
    run_standalone(rows, __doc__)
