"""Retention of recorded decisions and feedback: periodic deletion in short writes."""

from dataclasses import dataclass
from typing import Protocol

from proffer.model.capping import RETENTION_AFTER_END_US
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.periodic import PeriodicTask
from proffer.store.ports import CapStore, FeedbackStore

SWEEP_SECONDS = 300
_DAY_US = 86_400_000_000


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
        effective_limits = limits or self._limits
        before_us = self._clock() - effective_limits.days * _DAY_US
        return SweepResult(
            await self._store.purge_decisions(before_us, effective_limits.bytes),
            await self._store.purge_feedback(before_us, effective_limits.bytes),
        )

    async def sweep_counters(self) -> int:
        """Delete counters whose period or offer ended long ago. Their count is 0. Returns how many were deleted."""
        return await self._store.purge_counters(self._clock() - RETENTION_AFTER_END_US)

    def start(self) -> None:
        """Sweep periodically until `stop`."""
        self._sweep_task.start()

    async def stop(self) -> None:
        await self._sweep_task.stop()

    async def _sweep_all(self) -> None:
        await self.sweep()
        await self.sweep_counters()
