"""Diagnostics of a rule: errors and warnings with position and help, and their rendering."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from proffer.pql.syntax.source import NO_SPAN, SourceText, TextPosition, TextSpan

TAB_SPACES = "    "


MAX_DIAGNOSTICS = 100
"""Most diagnostics of one text: each is shown with its line, which may be the whole text."""


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class TextFix(NamedTuple):
    """A change that an editor can make: replace the characters of a span."""

    span: TextSpan
    replacement: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning. `code` is stable and documented; `message` is for people."""

    code: str
    message: str
    help: str | None = None
    span: TextSpan = NO_SPAN
    severity: Severity = Severity.ERROR
    fix: TextFix | None = None

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR


class NotPql(Exception):
    """Raised when a text or tree cannot be parsed. Internal: callers get diagnostics."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__(diagnostics[0].message)
        self.diagnostics = diagnostics


def sort_diagnostics(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Return the distinct diagnostics, sorted by position.

    Of more than `MAX_DIAGNOSTICS` errors are kept before warnings.
    """
    by_position = sorted(dict.fromkeys(diagnostics), key=lambda diagnostic: (diagnostic.span, diagnostic.severity))
    if len(by_position) <= MAX_DIAGNOSTICS:
        return by_position
    errors_first = sorted(by_position, key=lambda diagnostic: not diagnostic.is_error)
    return sort_diagnostics(errors_first[:MAX_DIAGNOSTICS])


def did_you_mean(name: str, candidates: Collection[str]) -> str | None:
    """Return a hint that names the most similar candidate, or None."""
    match = closest(name, candidates)
    return f"did you mean `{match}`?" if match else None


def closest(name: str, candidates: Collection[str]) -> str | None:
    """Return the candidate that is most similar to a name, or None."""
    return _closest(name[:64], tuple(candidates))


@lru_cache(maxsize=512)
def _closest(name: str, candidates: tuple[str, ...]) -> str | None:
    return next(iter(get_close_matches(name, candidates, n=1, cutoff=0.7)), None)


def position_of(diagnostic: Diagnostic, text: str) -> TextPosition | None:
    """Return the line and column of a diagnostic; None if its span is outside the text."""
    if diagnostic.span.start < 0 or diagnostic.span.start > len(text):
        return None
    return SourceText(text).position_of(diagnostic.span.start)


def render_diagnostic(diagnostic: Diagnostic, text: str, name: str = "rule") -> str:
    """Render a diagnostic as text: headline, position, source line, and carets.

    The result has no trailing newline. Never raises, whatever the span.
    """
    headline = f"{diagnostic.severity}[{diagnostic.code}] {diagnostic.message}"
    if diagnostic.span.start < 0 or diagnostic.span.start > len(text):
        return "\n".join([headline, *_help_lines(diagnostic, "")])
    source = SourceText(text)
    position = source.position_of(diagnostic.span.start)
    line = source.line_text(position.line)
    prefix = line[: position.column - 1]
    marked_text = line[position.column - 1 : position.column - 1 + diagnostic.span.end - diagnostic.span.start]
    carets = "^" * max(1, len(marked_text.expandtabs(len(TAB_SPACES))))
    pad = " " * len(prefix.expandtabs(len(TAB_SPACES)))
    return "\n".join(
        [
            headline,
            f"  --> {name}:{position.line}:{position.column}",
            f"  {line.expandtabs(len(TAB_SPACES))}",
            *_help_lines(diagnostic, f"  {pad}{carets}"),
        ]
    )


def _help_lines(diagnostic: Diagnostic, carets: str) -> list[str]:
    if diagnostic.help is None:
        return [carets] if carets else []
    return [f"{carets} help: {diagnostic.help}" if carets else f"  help: {diagnostic.help}"]
