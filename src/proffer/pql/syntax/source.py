"""The text of one rule, and places in it. Everything that points at text points with a `Span`."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """A stretch of text in characters: `start` is in it, `end` is not."""

    start: int
    end: int

    def to(self, other: "Span") -> "Span":
        """From where this begins to where the other ends."""
        return Span(self.start, other.end)


NOWHERE = Span(-1, -1)
"""The span of a node that no text was written for."""


class Place(NamedTuple):
    """Line and column, both counted from 1, as editors show them."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A text with the name it is reported under."""

    text: str
    name: str = "rule"

    def place(self, offset: int) -> Place:
        """Where a character stands. An offset beyond the text is its end."""
        starts = self._line_starts()
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(starts, offset)
        return Place(line, offset - starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """The text of a line, without its end."""
        starts = self._line_starts()
        end = starts[number] if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r\n")

    def _line_starts(self) -> list[int]:
        return [0, *(at + 1 for at, char in enumerate(self.text) if char == "\n")]
