"""Change notification by LISTEN, with polling as the fallback.

Polling guarantees the 200 ms of R42, since a channel can be dead unnoticed, as after a failover.
Listening makes the usual case faster and polling rarer.
"""

import asyncio
from contextlib import suppress
from typing import Any

from proffer.errors import ProfferError
from proffer.store.postgres.connections import Connections
from proffer.store.postgres.statements import CHANGE_CHANNEL

POLL_S = 0.05
POLL_LISTENING_S = 0.15
_MIN_DELAY_S = 0.05
_MAX_DELAY_S = 1.0


class Listener:
    """Keeps one listening connection, and reconnects when it is lost."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._heard = asyncio.Event()
        self._lost = asyncio.Event()
        self.listening = False
        self.not_listening = asyncio.Event()
        """Set while there is no listening connection."""
        self._task = asyncio.create_task(self._run())

    async def wait(self) -> None:
        """Wait for a notification since the last call, or the polling interval."""
        # Not `wait_for`: before Python 3.12 it loses a cancellation that arrives with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_LISTENING_S if self.listening else POLL_S):
                await self._heard.wait()
        self._heard.clear()

    async def close(self) -> None:
        """Stop listening."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        delay_s = _MIN_DELAY_S
        while True:
            try:
                connection = await self._connections.connect()
            except ProfferError:  # database unavailable: polling reports it to callers
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _MAX_DELAY_S)
                continue
            try:
                await self._listen(connection)
                delay_s = _MIN_DELAY_S
            finally:
                self.listening = False
                self.not_listening.set()
                connection.terminate()

    async def _listen(self, connection: Any) -> None:
        """Listen until the connection is lost."""
        self._lost.clear()
        connection.add_termination_listener(lambda _: self._lost.set())
        with suppress(Exception):  # any failure shows as a lost connection
            await connection.add_listener(CHANGE_CHANNEL, lambda *_: self._heard.set())
            self.listening = True
            self.not_listening.clear()
            self._heard.set()  # a notification may have been missed before
            await self._lost.wait()
