"""The source text of a rule, with spans and line/column positions."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """A range of characters: `start` included, `end` excluded."""

    start: int
    end: int

    def to(self, other: "Span") -> "Span":
        """Return the span from this start to the end of `end_span`."""
        return Span(self.start, other.end)


NOWHERE = Span(-1, -1)
"""The span of a node without source text."""


class Place(NamedTuple):
    """Line and column, both 1-based, as in editors."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A source text with the name used in messages."""

    text: str
    name: str = "rule"

    def place(self, offset: int) -> Place:
        """Return the position of a character offset; offsets are clamped to the text."""
        starts = self._line_starts()
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(starts, offset)
        return Place(line, offset - starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """Return the text of a line (1-based) without its line ending."""
        starts = self._line_starts()
        end = starts[number] if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r\n")

    def _line_starts(self) -> list[int]:
        return [0, *(at + 1 for at, char in enumerate(self.text) if char == "\n")]
