"""Hearing at once that another server has changed a library: LISTEN, with a poll as the net under it.

The poll is what the promise stands on (R42: within 200 ms), since a channel can be dead without anybody
noticing, as after a failover. Listening makes the usual case quicker, and the poll rarer.
"""

import asyncio
from contextlib import suppress
from typing import Any

from proffer.errors import ProfferError
from proffer.store.postgres.connections import Connections
from proffer.store.postgres.statements import CHANGED

POLL_S = 0.05
POLL_LISTENING_S = 0.15
_NAP_S = 0.05
_LONGEST_NAP_S = 1.0


class Listener:
    """Keeps one connection that listens, and gets another when it is lost."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._heard = asyncio.Event()
        self._lost = asyncio.Event()
        self.listening = False
        self.quiet = asyncio.Event()
        """Set while it does not listen."""
        self._keeper = asyncio.create_task(self._keep())

    async def wait(self) -> None:
        """Return when something was heard since the last call, or when it is time to look."""
        # Not `wait_for`: before Python 3.12 it loses a cancellation that comes as the event does.
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_LISTENING_S if self.listening else POLL_S):
                await self._heard.wait()
        self._heard.clear()

    async def close(self) -> None:
        """Stop listening."""
        self._keeper.cancel()
        await asyncio.wait([self._keeper])

    async def _keep(self) -> None:
        nap = _NAP_S
        while True:
            try:
                connection = await self._connections.connect()
            except ProfferError:  # it is away: the poll says so to whoever needs it
                await asyncio.sleep(nap)
                nap = min(nap * 2, _LONGEST_NAP_S)
                continue
            try:
                await self._listen(connection)
                nap = _NAP_S
            finally:
                self.listening = False
                self.quiet.set()
                connection.terminate()

    async def _listen(self, connection: Any) -> None:
        """Listen until the connection is lost."""
        self._lost.clear()
        connection.add_termination_listener(lambda _: self._lost.set())
        with suppress(Exception):  # what is wrong with it shows in that it is lost
            await connection.add_listener(CHANGED, lambda *_: self._heard.set())
            self.listening = True
            self.quiet.clear()
            self._heard.set()  # something may have been said before
            await self._lost.wait()
