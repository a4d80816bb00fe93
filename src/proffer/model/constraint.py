"""Who qualifies: everybody, those for whom rules hold, or members of audiences (spec 7.2, R14)."""

from dataclasses import dataclass
from enum import StrEnum


class ConstraintType(StrEnum):
    """The `profileConstraintType` of an offer or a criterion."""

    NONE = "none"
    RULE = "eligibilityRule"
    ANY_AUDIENCE = "anySegments"
    ALL_AUDIENCES = "allSegments"
    RULES = "rules"


@dataclass(frozen=True, slots=True)
class Audience:
    """An audience by namespace code (`ups` for the platform's own) and id."""

    namespace: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A profile constraint: its type, and the rules or audiences the type speaks of."""

    type: ConstraintType = ConstraintType.NONE
    rules: tuple[str, ...] = ()
    audiences: tuple[Audience, ...] = ()


EVERYBODY = Constraint()
