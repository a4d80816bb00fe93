"""Retention of recorded decisions and feedback: periodic deletion in short writes."""

from dataclasses import dataclass
from typing import Protocol

from proffer.model.capping import DAY_US
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.periodic import PeriodicTask
from proffer.store.ports import MAX_SEEN_DAYS, CapStore, FeedbackStore

SWEEP_SECONDS = 300


class _RetentionStore(CapStore, FeedbackStore, Protocol):
    """Store of decisions and feedback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """Maximum age of recorded events, and size limit for each kind (None: unlimited)."""

    days: int = 395
    bytes: int | None = None


LOG_LIMITS = LogLimits()


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Number of deleted events."""

    decisions: int
    feedback: int


class Retention:
    """Delete events beyond the limits, and counters that no longer apply."""

    def __init__(self, store: _RetentionStore, clock: Clock, limits: LogLimits = LOG_LIMITS) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._sweep_task = PeriodicTask(self._sweep_all, SWEEP_SECONDS, "deleting old events")

    async def sweep(self, limits: LogLimits | None = None) -> SweepResult:
        """Delete events beyond the limits, in short writes. Other writers can write in between."""
        limits = limits or self._limits
        return await self._purge(self._clock() - limits.days * DAY_US, limits)

    async def sweep_counters(self) -> int:
        """Delete counters that ended long ago. Their count is 0. Returns how many were deleted.

        A counter is deleted after as many days on which a server ran, so that a clock that jumps ahead and
        back cannot delete a counter that still counts.
        """
        return await self._store.purge_counters(await self._before(MAX_SEEN_DAYS))

    def start(self) -> None:
        """Sweep periodically until `stop`."""
        self._sweep_task.start()

    async def stop(self) -> None:
        await self._sweep_task.stop()

    async def _sweep_all(self) -> None:
        await self._purge(await self._before(self._limits.days), self._limits)
        await self.sweep_counters()

    async def _purge(self, before_us: int, limits: LogLimits) -> SweepResult:
        return SweepResult(
            await self._store.purge_decisions(before_us, limits.bytes),
            await self._store.purge_feedback(before_us, limits.bytes),
        )

    async def _before(self, days: int) -> int:
        """Return the moment that lies this many days back, whatever a single reading of the clock says.

        Of the last days, `MAX_SEEN_DAYS` at most, a server must have run on each; earlier if it did not.
        0 if there are too few.
        """
        now_us, seen_days = self._clock(), max(1, min(days, MAX_SEEN_DAYS))
        first_day = await self._store.record_day(now_us // DAY_US, seen_days)
        if first_day is None:
            return 0
        return min(now_us, (first_day + seen_days) * DAY_US) - days * DAY_US
