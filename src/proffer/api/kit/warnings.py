"""The `Warning` header of a write's receipt (RFC 9111, 5.5)."""

from collections.abc import Sequence

from proffer.errors import Violation

MAX_WARNINGS = 10
_MAX_CHARACTERS = 400


def warning_headers(warnings: Sequence[Violation]) -> dict[str, str]:
    """Return a `Warning` header with one value for each warning; none without warnings.

    At most `MAX_WARNINGS` values, each shortened to 400 characters; the last tells how many were omitted.
    """
    texts = [_describe(warning) for warning in warnings[:MAX_WARNINGS]]
    if len(warnings) > MAX_WARNINGS:
        texts.append(f"{len(warnings) - MAX_WARNINGS} more warnings")
    return {"Warning": ", ".join([f'199 proffer "{_quote(text)}"' for text in texts])} if texts else {}


def _describe(warning: Violation) -> str:
    place = f"{warning.path}: " if warning.path not in {None, "$"} else ""
    remedy = f"; {warning.help}" if warning.help else ""
    return f"{place}{warning.message}{remedy}"


def _quote(text: str) -> str:
    """Return the text for a quoted string: printable ASCII, quotes and backslashes escaped."""
    if len(text) > _MAX_CHARACTERS:
        text = text[: _MAX_CHARACTERS - 3] + "..."
    ascii_text = text.encode("ascii", "backslashreplace").decode()
    printable = "".join([character if " " <= character <= "~" else " " for character in ascii_text])
    return printable.replace("\\", "\\\\").replace('"', '\\"')
