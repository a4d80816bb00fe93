"""The source text of a rule, with spans and line/column positions."""

from dataclasses import dataclass
from typing import NamedTuple


class TextSpan(NamedTuple):
    """A range of characters: `start` included, `end` excluded."""

    start: int
    end: int

    def to(self, end_span: "TextSpan") -> "TextSpan":
        """Return the span from this start to the end of `end_span`."""
        return TextSpan(self.start, end_span.end)


NO_SPAN = TextSpan(-1, -1)
"""The span of a node without source text."""


class TextPosition(NamedTuple):
    """Line and column, both 1-based, as in editors."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class SourceText:
    """A source text that converts offsets to lines and columns."""

    text: str

    def position_of(self, offset: int) -> TextPosition:
        """Return the position of a character offset; offsets are clamped to the text."""
        offset = max(0, min(offset, len(self.text)))
        line_start = self.text.rfind("\n", 0, offset) + 1
        return TextPosition(self.text.count("\n", 0, offset) + 1, offset - line_start + 1)

    def line_text(self, number: int) -> str:
        """Return the text of a line (1-based) without its line ending."""
        return self.text.split("\n")[number - 1].rstrip("\r")
