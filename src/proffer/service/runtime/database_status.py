"""Availability of the database, reported by the requests that used it last."""

from proffer.errors import ProfferError
from proffer.service.runtime.clock import Clock


class DatabaseStatus:
    """Database availability (circuit-breaker state), set by callers after each attempt.

    `survives_outages`: during an outage decisions continue, because they are spooled or need no record.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.survives_outages = False
        self.outage: str | None = None
        """Error text of the current outage; None while the database is available."""
        self.since_us = 0

    @property
    def is_bypassed(self) -> bool:
        """Whether requests go on without the database: an outage that decisions survive."""
        return self.outage is not None and self.survives_outages

    def record_failure(self, error: ProfferError) -> None:
        """Record that the database did not answer; the first failure starts the outage."""
        if self.outage is None:
            self.since_us = self._clock()
        self.outage = error.detail

    def record_recovery(self) -> None:
        """Record that the database answers again."""
        self.outage = None

    def reason(self) -> str | None:
        """Return the outage and its duration for the health report, or None."""
        if self.outage is None:
            return None
        seconds = max(0, self._clock() - self.since_us) // 1_000_000
        state = "deciding without the database" if self.survives_outages else "the database has been unavailable"
        return f"{state} for {seconds} s: {self.outage}"
