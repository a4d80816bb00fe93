"""Diagnostics of a rule: errors and warnings with position and help, and their rendering."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache

from proffer.pql.syntax.source import NOWHERE, Place, Source, Span

TAB = "    "


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning. `code` is stable and documented; `message` is for people."""

    code: str
    message: str
    help: str | None = None
    span: Span = NOWHERE
    severity: Severity = Severity.ERROR

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR


class NotPql(Exception):
    """Raised when a text or tree cannot be parsed. Internal: callers get diagnostics."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def in_reading_order(findings: list[Diagnostic]) -> list[Diagnostic]:
    """Return the distinct diagnostics, sorted by position."""
    return sorted(dict.fromkeys(findings), key=lambda found: (found.span, found.severity))


def did_you_mean(name: str, known: Collection[str]) -> str | None:
    """Return a hint that names the most similar candidate, or None."""
    return _closest(name, tuple(known))


@lru_cache(maxsize=512)
def _closest(name: str, known: tuple[str, ...]) -> str | None:
    close = get_close_matches(name[:64], known, n=1, cutoff=0.7)
    return f"did you mean `{close[0]}`?" if close else None


def place_of(found: Diagnostic, text: str) -> Place | None:
    """Return the line and column of a diagnostic; None if its span is outside the text."""
    if found.span.start < 0 or found.span.start > len(text):
        return None
    return Source(text).place(found.span.start)


def render_diagnostic(found: Diagnostic, text: str, name: str = "rule") -> str:
    """Render a diagnostic as text: headline, position, source line, and carets.

    The result has no trailing newline. Never raises, whatever the span.
    """
    headline = f"{found.severity}[{found.code}] {found.message}"
    if found.span.start < 0 or found.span.start > len(text):
        return "\n".join([headline, *_help(found, "")])
    source = Source(text, name)
    place = source.place(found.span.start)
    line = source.line(place.line)
    before = line[: place.column - 1]
    under = line[place.column - 1 : place.column - 1 + found.span.end - found.span.start]
    carets = "^" * max(1, len(under.expandtabs(len(TAB))))
    pad = " " * len(before.expandtabs(len(TAB)))
    return "\n".join(
        [
            headline,
            f"  --> {name}:{place.line}:{place.column}",
            f"  {line.expandtabs(len(TAB))}",
            *_help(found, f"  {pad}{carets}"),
        ]
    )


def _help(found: Diagnostic, carets: str) -> list[str]:
    if found.help is None:
        return [carets] if carets else []
    return [f"{carets} help: {found.help}" if carets else f"  help: {found.help}"]
