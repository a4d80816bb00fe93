"""Caps over several workers: killed ones, and clients that go away, leave nothing uncounted and nothing given twice."""

import asyncio
import http.client
import json
import os
import random
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from support import capped
from support.server import ODE
from support.workers import PATIENCE_S, RunningServer, ask, run_workers, until

ANSWERS = 600
LIMIT = 12


def a_request(chance: random.Random) -> dict[str, Any]:
    person = capped.person(chance.randrange(capped.PEOPLE))
    scopes = ((one.decision, one.placement) for one in capped.SCOPES)
    return {
        "xdm:propositionRequests": [
            {"xdm:activityId": decision, "xdm:placementId": placement, "xdm:itemCount": 2}
            for decision, placement in scopes
        ],
        "xdm:profiles": [{"xdm:identityMap": {person.namespace: [{"xdm:id": person.id, "primary": True}]}}],
    }


class Clients:
    """Twelve that wait for their answers, and four that ask and go."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.answers: list[dict[str, Any]] = []
        self.odd: list[Any] = []
        self._threads = [threading.Thread(target=self._wait, args=(one,)) for one in range(12)]
        self._threads += [threading.Thread(target=self._vanish, args=(one,)) for one in range(4)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _enough(self) -> bool:
        return len(self.answers) >= ANSWERS or bool(self.odd)

    def _wait(self, number: int) -> None:
        chance, connection = random.Random(number), self.server.connect()  # noqa: S311
        while not self._enough():
            try:
                document = a_request(chance)
                status, headers, answer = ask(connection, "POST", f"{ODE}/decisions", document)
            except (OSError, http.client.HTTPException):
                connection.close()  # its worker was killed
                continue
            if status == 200:
                self.answers.append(answer)
            elif status != 503 or "retry-after" not in headers:
                self.odd.append((status, answer))
        connection.close()

    def _vanish(self, number: int) -> None:
        chance = random.Random(100 + number)  # noqa: S311
        while not self._enough():
            with suppress(OSError, http.client.HTTPException):
                connection = self.server.connect()
                body = json.dumps(a_request(chance)).encode()
                headers = {"Content-Type": "application/json"}
                connection.request("POST", f"{ODE}/decisions", body, headers)
                connection.close()
            threading.Event().wait(0.02)


def test_killed_workers_and_vanishing_clients_lose_and_double_nothing(tmp_path: Path) -> None:
    """Every scope of every answer has options or the fallback, and every option is on record and counted."""
    database = f"sqlite:///{tmp_path / 'proffer.db'}"
    asyncio.run(capped.load(database, LIMIT))
    with run_workers(tmp_path, "--workers", "4") as server:
        until(lambda: len(server.workers()) == 4)
        clients = Clients(server)
        clients.start()
        chance = random.Random(3)  # noqa: S311
        for killed in range(1, 5):
            until(lambda: clients.odd or len(clients.answers) >= ANSWERS * killed // 5)  # noqa: B023
            workers = until(server.workers)
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
        clients.join()
        code, err = server.end()

    assert clients.odd == []
    assert code == 0, err
    books = capped.check_caps(database)
    given = 0
    for answer in clients.answers:
        event = books.events[answer["xdm:propositionId"]]
        propositions = answer["xdm:propositions"]
        assert len(propositions) == len(capped.SCOPES)
        for proposition, kept in zip(propositions, event.answers, strict=True):
            assert kept is not None
            options = [one["xdm:id"] for one in proposition.get("xdm:options", ())]
            assert options == [one.offer for one in kept.selections]
            assert bool(options) != ("xdm:fallback" in proposition)
            given += len(options)
    assert given, "nothing was given at all"
    assert len(books.events) > len(clients.answers), "no answer was lost on its way"
