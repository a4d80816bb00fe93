"""Availability of the database, as seen by the requests that used it last."""

from proffer.errors import ProfferError
from proffer.service.runtime.clock import Clock


class Standing:
    """Whether the database answers, as far as those know who asked it last.

    `bridged` says that decisions are made without it meanwhile, there being somewhere to keep them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.bridged = False
        self.away: str | None = None
        """Why it is away; None while it answers."""
        self.since_us = 0

    def lost(self, error: ProfferError) -> None:
        """It did not answer."""
        if self.away is None:
            self.since_us = self._clock()
        self.away = error.detail

    def found(self) -> None:
        """It answers again."""
        self.away = None

    def reason(self) -> str | None:
        """What is wrong, for health."""
        if self.away is None:
            return None
        seconds = max(0, self._clock() - self.since_us) // 1_000_000
        doing = "deciding without the database" if self.bridged else "the database has been away"
        return f"{doing} for {seconds} s: {self.away}"
