"""caps-hold: no cap is ever exceeded, by however many at once, whoever dies meanwhile; and none is left short."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support import capped
from support.postgres import lent_database

DECISIONS = int(os.environ.get("PROFFER_LAW_DECISIONS", "10000"))
WORKERS = 4
TESTS = Path(capped.__file__).parents[1]
MOST_SECONDS = 600 + DECISIONS / 20
"""After which something hangs."""


class Workers:
    """Processes that ask for decisions until so many are made; what they said."""

    def __init__(self, database: str, decisions: int, apart: int = 0) -> None:
        self.database = database
        self.apart = apart
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
            command = [sys.executable, "-m", "support.capped", self.database]
            command += [str(share), str(self._seed), str(place % 2 * self.apart)]
            done = 0
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS) as worker:
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


@pytest.mark.parametrize(
    ("decisions", "kills"),
    [(DECISIONS * 3 // 4, 0), (DECISIONS // 4, 8)],
    ids=["nobody dies", "workers are killed"],
)
def test_no_cap_is_exceeded_and_counters_equal_the_events(tmp_path: Path, decisions: int, kills: int) -> None:
    """Sixteen at once in four processes; what was answered is on record, and nothing given is uncounted."""
    check(f"sqlite:///{tmp_path / 'proffer.db'}", decisions, kills)


@pytest.mark.parametrize(
    ("decisions", "kills", "apart"),
    [(DECISIONS // 4, 0, 60), (DECISIONS // 8, 6, 0)],
    ids=["clocks a minute apart", "servers are killed"],
)
def test_it_holds_for_servers_that_share_postgresql(decisions: int, kills: int, apart: int) -> None:
    """Four servers on one database, two of them a minute ahead of the others, or killed at random."""
    with lent_database() as database:
        check(database, decisions, kills, apart)


def check(database: str, decisions: int, kills: int, apart: int = 0) -> None:
    limit = decisions * 2 // capped.OFFERS
    asyncio.run(capped.load(database, limit))
    workers = Workers(database, decisions, apart)
    workers.run(kills)
    assert workers.killed >= kills // 2, "hardly anybody was killed in time"
    books = capped.check_caps(database)
    for line in workers.said:
        decision, *given = line.split()
        assert [f"{offer}@{place}" for offer, place in books.events[decision].proposed_offers] == given
    if not kills:
        totals = {offer: count for (offer, name, _, _), count in books.counters.items() if name == "globalCap"}
        assert totals == dict.fromkeys(books.offers, limit), "some are left though somebody asked"
