"""Everything an evaluation may know. Whatever a rule reads is here, so equal environments give equal answers."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from proffer.pql.syntax.limits import MAX_VISITS

_NOTHING: Mapping[str, Any] = {}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TooMuchWork(Exception):
    """An evaluation looked at more items than one may. Internal: it ends as false, or as no score."""


class Environment:
    """One profile, one moment, one request. Cheap to make; not to be shared between threads.

    `events` is the sequence of experience events, or the request's one event as a mapping.
    `variables` holds further roots by name. `tz` is the zone of `today`, `date()`, calendar units and
    times written without a zone (PQL D-TZ). `now` may be given in microseconds since 1970, UTC.
    """

    __slots__ = (
        "_now",
        "context",
        "events",
        "left",
        "offer",
        "profile",
        "tz",
        "variables",
    )

    def __init__(
        self,
        profile: Mapping[str, Any] | None,
        now: datetime | int,
        context: Mapping[str, Mapping[str, Any]] = _NOTHING,
        events: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
        offer: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] = _NOTHING,
        tz: tzinfo = UTC,
    ) -> None:
        # INVARIANT: `profile` is a dict; generated code calls its methods without looking.
        self.profile = profile if profile.__class__ is dict else dict(profile or ())
        self._now = now
        self.context = context
        self.events = events
        self.offer = offer
        self.variables = variables
        self.tz = tz
        self.left = MAX_VISITS

    @property
    def now(self) -> datetime:
        """The moment as a date, made when somebody first asks: few rules do, and it takes a while."""
        now = self._now
        if isinstance(now, int):
            now = self._now = _EPOCH + timedelta(microseconds=now)
        return now

    def root(self, name: str) -> Any:
        """The value of a root that is not a context reference; null if there is none."""
        match name:
            case "profile":
                return self.profile
            case "xEvent":
                return self.events
            case "offer":
                return self.offer
            case _:
                return self.variables.get(name)

    def charge(self, visits: int) -> None:
        """Pay for looking at so many items. Raises `TooMuchWork` when the allowance is spent."""
        self.left -= visits
        if self.left < 0:
            raise TooMuchWork
