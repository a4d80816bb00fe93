"""Regular expressions and `like`, using RE2 for linear-time matching (PQL D-REGEX).

The original product uses Java syntax. RE2 supports most of it; look-around and back-references are
rejected when the rule is checked.
"""

from functools import lru_cache
from typing import Any

import re2

from proffer.pql.syntax.limits import MAX_TEXT

MAX_MEMORY = 1 << 20
"""Memory limit of a compiled pattern in bytes; a larger pattern is invalid."""

_MAX_PATTERN = 4096


def _options() -> Any:
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    return options


_OPTIONS = _options()


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Any | None:
    """Return the compiled pattern; None if it is invalid."""
    if len(pattern) > _MAX_PATTERN:
        return None
    try:
        return re2.compile(pattern, _OPTIONS)
    except (re2.error, UnicodeEncodeError):
        return None


def pattern_error(pattern: str) -> str | None:
    """Return a short reason why a pattern is invalid; None if it is valid."""
    if compile_pattern(pattern) is not None:
        return None
    if any(sign in pattern for sign in ("(?=", "(?!", "(?<=", "(?<!")):
        return "look-around is not supported"
    try:
        re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return "it is too long"


def _replace_surrogates(text: str) -> str:
    """Replace lone surrogates, which RE2 cannot encode as UTF-8."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def matches(text: str, pattern: str) -> bool:
    """Return whether the pattern matches anywhere in the text."""
    compiled = compile_pattern(pattern)
    return compiled is not None and compiled.search(_replace_surrogates(text)) is not None


def group(text: str, pattern: str, number: int) -> str | None:
    """Return a group of the first match; None without a match or group."""
    compiled = compile_pattern(pattern)
    match_ = None if compiled is None else compiled.search(_replace_surrogates(text))
    if compiled is None or match_ is None or not 0 <= number <= compiled.groups:
        return None
    return match_.group(number)  # type: ignore[no-any-return]


def replace_all(text: str, pattern: str, replacement: str) -> str | None:
    """Replace every match; `$1` in the replacement is the first group. None if too long."""
    compiled = compile_pattern(pattern)
    if compiled is None:
        return None
    parts: list[str] = []
    text, position, size = _replace_surrogates(text), 0, 0
    for match_ in compiled.finditer(text):
        replaced_text = _expand_groups(replacement, match_, compiled.groups)
        parts += [text[position : match_.start()], replaced_text]
        size += len(parts[-2]) + len(replaced_text)
        position = match_.end()
        if size > MAX_TEXT:
            return None
    return "".join([*parts, text[position:]])


def _expand_groups(replacement: str, match_: Any, groups: int) -> str:
    if "$" not in replacement:
        return replacement
    for number in range(min(groups, 9), -1, -1):
        replacement = replacement.replace(f"${number}", match_.group(number) or "")
    return replacement


@lru_cache(maxsize=1024)
def like_pattern(pattern: str) -> Any | None:
    """Compile a `like` pattern: `%` any characters, `_` exactly one; matches the whole text."""
    parts = {"%": ".*", "_": "."}
    return compile_pattern(r"(?s)\A" + "".join(parts.get(char) or re2.escape(char) for char in pattern) + r"\z")


def like(text: object, pattern: object) -> bool:
    """Evaluate `like`; false unless both sides are texts."""
    if not isinstance(text, str) or not isinstance(pattern, str):
        return False
    compiled = like_pattern(pattern)
    return compiled is not None and compiled.search(_replace_surrogates(text)) is not None
