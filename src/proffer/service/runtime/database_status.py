"""Availability of the database, as reported by the requests that used it last."""

from proffer.errors import ProfferError
from proffer.service.runtime.clock import Clock


class Standing:
    """Database availability (circuit-breaker state), set by callers after each attempt.

    `has_spool`: during an outage decisions continue, because there is a spool to record them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.bridged = False
        self.away: str | None = None
        """Error text of the current outage; None while the database is available."""
        self.since_us = 0

    def lost(self, error: ProfferError) -> None:
        """Record that the database did not answer; the first failure starts the outage."""
        if self.away is None:
            self.since_us = self._clock()
        self.away = error.detail

    def found(self) -> None:
        """Record that the database answers again."""
        self.away = None

    def reason(self) -> str | None:
        """Return the outage and its duration for the health report, or None."""
        if self.away is None:
            return None
        seconds = max(0, self._clock() - self.since_us) // 1_000_000
        doing = "deciding without the database" if self.bridged else "the database has been away"
        return f"{doing} for {seconds} s: {self.away}"
