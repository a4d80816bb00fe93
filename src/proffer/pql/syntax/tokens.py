"""Tokens and keywords of the language (PQL 1.1)."""

from enum import Enum, auto
from typing import NamedTuple

from proffer.pql.syntax.source import TextSpan


class TokenKind(Enum):
    NAME = auto()
    QUOTED = auto()
    TEXT = auto()
    INTEGER = auto()
    DOUBLE = auto()
    PARAMETER = auto()
    CONTEXT = auto()
    SIGN = auto()
    END = auto()


class Token(NamedTuple):
    """One token. `value`: the name without backticks, the unescaped text, or the number.

    `word` is compared with keywords and signs: lower case for names, as written for signs and numbers, else
    empty, so that a quoted name never matches a keyword.
    """

    kind: TokenKind
    value: str | int | float
    word: str
    start: int
    end: int

    @property
    def span(self) -> TextSpan:
        return TextSpan(self.start, self.end)


RESERVED = frozenset({"and", "or", "not", "in", "notin", "like", "occurs", "where", "true", "false", "null"})
"""Words that are never a bare name. After a dot every word is a name."""

TIME_WORDS = ("now", "today", "yesterday", "tomorrow")
QUANTIFIERS = {
    "exists": "some",
    "some": "some",
    "forall": "all",
    "all": "all",
    "none": "none",
    "one": "one",
}
AGGREGATES = ("sum", "count", "average", "min", "max")
EXCHANGED_COMPARISONS = {"=": "=", "!=": "!=", ">": "<", ">=": "<=", "<": ">", "<=": ">="}
"""Sign → the sign with which the exchanged sides mean the same."""
COMPARISONS = tuple(EXCHANGED_COMPARISONS)

UNITS = {
    "millisecond": "milliseconds",
    "second": "seconds",
    "minute": "minutes",
    "hour": "hours",
    "day": "days",
    "week": "weeks",
    "month": "months",
    "year": "years",
    "decade": "decades",
    "century": "centuries",
    "millennium": "millennia",
}
"""Each unit of time and its plural."""

UNIT_OF = {word: unit for unit, plural in UNITS.items() for word in (unit, plural)}
"""Singular or plural spelling → unit."""
