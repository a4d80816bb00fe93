"""Text functions: search, comparison, extraction and joining (PQL 2.2, 2.8)."""

from collections.abc import Callable, Mapping
from typing import Any

from proffer.pql.functions.registry import Function, ValueKind, function
from proffer.pql.syntax.limits import MAX_TEXT, MAX_VISITS
from proffer.pql.values import patterns
from proffer.pql.values.values import Value, format_number, is_list, is_number

_FLAG = "A last argument of `false` ignores letter case."


def _test(name: str, doc: str, examples: Mapping[str, Any], holds: Callable[[str, str], bool]) -> Function:
    """Declare a test of one text against another, with a case flag."""

    def body(text: str, operand: str, case_sensitive: bool = True) -> bool:
        return holds(text, operand) if case_sensitive else holds(text.lower(), operand.lower())

    return function(
        name,
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT, ValueKind.BOOLEAN),
        optional=1,
        returns=ValueKind.BOOLEAN,
        doc=f"{doc} {_FLAG}",
        examples=examples,
        body=body,
    )


def _plain(name: str, doc: str, examples: Mapping[str, Any], body: Callable[[str], Value]) -> Function:
    """Declare a function from text to text."""
    return function(
        name,
        parameter_kinds=(ValueKind.TEXT,),
        returns=ValueKind.TEXT,
        doc=doc,
        examples=examples,
        body=body,
        method=False,
    )


def _join(items: list[Value], separator: str) -> str | None:
    texts: list[str] = []
    size = 0
    for item in items:
        if isinstance(item, str):
            texts.append(item)
        elif is_number(item):
            texts.append(format_number(item))
        else:
            continue
        size += len(texts[-1]) + len(separator)
        if size > MAX_TEXT:
            return None
    return separator.join(texts)


def _split(text: str, separator: str) -> list[str] | None:
    if not separator:
        return [text]
    return text.split(separator) if text.count(separator) < MAX_VISITS else None


def _replace(text: str, old: str, new: str) -> str | None:
    if not old:
        return text
    new_length = len(text) + text.count(old) * (len(new) - len(old))
    return text.replace(old, new) if new_length <= MAX_TEXT else None


def _substr(text: str, begin: int, end: int | None = None) -> str:
    return text[max(0, begin) : len(text) if end is None else max(0, end)]


def _char_code(text: str, at: int) -> int | None:
    return ord(text[at]) if 0 <= at < len(text) else None


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _is_empty(value: Value) -> bool:
    return value is None or ((isinstance(value, (str, Mapping)) or is_list(value)) and len(value) == 0)


def _mask(text: str, left: int, right: int) -> str:
    left, right = max(0, left), max(0, right)
    hidden = len(text) - left - right
    return text if hidden <= 0 else text[:left] + "X" * hidden + text[len(text) - right :]


FUNCTIONS = (
    _test(
        "startsWith",
        "True when the text begins with the other.",
        {
            '"Joey".startsWith("Joe")': True,
            '"JOEY".startsWith("Joe", false)': True,
            'null.startsWith("J")': False,
        },
        str.startswith,
    ),
    _test(
        "endsWith",
        "True when the text ends with the other.",
        {'"Mary Joe".endsWith("Joe")': True, '"Joey".endsWith("Joe")': False},
        str.endswith,
    ),
    _test(
        "contains",
        "True when the text contains the other.",
        {
            '"Big Joe".contains("Joe")': True,
            '"BIG JOE".contains("Joe")': False,
            'null.contains("Joe")': False,
        },
        str.__contains__,
    ),
    _test(
        "doesNotStartWith",
        "True when the text is not null and does not begin with the other.",
        {'"Mary".doesNotStartWith("Joe")': True, 'null.doesNotStartWith("Joe")': False},
        lambda text, operand: not text.startswith(operand),
    ),
    _test(
        "doesNotEndWith",
        "True when the text is not null and does not end with the other.",
        {'"Joey".doesNotEndWith("Joe")': True, '"MARY JOE".doesNotEndWith("Joe", false)': False},
        lambda text, operand: not text.endswith(operand),
    ),
    _test(
        "doesNotContain",
        "True when the text is not null and does not contain the other.",
        {'"Mary".doesNotContain("Joe")': True, 'null.doesNotContain("Joe")': False},
        lambda text, operand: operand not in text,
    ),
    function(
        "matches",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.BOOLEAN,
        doc="True when the regular expression is found anywhere in the text. Write `\\\\` for one backslash. "
        "The syntax is RE2's: `(?i)` ignores case; there is no look-around and no back-reference.",
        examples={'"johnny".matches("(?i)^John")': True, '"A1".matches("^[A-Z]{2}\\\\d+$")': False},
        body=patterns.matches,
    ),
    function(
        "regexGroup",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT, ValueKind.INTEGER),
        returns=ValueKind.TEXT,
        doc="A group of the first match of the regular expression; null without a match.",
        examples={
            '"john@adobe.com".regexGroup("@(\\\\w+)", 1)': "adobe",
            '"john".regexGroup("@(\\\\w+)", 1)': None,
        },
        body=patterns.group,
    ),
    function(
        "equalsIgnoreCase",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.BOOLEAN,
        method=False,
        doc="True when two texts are equal, ignoring letter case.",
        examples={'equalsIgnoreCase("JOHN", "John")': True},
        body=lambda text, operand: text.lower() == operand.lower(),
    ),
    function(
        "notEqualWithIgnoreCase",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.BOOLEAN,
        method=False,
        doc="True when neither text is null and they differ, ignoring letter case.",
        examples={
            'notEqualWithIgnoreCase("JOHN", "john")': False,
            'notEqualWithIgnoreCase("Jo", "Joe")': True,
        },
        body=lambda text, operand: text.lower() != operand.lower(),
    ),
    function(
        "equalsAnyIgnoreCase",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        repeats=True,
        returns=ValueKind.BOOLEAN,
        method=False,
        doc="True when the text equals one of the others, ignoring letter case.",
        examples={'equalsAnyIgnoreCase("Icon", "icon", "ambassador")': True},
        body=lambda text, *operands: text.lower() in [item.lower() for item in operands],
    ),
    function(
        "isEmpty",
        parameter_kinds=(ValueKind.ANY,),
        returns=ValueKind.BOOLEAN,
        doc='True for `""`, an empty array or map, and null.',
        examples={'isEmpty("")': True, "isEmpty(null)": True, 'isEmpty("x")': False},
        method=False,
        body=_is_empty,
    ),
    function(
        "isNotEmpty",
        parameter_kinds=(ValueKind.ANY,),
        returns=ValueKind.BOOLEAN,
        doc="The opposite of `isEmpty`.",
        examples={'isNotEmpty("x")': True, "isNotEmpty(null)": False},
        method=False,
        body=lambda value: not _is_empty(value),
    ),
    function(
        "concat",
        parameter_kinds=(ValueKind.PRINTABLE,),
        repeats=True,
        returns=ValueKind.TEXT,
        method=False,
        doc="The texts and numbers, concatenated.",
        examples={'concat("a", "b", 3)': "ab3"},
        body=lambda *texts: "".join(texts),
    ),
    function(
        "join",
        parameter_kinds=(ValueKind.ARRAY, ValueKind.TEXT),
        returns=ValueKind.TEXT,
        method=False,
        doc="The texts and numbers of an array, joined with a separator; other items are skipped.",
        examples={'join(["red", "green"], ",")': "red,green"},
        body=_join,
        row_by_row_reason="arrays are evaluated row by row",
    ),
    function(
        "split",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.ARRAY,
        method=False,
        doc="The parts of the text between separators.",
        examples={'split("a,b,c", ",")': ["a", "b", "c"]},
        body=_split,
        row_by_row_reason="arrays are evaluated row by row",
    ),
    function(
        "length",
        parameter_kinds=(ValueKind.TEXT,),
        returns=ValueKind.INTEGER,
        method=False,
        doc="The number of characters.",
        examples={'length("abc")': 3},
        body=len,
    ),
    function(
        "indexOf",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.INTEGER,
        method=False,
        doc="The position of the first occurrence of the other text, counted from 0; -1 without one.",
        examples={'indexOf("hello", "l")': 2, 'indexOf("hello", "z")': -1},
        body=str.find,
    ),
    function(
        "lastIndexOf",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.INTEGER,
        method=False,
        doc="The position of the last occurrence of the other text, counted from 0; -1 without one.",
        examples={'lastIndexOf("hello", "l")': 3},
        body=str.rfind,
    ),
    function(
        "charCodeAt",
        parameter_kinds=(ValueKind.TEXT, ValueKind.INTEGER),
        returns=ValueKind.INTEGER,
        method=False,
        doc="The Unicode code point at a position, counted from 0; null outside the text.",
        examples={'charCodeAt("A", 0)': 65, 'charCodeAt("A", 1)': None},
        body=_char_code,
    ),
    function(
        "substr",
        parameter_kinds=(ValueKind.TEXT, ValueKind.INTEGER, ValueKind.INTEGER),
        optional=1,
        returns=ValueKind.TEXT,
        method=False,
        doc="The characters from one position up to another, excluding it; to the end without one.",
        examples={'substr("hello", 1, 3)': "el", 'substr("hello", 3)': "lo"},
        body=_substr,
    ),
    function(
        "replace",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.TEXT,
        method=False,
        doc="The text with every occurrence of another replaced.",
        examples={'replace("Hello John", "John", "Mark")': "Hello Mark"},
        body=_replace,
    ),
    function(
        "replaceAll",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.TEXT,
        method=False,
        doc="The text with every match of the regular expression replaced; `$1` is the first group.",
        examples={'replaceAll("a1b22", "[0-9]+", "#")': "a#b#"},
        body=patterns.replace_all,
    ),
    function(
        "mask",
        parameter_kinds=(ValueKind.TEXT, ValueKind.INTEGER, ValueKind.INTEGER),
        returns=ValueKind.TEXT,
        method=False,
        doc="The text with `X` for every character, except a number of them on the left and right.",
        examples={'mask("123456789", 5, 2)': "12345XX89"},
        body=_mask,
    ),
    _plain("lowerCase", "The text in lower case.", {'lowerCase("JoHN")': "john"}, str.lower),
    _plain("upperCase", "The text in upper case.", {'upperCase("john")': "JOHN"}, str.upper),
    _plain(
        "titleCase",
        "The text with the first letter of each word in upper case.",
        {'titleCase("high street")': "High Street"},
        _title,
    ),
    _plain("trim", "The text without white space at its ends.", {'trim("  a ")': "a"}, str.strip),
    _plain(
        "leftTrim",
        "The text without white space at its beginning.",
        {'leftTrim("  a ")': "a "},
        str.lstrip,
    ),
    _plain(
        "rightTrim",
        "The text without white space at its end.",
        {'rightTrim(" a ")': " a"},
        str.rstrip,
    ),
)
