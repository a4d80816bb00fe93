"""Time from the change of one offer until every worker uses it.

    TMPDIR=. python bench/publish.py [--quick]

The library has 10,000 offers. The first table is the processor time in which one worker puts a changed offer
into its snapshot, compared with a build of the whole library, and the longest single step, after which
requests get a turn. One change is a new name. The other gives the offer another rank, other dates and another
rule, so that its place in order and index changes; it also needs a new index, which a server builds in the
background.

The other tables are from a server with two workers over SQLite. Decisions are requested in an open loop, at a
quarter of the maximum rate, in turn without changes, while one offer gets another name twice a second over
the repository API, and while it gets another name, rank, end date and constraint as often. That offer is the
best for all customers, so each response shows the version that it was decided with. A change is in force when
eight connections, which the workers share evenly and which send a request every few milliseconds, have all
shown it. The time starts before the write is sent, so it includes the write, its commit and the build.
Latency is measured from the time a request is due; the baseline of each round's p99 is the round without
changes just before.
"""

import asyncio
import gc
import statistics
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from _documents import a_rule, an_offer, library, offer_id, profile, request
from _load import Connection, flood, once, open_connection, paced
from _measure import Row, compare_rounds, percentile, run_standalone
from _servers import create_database, proffer
from proffer.app import DEV_CONTAINER
from proffer.engine.compile.compiler import SnapshotBuilder
from proffer.model.ids import canonical
from proffer.service.library.load import library_entries
from proffer.testing.builders import an_entity

WORKERS = 2
CUSTOMERS = 200
CONNECTIONS = 8
EVERY_S = 0.5
PAUSE_S = 0.005
CHANGES = 40
WORK = "Processor time for one changed offer"
TABLE = "One changed offer, in force in every worker"
RENAMED, MOVED = CHANGED = ("another name", "another name, rank, dates and rule")
WAITS = "Latency of decisions"
EVERYBODY = "xcore:eligibility-rule:0"
INSTANCES = f"/data/core/xcore/{DEV_CONTAINER}/instances"


def rows(*, quick: bool) -> Iterator[Row]:
    yield from work(1_000 if quick else 10_000)
    yield from served(quick=quick)


def work(offers: int) -> Iterator[Row]:
    """Processor time of one worker for one changed offer, without a server."""
    documents = [library_document for _, _, library_document in library_entries(library(offers))]
    entities = {canonical(library_document["@id"]): an_entity(library_document) for library_document in documents}
    builder = SnapshotBuilder("bench")
    begun = time.process_time()
    builder.apply(entities.items(), 1)
    full_ms = (time.process_time() - begun) * 1e3
    yield Row(table=WORK, name="the whole library", value=full_ms, unit="ms", note=f"{offers:,} offers")
    gc.collect()
    gc.freeze()  # as a server does once it has read its library
    for name, changed in (("another name", _renamed), ("another place and rule", _moved)):
        took: list[float] = []
        longest: list[float] = []
        reindex_ms: list[float] = []
        for turn in range(CHANGES):
            document = changed(an_offer(offers // 2 + turn % 3, 1), turn)
            entity = an_entity(document)
            spent = _steps(builder.apply_in_steps([(canonical(document["@id"]), entity)], turn + 2))
            took.append(sum(spent))
            longest.append(max(spent))
            reindex_ms.append(sum(_steps(builder.reindex_in_background())))
        yield Row(
            table=WORK,
            name=name,
            value=statistics.median(took),
            unit="ms",
            baseline="the whole library",
            ratio=statistics.median(took) / full_ms,
            spread=(min(took) / full_ms, max(took) / full_ms),
            note=f"longest step {statistics.median(longest):.2f} ms (maximum {max(longest):.2f}); "
            f"new index in the background {statistics.median(reindex_ms):.0f} ms",
        )
    gc.unfreeze()


def _steps(steps: Generator[None, None, object]) -> list[float]:
    """Return the processor time of each step, in milliseconds."""
    took: list[float] = []
    while True:
        begun = time.process_time()
        more = next(steps, steps) is not steps
        took.append((time.process_time() - begun) * 1e3)
        if not more:
            return took


def _renamed(document: dict[str, Any], turn: int) -> dict[str, Any]:
    return document | {"xdm:name": f"Version {turn}"}


def _moved(document: dict[str, Any], turn: int) -> dict[str, Any]:
    constraint = dict(document["xdm:selectionConstraint"])
    constraint["xdm:eligibilityRule"] = f"xcore:eligibility-rule:{turn + 1:x}"
    constraint["xdm:endDate"] = f"2090-01-01T00:00:{turn % 60:02}Z"
    rank = {"xdm:priority": turn * 31 % 100}
    return document | {"xdm:rank": rank, "xdm:selectionConstraint": constraint}


def served(*, quick: bool) -> Iterator[Row]:
    """Latency of decisions on a server, and of changes until they are in force."""
    offers, rounds, seconds = (1_000, 2, 2.0) if quick else (10_000, 5, 2.5)
    documents = library(offers - 1)
    documents["offers"].append(best := _best(offers))
    documents["rules"].append(_for_everybody())
    waits: dict[str, list[float]] = {kind: [] for kind in ("", *CHANGED)}
    yardstick: dict[str, list[float]] = {kind: [] for kind in CHANGED}
    with tempfile.TemporaryDirectory() as name:
        customers = [profile(number) for number in range(CUSTOMERS)]
        database = create_database(Path(name), documents, customers)
        with proffer(database, workers=WORKERS, core=None) as server:
            raw_requests = [request(number) for number in range(CUSTOMERS)]
            for _ in range(20):
                once(server.port, raw_requests[0])
            max_rate = flood(server.port, raw_requests, 2.0, connections=16, core=None).rate

            def p99() -> float:
                answers = paced(server.port, raw_requests, seconds, rate=max_rate / 4)
                return percentile([wait for _, wait in answers], 99) * 1e3

            with OfferWatcher(server.port, raw_requests[0], best["@id"]) as watch:
                for _ in range(rounds):
                    for kind in CHANGED:
                        watch.changing = ""
                        quiet = p99()
                        watch.changing = kind
                        waits[kind].append(p99())
                        waits[""].append(quiet)
                        yardstick[kind].append(quiet)
                watch.changing = ""
                took = watch.took
    for kind in CHANGED:
        p99_ms = percentile(took[kind], 99)
        yield Row(
            table=TABLE,
            name=kind,
            value=statistics.median(took[kind]),
            unit="ms",
            spread=(min(took[kind]), max(took[kind])),
            goal="200 ms",
            note=f"{offers:,} offers, {WORKERS} workers, {len(took[kind])} changes; p99 {p99_ms:.0f} ms",
        )
    unchanged = "p99, no changes"
    least, greatest = min(waits[""]), max(waits[""])
    yield Row(
        table=WAITS,
        name=unchanged,
        value=statistics.median(waits[""]),
        unit="ms",
        spread=(least, greatest),
        note=f"{max_rate / 4:,.0f} decisions/s",
    )
    for kind in CHANGED:
        ratio, spread = compare_rounds(waits[kind], yardstick[kind])
        yield Row(
            table=WAITS,
            name=f"p99, {kind} twice a second",
            value=statistics.median(waits[kind]),
            unit="ms",
            baseline=unchanged,
            ratio=ratio,
            spread=spread,
            goal="at most 2",
        )


def _for_everybody() -> dict[str, Any]:
    rule = a_rule(0, narrow=False)
    rule["@id"] = EVERYBODY
    rule["xdm:condition"]["xdm:value"] = "person.age >= 0"
    return rule


def _best(number: int) -> dict[str, Any]:
    document = an_offer(number, 1)
    del document["xdm:selectionConstraint"]["xdm:eligibilityRule"]
    document["xdm:selectionConstraint"]["xdm:profileConstraintType"] = "none"
    return document | {"xdm:rank": {"xdm:priority": 1_000}, "@id": offer_id(number)}


class OfferWatcher:
    """A thread that polls over its own connections, and changes the offer as `changing` says."""

    def __init__(self, port: int, raw_request: bytes, offer: str) -> None:
        self.changing = ""
        self.took: dict[str, list[float]] = {kind: [] for kind in CHANGED}
        self._port = port
        self._raw_request = raw_request
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
        connections = [await open_connection(self._port) for _ in range(CONNECTIONS)]
        writing = await open_connection(self._port)
        instance = await self._instance(writing)
        seen = [""] * CONNECTIONS
        asking = [asyncio.create_task(self._ask(item, seen, place)) for place, item in enumerate(connections)]
        number = 0
        while not self._over:
            if not self.changing:
                await asyncio.sleep(PAUSE_S)
                continue
            number += 1
            name = f"Version {number}"
            begun = time.perf_counter()
            kind = self.changing
            changes = {"xdm:name": name} | (_elsewhere(number) if kind == MOVED else {})
            operations = [
                {"op": "replace", "path": f"/_instance/{member}", "value": value} for member, value in changes.items()
            ]
            await writing.ask(_call("PATCH", f"{INSTANCES}/{instance}", operations))
            while any(item != name for item in seen):
                await asyncio.sleep(0.001)
                assert time.perf_counter() - begun < 10, f"not in force after 10 s: {seen}"
            self.took[kind].append((time.perf_counter() - begun) * 1e3)
            await asyncio.sleep(max(0, EVERY_S - (time.perf_counter() - begun)))
        for task in asking:
            task.cancel()
        for item in (*connections, writing):
            item.close()

    async def _ask(self, connection: Connection, seen: list[str], place: int) -> None:
        while True:
            answer = await connection.ask(self._raw_request)
            (option,) = msgspec.json.decode(answer)["xdm:propositions"][0]["xdm:options"]
            seen[place] = option["xdm:name"]
            await asyncio.sleep(PAUSE_S)

    async def _instance(self, connection: Connection) -> str:
        query = (
            f"{INSTANCES}?schema=https://ns.adobe.com/experience/offer-management/personalized-offer&id={self._offer}"
        )
        listing = msgspec.json.decode(await connection.ask(_call("GET", query)))
        instance: str = listing["_embedded"]["results"][0]["instanceId"]
        return instance


def _elsewhere(number: int) -> dict[str, Any]:
    """Return another top priority, another end date, and a rule that holds for all customers, or none."""
    constraint: dict[str, Any] = {
        "xdm:startDate": "2020-01-01T00:00:00Z",
        "xdm:endDate": f"2090-01-01T00:00:{number % 60:02}Z",
        "xdm:profileConstraintType": "none",
    }
    if number % 2:
        rule = {"xdm:profileConstraintType": "eligibilityRule", "xdm:eligibilityRule": EVERYBODY}
        constraint |= rule
    return {
        "xdm:rank": {"xdm:priority": 1_000 + number % 7},
        "xdm:selectionConstraint": constraint,
    }


def _call(method: str, path: str, document: Any = None) -> bytes:
    body = b"" if document is None else msgspec.json.encode(document)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    kind = "Content-Type: application/json-patch+json\r\n" if body else ""
    return (head + kind + "\r\n").encode() + body


if __name__ == "__main__":
    run_standalone(rows, __doc__)
