"""Profile constraints: none, eligibility rules, or audiences (spec 7.2, R14)."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class ConstraintType(StrEnum):
    """The `profileConstraintType` of an offer or a criterion."""

    NONE = "none"
    RULE = "eligibilityRule"
    ANY_AUDIENCE = "anySegments"
    ALL_AUDIENCES = "allSegments"
    RULES = "rules"


OWN_AUDIENCES = "ups"
"""Namespace of the audiences that are defined in the library."""


@dataclass(frozen=True, slots=True)
class AudienceRef:
    """Reference to an audience: namespace code (`ups` for our own audiences) and id."""

    namespace: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAudience:
    """An audience of the library, as rules name it."""

    id: str
    name: str
    created_us: int


def audience_ids(audiences: Iterable[NamedAudience]) -> dict[str, str]:
    """Return the ids by name; of several with one name, the oldest."""
    oldest_last = sorted(audiences, key=lambda audience: (audience.created_us, audience.id), reverse=True)
    return {audience.name: audience.id for audience in oldest_last}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A profile constraint: its type, and its rule ids or audiences."""

    type: ConstraintType = ConstraintType.NONE
    rules: tuple[str, ...] = ()
    audiences: tuple[AudienceRef, ...] = ()


NO_CONSTRAINT = Constraint()
