"""Servers of an earlier version and the current one share a database.

PROFFER_UPGRADE_DECISIONS sets the number of decisions (`make test-long`).
"""

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.commands import Proffer
from support.process import environment
from support.server import ODE
from support.workers import RunningServer, ask, run_workers, until
from upgrade.installations import VERSIONS_TO_MIGRATE, Installation, for_versions
from upgrade.library import CARD, FALLBACK, HOME, offer_id
from upgrade.scenario import ASKED_US, FOR_ALL, RUSH, option_ids, options, request

DECISIONS = int(os.environ.get("PROFFER_UPGRADE_DECISIONS", "200"))
LIMIT = DECISIONS // 5
"""Cap of each offer. Together the caps allow fewer options than there are scopes."""
TOTAL, BY_NAME, EACH_PLACE = (offer_id(key) for key in ("21", "22", "23"))
_CLOCK = """import time
_now_ns = time.time_ns
time.time_ns = lambda: _now_ns() - {behind_ns}
"""
"""A module that Python imports when it starts: it sets the clock of the process back."""
_OFFERS = "/data/core/dps/offers"


@contextmanager
def two_servers(
    installation: Installation, source: Path, folder: Path
) -> Iterator[tuple[RunningServer, RunningServer]]:
    """Run a server of the earlier version and a current one.

    The current one may migrate the database. Their clocks begin at the time of the queries: later, data would be
    deleted, and counts of two years have ended.
    """
    clock = folder / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(_CLOCK.format(behind_ns=time.time_ns() - ASKED_US * 1000), encoding="utf-8")
    old_path, new_path = (os.pathsep.join(map(str, (clock, *paths))) for paths in ((source,), sys.path))
    imported = subprocess.run(
        [sys.executable, "-c", "import proffer; print(proffer.__file__)"],
        env={**environment(), "PYTHONPATH": old_path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout.startswith(str(source)), "the earlier version's own code runs"
    chosen = ("--database", installation.database, "--spool", str(installation.spool))
    with (
        run_workers(folder, *chosen, PYTHONPATH=old_path) as old,
        run_workers(folder, *chosen, PYTHONPATH=new_path) as new,
    ):
        yield old, new


@dataclass
class Clients:
    """Clients that decide at one server and report feedback to the other."""

    servers: tuple[RunningServer, RunningServer]
    options: dict[str, list[list[str]]] = field(default_factory=dict)
    """The options of each scope, by proposition."""
    exhausted: list[int] = field(default_factory=lambda: [0, 0])
    """Number of answers of each server with fallbacks only."""
    errors: list[Any] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, count: int = 4) -> None:
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def is_done(self) -> bool:
        return bool(self.errors) or (len(self.options) >= DECISIONS and min(self.exhausted) > 0)

    def _run(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - not a secret
        connections = [server.connect() for server in self.servers]
        try:
            while not self.is_done():
                turn = chance.randrange(2)
                who = f"{chance.randrange(10**6)}@example.org"
                document = request((RUSH, "home"), (RUSH, "card"), who=who, count=1)
                answer = self._post(connections[turn], f"{ODE}/decisions", document)
                found = option_ids(answer)
                self.options[answer["xdm:propositionId"]] = found
                self.exhausted[turn] += found == [[FALLBACK], [FALLBACK]]
                if chance.random() < 0.1:
                    self._report(connections[1 - turn], answer["xdm:propositionId"], found)
        except (AssertionError, OSError, http.client.HTTPException) as error:
            self.errors.append(repr(error))
        finally:
            for connection in connections:
                connection.close()

    def _report(self, connection: http.client.HTTPConnection, proposition: str, found: list[list[str]]) -> None:
        event = {"id": f"of-{proposition}", "type": "display", "propositionId": proposition}
        (received,) = self._post(connection, "/api/feedback", {"events": [event]})["received"]
        delivered = [one["item"] for one in received["delivered"]]
        assert delivered == [one for scope in found for one in scope], received

    def _post(self, connection: http.client.HTTPConnection, path: str, document: Mapping[str, Any]) -> Any:
        status, _, answer = ask(connection, "POST", path, document)
        assert status == 200, (status, answer)
        return answer


def patch(server: RunningServer, offer: str, path: str, value: Any) -> None:
    """Change one member of an offer at this server."""
    operation = {"op": "replace", "path": path, "value": value}
    with closing(server.connect()) as connection:
        status, _, answer = ask(connection, "PATCH", f"{_OFFERS}/{offer}?offer-type=personalized", [operation])
    assert status == 200, answer


def name_at(server: RunningServer) -> str:
    """Return the name of the offer for all at this server."""
    document = request((FOR_ALL, "home"), who="new@example.org", **{"xdm:dryRun": True})
    with closing(server.connect()) as connection:
        status, _, answer = ask(connection, "POST", f"{ODE}/decisions", document)
    assert status == 200, answer
    return str(options(answer["xdm:propositions"][0])[0]["xdm:name"])


def assert_published(at: RunningServer, seen_by: RunningServer, name: str) -> None:
    """Assert that an edit at one server is used by the other."""
    patch(at, offer_id("1"), "/name", name)
    until(lambda: name_at(seen_by) == name)


@for_versions(VERSIONS_TO_MIGRATE)
def test_servers_of_two_versions_share_limits_and_library(
    installation: Installation,
    sources: Callable[[str], Path],
    tmp_path: Path,
    proffer: Proffer,
) -> None:
    """Caps hold exactly across both servers, and no request fails.

    Each server uses the edits of the other, and every decision is recorded.
    """
    source = sources(installation.version.commit)
    with two_servers(installation, source, tmp_path) as (old, new):
        patch(old, TOTAL, "/frequencyCappingConstraints/1/limit", LIMIT)
        patch(new, BY_NAME, "/cappingConstraint/globalCap", LIMIT)
        patch(old, EACH_PLACE, "/frequencyCappingConstraints/0/limit", LIMIT)
        clients = Clients((old, new))
        clients.start()
        for goal in range(0, DECISIONS, 100):
            until(lambda: clients.is_done() or len(clients.options) > goal)  # noqa: B023
            assert_published(old, new, f"published by the earlier version at {goal}")
            assert_published(new, old, f"published by today's code at {goal}")
        clients.join()
        exits = [server.end() for server in (new, old)]
    assert clients.errors == []
    assert [code for code, _ in exits] == [0, 0], exits

    before = Counter(
        one for decision in installation.facts["decisions"].values() for scope in decision["options"] for one in scope
    )
    assert before[TOTAL] > 0
    given = Counter(
        (one, place)
        for found in clients.options.values()
        for place, scope in zip((HOME, CARD), found, strict=True)
        for one in scope
    )
    assert given[TOTAL, HOME] + given[TOTAL, CARD] + before[TOTAL] == LIMIT
    assert given[BY_NAME, HOME] + given[BY_NAME, CARD] + before[BY_NAME] == LIMIT
    assert [given[EACH_PLACE, place] for place in (HOME, CARD)] == [LIMIT, LIMIT]
    assert on_record(proffer, installation, tmp_path / "all.jsonl").items() >= clients.options.items()


def on_record(proffer: Proffer, installation: Installation, out: Path) -> dict[str, list[list[str]]]:
    """Return the options of each recorded decision, from the export."""
    ran = proffer("events", "export", "--out", out, "--database", installation.database)
    assert ran.code == 0, ran.err
    found: dict[str, list[list[str]]] = {}
    for line in out.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        assert event["timestamp"].startswith("2026-02-02T1"), "by the clock of the stored data"
        found[event["_id"]] = [
            [one["id"] for one in detail.get("selections") or [detail["fallback"]]]
            for detail in event["_experience"]["decisioning"]["propositionDetails"]
        ]
    return found
