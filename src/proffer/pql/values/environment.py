"""The input of an evaluation. Rules read nothing else, so results are deterministic."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from proffer.pql.syntax.limits import MAX_VISITS

_EMPTY: Mapping[str, Any] = {}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WorkLimitExceeded(Exception):
    """Raised when an evaluation visits too many items. Internal: becomes false or no score."""


class Environment:
    """Profile, time and request data of one evaluation. Cheap to create; not thread-safe.

    `events`: the sequence of experience events, or the request's single event as a mapping.
    `variables`: further roots by name. `tz`: the zone of `today`, `date()`, calendar units and times
    without a zone (PQL D-TZ). `now`: a datetime, or microseconds since 1970 UTC. `audience_ids`: by name.
    """

    __slots__ = (
        "_now",
        "audience_ids",
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
        context: Mapping[str, Mapping[str, Any]] = _EMPTY,
        events: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
        offer: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] = _EMPTY,
        tz: tzinfo = UTC,
        audience_ids: Mapping[str, str] = _EMPTY,
    ) -> None:
        # INVARIANT: `profile` is a dict; generated code relies on it.
        self.profile = profile if profile.__class__ is dict else dict(profile or ())
        self._now = now
        self.context = context
        self.events = events
        self.offer = offer
        self.variables = variables
        self.tz = tz
        self.audience_ids = audience_ids
        self.left = MAX_VISITS

    @property
    def now(self) -> datetime:
        """The time of the evaluation; converted on first use, because few rules read it."""
        now = self._now
        if isinstance(now, int):
            now = self._now = _EPOCH + timedelta(microseconds=now)
        elif now.tzinfo is not UTC:  # an instant without a zone of its own
            now = self._now = now.astimezone(UTC)
        return now

    def root(self, name: str) -> Any:
        """Return the value of a root other than a context reference; null if unknown."""
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
        """Deduct visited items from the limit. Raises `WorkLimitExceeded` below zero."""
        self.left -= visits
        if self.left < 0:
            raise WorkLimitExceeded
