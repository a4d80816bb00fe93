"""Turns of writes: how long a write may wait until it begins.

A write that has begun is always awaited. One that has not begun in time is withdrawn, so that its caller
can go on without the database and be sure that nothing of it will be written.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from proffer.store.errors import WriteDelayed


class Turn(Struct):
    """A waiting write: the future of its caller, and when it was queued (monotonic seconds)."""

    future: asyncio.Future[Any]
    queued_s: float
    has_begun: bool = False
    is_withdrawn: bool = False


class Turns:
    """Turns of the writes of one event loop; each is withdrawn after `wait_s`, unless that is None.

    `begin` and `note_commit` may be called from any thread.
    """

    def __init__(self, wait_s: float | None) -> None:
        self._wait_s = wait_s
        self._waiting: deque[Turn] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._committed_s = 0.0
        self._lock = threading.Lock()

    def add(self, future: asyncio.Future[Any]) -> Turn:
        """Return the turn of a write that is queued now."""
        turn = Turn(future, time.monotonic())
        if self._wait_s is None:
            return turn
        waiting, loop = self._waiting, future.get_loop()
        if self._loop is not loop:
            waiting.clear()  # of a loop that has ended
            self._loop, self._timer = loop, None
        while waiting and waiting[0].has_begun:
            waiting.popleft()
        waiting.append(turn)
        if self._timer is None:
            self._timer = loop.call_later(self._wait_s, self._withdraw_overdue)
        return turn

    def begin(self, turns: Iterable[Turn | None]) -> None:
        """Begin those of these writes that are not withdrawn: from now on they cannot be."""
        with self._lock:
            for turn in turns:
                if turn is not None and not turn.is_withdrawn:
                    turn.has_begun = True

    def note_commit(self) -> None:
        """Remember that something was written now."""
        self._committed_s = time.monotonic()

    def _withdraw_overdue(self) -> None:
        self._timer = None
        waiting, loop = self._waiting, self._loop
        assert self._wait_s is not None
        assert loop is not None
        while waiting:
            turn = waiting[0]
            remaining_s = turn.queued_s + self._wait_s - time.monotonic()
            if remaining_s > 0 and not turn.has_begun:
                self._timer = loop.call_later(remaining_s, self._withdraw_overdue)
                return
            waiting.popleft()
            self._withdraw(turn)

    def _withdraw(self, turn: Turn) -> None:
        assert self._wait_s is not None
        with self._lock:
            if turn.has_begun:
                return
            turn.is_withdrawn = True
        if not turn.future.done():
            turn.future.set_exception(WriteDelayed(self._wait_s, stalled=self._committed_s < turn.queued_s))
