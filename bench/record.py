"""Drained spools, feedback, exports and erasure, compared with recording decisions.

    TMPDIR=. python bench/record.py [--quick]

The ratio of each rate is to the rate of recording decisions, 64 at a time, in the same database and round.
Two caps count decisions and feedback; feedback is attributed and checked for repeats. PostgreSQL runs on the
disk of the benchmark, with `fsync` on; it shares the processor with the benchmark.
"""

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from msgspec.structs import replace

from _measure import Row, compare_rounds, run_standalone
from proffer.app import Services
from proffer.auth.principal import Permission, Principal
from proffer.model.capping import CapEvent, CapScope
from proffer.model.events import DecisionEvent, new_decision_id
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.model.identity import IdentityKey
from proffer.service.decisions.degraded import SpoolReplayer
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.runtime.database_status import DatabaseStatus
from proffer.store.ports import Store
from proffer.store.postgres.store import PostgresStore
from proffer.store.spool import Spool
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.feedback_contract import a_decision_event, a_limit, create_container
from proffer.testing.store_contract import NOON
from support.own_postgres import own_postgres

TOGETHER = 64
ROUNDS = 3
BASELINE = "decisions recorded"
OWNER = Principal(
    organisation="acme",
    sandbox="prod",
    permissions=frozenset({Permission.ADMIN}),
    user="bench@AdobeID",
    client="bench",
)
EVENT = a_decision_event(attributes={"person": {"age": 40}})
COUNTED = frozenset({CapEvent.DECISIONING.value, "impression"})


class Records:
    """A database and the operations on it; each operation returns how many items it handled."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._services = Services(store)
        self._replayer = SpoolReplayer(store, DatabaseStatus(lambda: NOON), Spool(folder / "spool", 10**9))
        self._ids: list[str] = []
        self._moments = count(NOON, 1000)
        self._keys = count()

    async def start(self) -> None:
        limits = (a_limit(name, 10**9, events=COUNTED, scope=scope) for name, scope in zip("12", CapScope, strict=True))
        await create_container(self._store, *limits)
        await self._services.registry.start()

    async def stop(self) -> None:
        await self._services.stop()

    async def decisions(self, amount: int) -> int:
        for _ in range(0, amount, TOGETHER):
            events = self._events()
            await asyncio.gather(*(self._store.record("c1", event) for event in events))
            self._ids += [event.id for event in events]
        return amount

    async def feedback_alone(self, amount: int) -> int:
        for _ in range(0, amount, TOGETHER):
            await asyncio.gather(*(self._report(1) for _ in range(TOGETHER)))
        return amount

    async def feedback_in_batches(self, amount: int) -> int:
        for _ in range(0, amount, 500):
            await self._report(500)
        return amount // 500 * 500

    async def export(self, form: str) -> int:
        out = self._folder / f"{next(self._keys)}.{form}"
        done = await self._services.event_export.run(self._access(), "decisions", out)
        return done.rows

    async def look_through(self) -> int:
        await self._store.redact("c1", [IdentityKey("Email", "nobody@example.org")])
        return len(self._ids)

    async def spool(self, amount: int) -> None:
        """Spool decisions, as during an outage."""
        events = [event for _ in range(0, amount, TOGETHER) for event in self._events()]
        await asyncio.gather(*map(self._replayer.add, events))

    async def drain(self, amount: int) -> int:
        await self._replayer.replay()
        assert not self._replayer.pending
        return amount

    def _events(self) -> list[DecisionEvent]:
        return [
            replace(
                EVENT,
                id=new_decision_id(next(self._moments)),
                identities=(IdentityKey("Email", f"{place}@example.org"),),
            )
            for place in range(TOGETHER)
        ]

    def _access(self) -> AuthorizedContainer:
        return self._services.registry.authorize(OWNER, "c1")

    async def _report(self, amount: int) -> None:
        events = []
        for _ in range(amount):
            number = next(self._keys)
            events.append(
                Feedback(
                    id=f"e{number}",
                    kind=FeedbackKind.DISPLAY,
                    at_us=NOON,
                    propositions=(PropositionReport(self._ids[number * 7 % len(self._ids)]),),
                    document={"_id": f"e{number}"},
                )
            )
        await self._services.feedback.record(self._access(), events)


async def rounds(open_store: Callable[[], Awaitable[Store]], folder: Path, amount: int) -> dict[str, list[float]]:
    """Return the rate per second of each operation, round by round."""
    rates: dict[str, list[float]] = defaultdict(list)
    records = Records(await open_store(), folder)
    await records.start()
    for _ in range(ROUNDS):
        await records.spool(amount)
        for name, step in (
            (BASELINE, records.decisions(amount)),
            ("decisions of a spool recorded", records.drain(amount)),
            ("feedback events, 64 callers", records.feedback_alone(amount)),
            ("feedback events, 500 per call", records.feedback_in_batches(amount)),
            ("decisions exported to JSON Lines", records.export("jsonl")),
            ("decisions exported to Parquet", records.export("parquet")),
            ("decisions searched for erasure", records.look_through()),
        ):
            begun = time.perf_counter()
            done = await step
            rates[name].append(done / (time.perf_counter() - begun))
    await records.stop()
    return rates


def rows(*, quick: bool) -> Iterator[Row]:
    amount = 1024 if quick else 4096
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sqlite = rounds(lambda: SqliteStore.open(folder / "proffer.db"), folder, amount)
        yield from _rows("SQLite", asyncio.run(sqlite))
    with tempfile.TemporaryDirectory() as name, own_postgres(fsync="on", full_page_writes="on") as database:
        postgres = rounds(lambda: PostgresStore.open(database.url), Path(name), amount)
        yield from _rows("PostgreSQL", asyncio.run(postgres))


def _rows(table: str, rates: dict[str, list[float]]) -> Iterator[Row]:
    yardstick = rates.pop(BASELINE)
    yield Row(table=table, name=BASELINE, value=median(yardstick), unit="/s", spread=(min(yardstick), max(yardstick)))
    for name, each in rates.items():
        ratio, spread = compare_rounds(each, yardstick)
        yield Row(
            table=table,
            name=name,
            value=median(each),
            unit="/s",
            baseline=BASELINE,
            ratio=ratio,
            spread=spread,
        )


if __name__ == "__main__":
    run_standalone(rows, __doc__)
