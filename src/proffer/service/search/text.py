"""Text matching: query terms, names with wildcards, and regular expressions in linear time."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import re2

from proffer.errors import Invalid, Violation

MAX_TERMS = 100
MAX_WILDCARDS = 10
MAX_PATTERN_LENGTH = 1_000
MAX_MATCHED_LENGTH = 10_000
"""Characters of a value that a regular expression is matched against; bounds the time per row."""

_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
_WORD = re.compile(r"[^\W_]+")
# Wildcards in query terms are represented by private-use characters.
_ANY_RUN, _ANY_ONE = "\ue000", "\ue001"
_TERM_WORD = re.compile(rf"(?:[^\W_]|[{_ANY_RUN}{_ANY_ONE}])+")
_BETWEEN_TEXTS = " \n "


def normalize(text: str) -> str:
    """Fold case and remove accents: `Crème BRÛLÉE` and `creme brulee` become equal."""
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).casefold()


def words_of(values: Iterable[Any]) -> str:
    """Return all words of all texts in these values, at any depth. The result is for `SearchTerms.match`."""
    return f" {_BETWEEN_TEXTS.join(map(_words, _texts(values)))} "


_ASCII_WORDS = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}


def _words(text: str) -> str:
    if text.isascii():  # fast path with the same result
        return " ".join(text.translate(_ASCII_WORDS).split())
    return " ".join(_WORD.findall(normalize(text)))


def _texts(values: Iterable[Any]) -> Iterator[str]:
    pending = list(values)[::-1]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            pending += value[::-1]
        elif isinstance(value, dict):
            pending += list(value.values())[::-1]


@dataclass(frozen=True, slots=True)
class SearchTerms:
    """Terms of a query. Each term is a predicate on the result of `words_of`."""

    terms: tuple[Callable[[str], bool], ...]
    match_any: bool

    def match(self, words: str) -> bool:
        """Return whether any (or all) terms occur. A query without terms never matches."""
        if not self.terms:
            return False
        test = any if self.match_any else all
        return test(term(words) for term in self.terms)


def parse_terms(query: str, *, match_any: bool) -> SearchTerms:
    """Parse a query: words, words with `*` and `?`, and "exact phrases".

    A backslash escapes the next character. A term such as `e-mail` is the phrase of its words. Raises
    `Invalid` for more than `MAX_TERMS` terms or more than `MAX_WILDCARDS` in one of them.
    """
    terms = []
    for piece in _pieces(query):
        words = _TERM_WORD.findall(normalize(piece))
        if words:
            terms.append(_term(words))
    if len(terms) > MAX_TERMS:
        raise _invalid("terms", f"A query has at most {MAX_TERMS} terms", "Ask for fewer words.")
    return SearchTerms(tuple(terms), match_any)


def _pieces(query: str) -> Iterator[str]:
    """Split the query at unquoted white space. Active wildcards are replaced by markers."""
    piece: list[str] = []
    quoted = escaped = False
    for character in query:
        if character in (_ANY_RUN, _ANY_ONE):
            continue
        if escaped:
            escaped = False
            piece.append(character)
        elif character == "\\":
            escaped = True
        elif character == '"' or (character.isspace() and not quoted):
            quoted ^= character == '"'
            yield "".join(piece)
            piece.clear()
        elif quoted:
            piece.append(character)
        else:
            piece.append({"*": _ANY_RUN, "?": _ANY_ONE}.get(character, character))
    yield "".join(piece)


def _term(words: list[str]) -> Callable[[str], bool]:
    phrase = " ".join(words)
    wildcards = phrase.count(_ANY_RUN) + phrase.count(_ANY_ONE)
    if wildcards == 0:
        padded = f" {phrase} "
        return lambda text: padded in text
    if wildcards == 1 and phrase.endswith(_ANY_RUN) and len(phrase) > 1:
        start = f" {phrase[:-1]}"
        return lambda text: start in text
    if wildcards > MAX_WILDCARDS:
        message = f"A term has at most {MAX_WILDCARDS} wildcards"
        raise _invalid("terms", message, "Use fewer `*` and `?`.")
    pattern = re2.escape(f" {phrase} ")
    for mark, meaning in ((_ANY_RUN, r"[^ \n]*"), (_ANY_ONE, r"[^ \n]")):
        pattern = pattern.replace(re2.escape(mark), meaning)
    expression = _compile(pattern, "The term", case_sensitive=True)
    return lambda text: expression.search(text) is not None


def name_matcher(pattern: str) -> Callable[[str], bool]:
    """Return a case-sensitive matcher of names; `*` matches any characters, `?` any one."""
    if "*" not in pattern and "?" not in pattern:
        return pattern.__eq__
    meanings = {"*": ".*", "?": "."}
    pieces = re.split(r"(\*+|\?)", pattern)
    translated = "".join(meanings.get(piece[:1]) or re2.escape(piece) for piece in pieces if piece)
    expression = _compile(translated, "The name", case_sensitive=True)
    return lambda text: expression.fullmatch(text) is not None


def value_matcher(pattern: str) -> Callable[[str], bool]:
    """Return a case-insensitive full match of a regular expression.

    Only the first `MAX_MATCHED_LENGTH` characters of a value are used. Raises `Invalid` if the
    expression is invalid or not supported by RE2.
    """
    expression = _compile(pattern, f"The regular expression `{pattern[:100]}`", case_sensitive=False)
    return lambda text: expression.fullmatch(text[:MAX_MATCHED_LENGTH]) is not None


def _compile(pattern: str, description: str, *, case_sensitive: bool) -> Any:
    options = re2.Options()
    options.case_sensitive = case_sensitive
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = 1 << 16  # bounds the time per character as well as the memory
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise _invalid("regex", f"{description} is too long", "Write a shorter one.")
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else "it cannot be read"
        message = f"{description} cannot be used: {reason}"
    except UnicodeEncodeError:
        message = f"{description} contains half of a surrogate pair"
    help_ = "Use the syntax of RE2: no look-around, no back-references, moderate repetition."
    raise _invalid("regex", message, help_)


def _invalid(code: str, message: str, help_: str) -> Invalid:
    return Invalid.of([Violation(code=code, message=message, help=help_)])
