"""Regular expressions and `like`, by RE2: time grows with the text, never with the pattern (PQL D-REGEX).

The original product takes Java's syntax. RE2 has most of it; what it lacks, look-around and
back-references, is refused when the rule is checked.
"""

from functools import lru_cache
from typing import Any

import re2

from proffer.pql.syntax.limits import MAX_TEXT

MAX_MEMORY = 1 << 20
"""Bytes one compiled pattern may take; a pattern that would need more is not a pattern."""

_MAX_PATTERN = 4096


def _options() -> Any:
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    return options


_OPTIONS = _options()


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Any | None:
    """The compiled pattern; None if it is not one."""
    if len(pattern) > _MAX_PATTERN:
        return None
    try:
        return re2.compile(pattern, _OPTIONS)
    except (re2.error, UnicodeEncodeError):
        return None


def why_not(pattern: str) -> str | None:
    """What is wrong with a pattern, in a few words; None if nothing is."""
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
        return "it is not valid text"
    return "it is too long"


def _readable(text: str) -> str:
    """RE2 reads UTF-8, which half a character is not."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern is found anywhere in the text."""
    compiled = compile_pattern(pattern)
    return compiled is not None and compiled.search(_readable(text)) is not None


def group(text: str, pattern: str, number: int) -> str | None:
    """A group of the first place where the pattern is found."""
    compiled = compile_pattern(pattern)
    found = None if compiled is None else compiled.search(_readable(text))
    if compiled is None or found is None or not 0 <= number <= compiled.groups:
        return None
    return found.group(number)  # type: ignore[no-any-return]


def replace_all(text: str, pattern: str, replacement: str) -> str | None:
    """Every place where the pattern is found, replaced; `$1` in the replacement is the first group."""
    compiled = compile_pattern(pattern)
    if compiled is None:
        return None
    parts: list[str] = []
    text, at, size = _readable(text), 0, 0
    for found in compiled.finditer(text):
        new = _filled(replacement, found, compiled.groups)
        parts += [text[at : found.start()], new]
        size += len(parts[-2]) + len(new)
        at = found.end()
        if size > MAX_TEXT:
            return None
    return "".join([*parts, text[at:]])


def _filled(replacement: str, found: Any, groups: int) -> str:
    if "$" not in replacement:
        return replacement
    for number in range(min(groups, 9), -1, -1):
        replacement = replacement.replace(f"${number}", found.group(number) or "")
    return replacement


@lru_cache(maxsize=1024)
def like_pattern(pattern: str) -> Any | None:
    """`%` is any run of characters, `_` exactly one, everything else itself; the whole text must match."""
    parts = {"%": ".*", "_": "."}
    return compile_pattern(
        r"(?s)\A" + "".join(parts.get(char) or re2.escape(char) for char in pattern) + r"\z"
    )


def like(text: object, pattern: object) -> bool:
    """`like`: false unless both sides are texts."""
    if not isinstance(text, str) or not isinstance(pattern, str):
        return False
    compiled = like_pattern(pattern)
    return compiled is not None and compiled.search(_readable(text)) is not None
