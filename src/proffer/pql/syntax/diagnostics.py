"""What is wrong or doubtful in a rule, where it is, and how to mend it."""

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
    """One finding. `code` is stable and documented; the words are for people."""

    code: str
    message: str
    help: str | None = None
    span: Span = NOWHERE
    severity: Severity = Severity.ERROR

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR


class NotPql(Exception):
    """A text or tree that cannot be read any further. Internal: callers get diagnostics."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def in_reading_order(findings: list[Diagnostic]) -> list[Diagnostic]:
    """Sorted by place, each said once."""
    return sorted(dict.fromkeys(findings), key=lambda found: (found.span, found.severity))


def did_you_mean(name: str, known: Collection[str]) -> str | None:
    """A sentence naming the closest known word, if one is close."""
    return _closest(name, tuple(known))


@lru_cache(maxsize=512)
def _closest(name: str, known: tuple[str, ...]) -> str | None:
    close = get_close_matches(name[:64], known, n=1, cutoff=0.7)
    return f"did you mean `{close[0]}`?" if close else None


def place_of(found: Diagnostic, text: str) -> Place | None:
    """Line and column of a finding in the text; None for one that points at no place in it."""
    if found.span.start < 0 or found.span.start > len(text):
        return None
    return Source(text).place(found.span.start)


def render_diagnostic(found: Diagnostic, text: str, name: str = "rule") -> str:
    """The finding as lines of text: headline, place, the line it is about, and carets under it.

    The result has no trailing newline and never raises, whatever the span.
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
