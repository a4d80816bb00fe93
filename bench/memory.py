"""What a worker holds in memory: 10,000 offers, each with a rule of its own, in 1,000 live decisions.

    TMPDIR=. python bench/memory.py [--quick]

Resident memory of the processes of a real server as the system tells it, after all decisions were asked
once. Pages that a worker shares with its parent are counted for both. The yardstick is the size of all
documents as JSON text.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from _documents import library, profile, request
from _load import flood, once, settle_on
from _measure import Row, alone
from _servers import cores, filled, proffer

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
            database = filled(folder, documents, customers, f"{offers}")
            size = len(msgspec.json.encode(documents)) / 2**20
            asked = [request(number, decision=number % decisions + 1) for number in range(ASKED)]
            with proffer(database, core=core) as server:
                once(server.port, asked[0])  # it listens before it has read everything
                flood(server.port, asked, 2.0, connections=8, core=client)
                for one in asked[:decisions]:
                    once(server.port, one)
                held = max(server.resident_mb().values())
            yield Row(
                table=TABLE,
                name="a worker",
                at=offers,
                value=held,
                unit="MB",
                baseline="the documents as text",
                ratio=held / size,
                goal="250 MB" if offers == 10_000 else "",
                note=f"{decisions:,} live decisions; documents {size:.1f} MB",
            )


if __name__ == "__main__":
    alone(rows, __doc__)
