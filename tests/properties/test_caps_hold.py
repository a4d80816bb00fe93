"""caps-hold: no cap is ever exceeded, by however many at once, whoever dies meanwhile; and none is left short."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path

import pytest

from proffer.app import DEV_CONTAINER, Services
from proffer.model.capping import CapLimit, CapScope
from proffer.model.events import DecisionEvent
from proffer.model.identity import IdentityKey
from proffer.model.offer import PersonalizedOffer
from proffer.model.reading import read
from proffer.store.sqlite import SqliteStore
from support import capped

DECISIONS = int(os.environ.get("PROFFER_LAW_DECISIONS", "10000"))
WORKERS = 4
MOST_SECONDS = 600 + DECISIONS / 20
"""After which something hangs."""


class Workers:
    """Processes that ask for decisions until so many are made; what they said."""

    def __init__(self, database: Path, decisions: int) -> None:
        self.database = database
        self.decisions = self.left = decisions
        self.said: list[str] = []
        self.killed = 0
        self._gate = threading.Lock()
        self._seed = 0
        self._running: list[subprocess.Popen[str] | None] = [None] * WORKERS

    def run(self, kills: int = 0) -> None:
        threads = [threading.Thread(target=self._keep, args=(place,)) for place in range(WORKERS)]
        for thread in threads:
            thread.start()
        chance = random.Random(11)  # noqa: S311 - not a secret
        until = time.monotonic() + MOST_SECONDS
        while any(thread.is_alive() for thread in threads):
            assert time.monotonic() < until, "the workers hang"
            time.sleep(chance.uniform(0.02, 0.2))
            if self.killed < kills and len(self.said) > self.decisions * self.killed // kills:
                running = self._running[chance.randrange(WORKERS)]
                if running is not None and running.poll() is None:
                    running.send_signal(signal.SIGKILL)
                    self.killed += 1
        for thread in threads:
            thread.join()

    def _keep(self, place: int) -> None:
        """Keep one worker running while there is something to do."""
        while (share := self._share()) > 0:
            command = [sys.executable, capped.__file__, str(self.database)]
            command += [str(share), str(self._seed)]
            done = 0
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
                self._running[place] = worker
                assert worker.stdout is not None
                for line in worker.stdout:
                    if line.endswith("\n"):
                        self.said.append(line)
                        done += 1
            assert worker.returncode in {0, -signal.SIGKILL}
            with self._gate:
                self.left += share - done

    def _share(self) -> int:
        with self._gate:
            self._seed += 1
            share = min(self.left, -(-self.decisions // WORKERS))
            self.left -= share
            return share


async def evidence(
    database: Path,
) -> tuple[dict[str, PersonalizedOffer], dict[str, DecisionEvent], dict[IdentityKey, int]]:
    """The offers, the decisions on record, and whose identity each is."""
    services = Services(await SqliteStore.open(database))
    await services.start(dev=True)
    live = services.libraries.find(capped.BY, DEV_CONTAINER).catalog
    offers = {one.id: one for one in map(read, live) if isinstance(one, PersonalizedOffer)}
    events: dict[str, DecisionEvent] = {}
    after = 0
    while packs := await services.store.decision_events(DEV_CONTAINER, after, 200):
        after = packs[-1][0]
        for _, packed in packs:
            for event in packed:
                assert event.id not in events, "a decision is on record twice"
                events[event.id] = event
    everybody = [IdentityKey("Email", capped.person(one).id) for one in range(capped.PEOPLE)]
    customers = await services.store.customers(DEV_CONTAINER, everybody)
    await services.stop()
    holders = {known: one.key for one in customers for known in one.identities}
    return offers, events, holders


Counted = Counter[tuple[str, str, str, str]]
"""By offer, name of the limit, placement, and who (empty: everybody)."""


def counted(
    offers: dict[str, PersonalizedOffer],
    events: dict[str, DecisionEvent],
    holders: dict[IdentityKey, int],
) -> Counted:
    """What the counters have to say, by the decisions on record."""
    found: Counted = Counter()
    for event in events.values():
        (identity,) = event.identities
        who = str(holders.get(identity, identity.id))
        for offer, placement in event.given:
            for limit in offers[offer].caps:
                key = limit.counter(offer, placement)
                found[*key, who if limit.scope is CapScope.PROFILE else ""] += 1
    return found


def counters(database: Path) -> Counted:
    """What they say."""
    found: Counted = Counter()
    with closing(sqlite3.connect(database)) as connection:
        for row in connection.execute("""
            SELECT l.offer, l.name, c.placement, '', c.count FROM cap_totals c JOIN cap_limits l USING (counter)
            UNION ALL SELECT l.offer, l.name, c.placement,
                CASE WHEN c.owner > 0 THEN c.owner ELSE substr(c.identity, 7) END, c.count
            FROM cap_counters c JOIN cap_limits l USING (counter)"""):
            *key, count = row
            found[tuple(map(str, key))] += count  # type: ignore[index]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return found


def limit_of(offers: dict[str, PersonalizedOffer], offer: str, name: str) -> CapLimit:
    return next(one for one in offers[offer].caps if one.name == name)


@pytest.mark.parametrize(
    ("decisions", "kills"),
    [(DECISIONS * 3 // 4, 0), (DECISIONS // 4, 8)],
    ids=["nobody dies", "workers are killed"],
)
def test_no_cap_is_exceeded_and_counters_equal_the_events(
    tmp_path: Path, decisions: int, kills: int
) -> None:
    """Sixteen at once in four processes; what was answered is on record, and nothing given is uncounted."""
    database = tmp_path / "proffer.db"
    limit = decisions * 2 // capped.OFFERS
    asyncio.run(capped.load(database, limit))
    workers = Workers(database, decisions)
    workers.run(kills)
    assert workers.killed >= kills // 2, "hardly anybody was killed in time"
    offers, events, holders = asyncio.run(evidence(database))

    for line in workers.said:
        decision, *given = line.split()
        assert [f"{offer}@{place}" for offer, place in events[decision].given] == given
    found = counters(database)
    assert found == counted(offers, events, holders)
    merged = Counter(holders.values())
    for (offer, name, _, who), count in found.items():
        # Two who turn out to be one may have had as much as two; from then on they count as one.
        most = limit_of(offers, offer, name).limit * (merged[int(who)] if who.isdigit() else 1)
        assert count <= most, (offer, name, who)
    if not kills:
        totals = defaultdict(int)
        for (offer, name, _, who), count in found.items():
            if name == "globalCap" and not who:
                totals[offer] = count
        assert totals == dict.fromkeys(offers, limit), "something was left though somebody asked"
