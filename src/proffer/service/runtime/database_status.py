"""Availability of the database, reported by the requests that used it last."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from proffer.errors import ProfferError
from proffer.service.runtime.clock import Clock
from proffer.store.errors import WriteDelayed

Result = TypeVar("Result")


class DatabaseStatus:
    """Database availability (circuit-breaker state), set by callers after each attempt.

    `survives_outages`: during an outage decisions continue, because they are spooled or need no record.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.survives_outages = False
        self.outage: str | None = None
        """Error text of the current outage; None while the database is available."""
        self._code = ""
        self.since_us = 0
        self.write_wait_s: float | None = None
        """How long a request waits for a write that others hold up, in seconds; None: as long as needed."""
        self._written_s = 0.0

    @property
    def is_bypassed(self) -> bool:
        """Whether requests go on without the database: an outage that decisions survive."""
        return self.outage is not None and self.survives_outages

    def note_write(self) -> None:
        """Record that something was written now."""
        self._written_s = time.monotonic()

    async def in_time(self, write: Awaitable[Result]) -> Result:
        """Await a write that may be repeated. Raises `WriteDelayed` after `write_wait_s`; it may still be made."""
        begun_s = time.monotonic()
        try:
            async with asyncio.timeout(self.write_wait_s):
                result = await write
        except TimeoutError:
            assert self.write_wait_s is not None
            raise WriteDelayed(self.write_wait_s, stalled=self._written_s < begun_s) from None
        self.note_write()
        return result

    def record_failure(self, error: ProfferError) -> None:
        """Record that the database did not answer; the first failure starts the outage.

        A write that waited in vain is none while others are made.
        """
        if isinstance(error, WriteDelayed) and not error.stalled:
            return
        if self.outage is None:
            self.since_us = self._clock()
        self.outage, self._code = error.detail, error.code

    def record_recovery(self) -> None:
        """Record that the database answers again."""
        self.outage = None

    def unready_reason(self) -> str | None:
        """Return an outage that does not end by itself, or None."""
        return self.outage if self._code == "database-replaced" else None

    def reason(self) -> str | None:
        """Return the outage and its duration for the health report, or None."""
        if self.outage is None:
            return None
        seconds = max(0, self._clock() - self.since_us) // 1_000_000
        state = "deciding without the database" if self.survives_outages else "the database has been unavailable"
        return f"{state} for {seconds} s: {self.outage}"
