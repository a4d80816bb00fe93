"""The source text of a rule, with spans and line/column positions."""

from bisect import bisect_right
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
        line_starts = self._line_starts()
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(line_starts, offset)
        return TextPosition(line, offset - line_starts[line - 1] + 1)

    def line_text(self, number: int) -> str:
        """Return the text of a line (1-based) without its line ending."""
        line_starts = self._line_starts()
        end = line_starts[number] if number < len(line_starts) else len(self.text)
        return self.text[line_starts[number - 1] : end].rstrip("\r\n")

    def _line_starts(self) -> list[int]:
        return [0, *(at + 1 for at, char in enumerate(self.text) if char == "\n")]
