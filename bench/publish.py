"""Publishing: from the moment one offer of 10,000 is changed until every worker decides with it.

    TMPDIR=. python bench/publish.py [--quick]

A real server with two workers over SQLite. Decisions are asked at a quarter of the pace that it can keep, by
turns quietly and while one offer gets another name twice a second over the repository API. That offer is
the best for everybody, so each answer shows the version that it was decided with. It is in force when eight
connections, which the workers share evenly and which ask every few milliseconds, have all shown it;
time runs from before the write is sent, so the write, its commit and the build are in it. The yardstick of the
waits is the quiet half of the same run.
"""

import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from _documents import an_offer, library, offer_id, profile, request
from _load import Connection, connected, flood, once, paced
from _measure import Row, alone, compared
from _servers import filled, proffer
from proffer.app import DEV_CONTAINER

WORKERS = 2
CUSTOMERS = 200
CONNECTIONS = 8
EVERY_S = 0.5
PAUSE_S = 0.005
TABLE = "One changed offer, in force in every worker"
WAITS = "What decisions wait"
INSTANCES = f"/data/core/xcore/{DEV_CONTAINER}/instances"


def rows(*, quick: bool) -> Iterator[Row]:
    offers, rounds, seconds = (1_000, 2, 2.0) if quick else (10_000, 5, 3.0)
    documents = library(offers - 1)
    documents["offers"].append(best := _best(offers))
    with tempfile.TemporaryDirectory() as name:
        customers = [profile(number) for number in range(CUSTOMERS)]
        database = filled(Path(name), documents, customers)
        with proffer(database, workers=WORKERS, core=None) as server:
            asked = [request(number) for number in range(CUSTOMERS)]
            for _ in range(20):
                once(server.port, asked[0])
            most = flood(server.port, asked, 2.0, connections=16, core=None).rate
            quiet: list[float] = []
            changing: list[float] = []
            took: list[float] = []
            with Watch(server.port, asked[0], best["@id"]) as watch:
                for number in range(2 * rounds):
                    watch.changing = number % 2 == 1
                    waits = paced(server.port, asked, seconds, rate=most / 4)
                    into = changing if watch.changing else quiet
                    into.append(_p99([wait for _, wait in waits]) * 1e3)
                watch.changing = False
                took = watch.took
    yield Row(
        table=TABLE,
        name="in force after",
        value=statistics.median(took),
        unit="ms",
        spread=(min(took), max(took)),
        goal="200 ms",
        note=f"{offers:,} offers, {WORKERS} workers, {len(took)} changes; p99 {_p99(took):.0f} ms",
    )
    yield Row(table=WAITS, name="p99, nothing changes", value=statistics.median(quiet), unit="ms")
    ratio, spread = compared(changing, quiet)
    yield Row(
        table=WAITS,
        name="p99, an offer changes twice a second",
        value=statistics.median(changing),
        unit="ms",
        baseline="p99, nothing changes",
        ratio=ratio,
        spread=spread,
        goal="2 at most",
        note=f"{most / 4:,.0f} decisions/s",
    )


def _best(number: int) -> dict[str, Any]:
    document = an_offer(number, 1)
    del document["xdm:selectionConstraint"]["xdm:eligibilityRule"]
    document["xdm:selectionConstraint"]["xdm:profileConstraintType"] = "none"
    return document | {"xdm:rank": {"xdm:priority": 1_000}, "@id": offer_id(number)}


class Watch:
    """A thread that asks over its own connections all the time, and changes the offer while it shall."""

    def __init__(self, port: int, asked: bytes, offer: str) -> None:
        self.changing = False
        self.took: list[float] = []
        self._port = port
        self._asked = asked
        self._offer = offer
        self._over = False
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join(timeout=30)
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except BaseException as failed:  # noqa: BLE001 - it is raised where the watch ends
            self._failed = failed

    async def _watch(self) -> None:
        connections = [await connected(self._port) for _ in range(CONNECTIONS)]
        writing = await connected(self._port)
        instance = await self._instance(writing)
        seen = [""] * CONNECTIONS
        asking = [
            asyncio.create_task(self._ask(one, seen, place))
            for place, one in enumerate(connections)
        ]
        number = 0
        while not self._over:
            if not self.changing:
                await asyncio.sleep(PAUSE_S)
                continue
            number += 1
            name = f"Version {number}"
            begun = time.perf_counter()
            operation = {"op": "replace", "path": "/_instance/xdm:name", "value": name}
            await writing.ask(_call("PATCH", f"{INSTANCES}/{instance}", [operation]))
            while any(one != name for one in seen):
                await asyncio.sleep(0.001)
                assert time.perf_counter() - begun < 10, f"not in force after 10 s: {seen}"
            self.took.append((time.perf_counter() - begun) * 1e3)
            await asyncio.sleep(max(0, EVERY_S - (time.perf_counter() - begun)))
        for task in asking:
            task.cancel()
        for one in (*connections, writing):
            one.close()

    async def _ask(self, connection: Connection, seen: list[str], place: int) -> None:
        while True:
            answer = await connection.ask(self._asked)
            (option,) = msgspec.json.decode(answer)["xdm:propositions"][0]["xdm:options"]
            seen[place] = option["xdm:name"]
            await asyncio.sleep(PAUSE_S)

    async def _instance(self, connection: Connection) -> str:
        query = f"{INSTANCES}?schema=https://ns.adobe.com/experience/offer-management/personalized-offer&id={self._offer}"
        found = msgspec.json.decode(await connection.ask(_call("GET", query)))
        instance: str = found["_embedded"]["results"][0]["instanceId"]
        return instance


def _call(method: str, path: str, document: Any = None) -> bytes:
    body = b"" if document is None else msgspec.json.encode(document)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    kind = "Content-Type: application/json-patch+json\r\n" if body else ""
    return (head + kind + "\r\n").encode() + body


def _p99(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


if __name__ == "__main__":
    alone(rows, __doc__)
