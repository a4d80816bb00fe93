"""Decode and encode JSON: plain values or typed documents, with precise errors.

Plain values round-trip exactly: integers stay integers, `1.0` stays a float, members keep their order.
Of duplicate members the last one counts. Nesting is checked in linear time before a recursive parser
sees the bytes.
"""

import json
import re
from itertools import accumulate
from typing import Any, NoReturn, TypeVar

import msgspec

from proffer.errors import Invalid, Malformed, Violation
from proffer.validation import AnyShape, Shape, json_path, misspelt_members, validate
from proffer.wire.closed_structs import StructType, closed_struct

MAX_DEPTH = 100
"""Maximum nesting depth of lists and objects."""

T = TypeVar("T")

_BOM = b"\xef\xbb\xbf"
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_typed_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(data: bytes) -> Any:
    """Decode JSON to a plain value. A leading byte order mark is ignored.

    Raises `Malformed`, with line and column, for invalid UTF-8, invalid JSON (including lone surrogates,
    NaN and Infinity), and nesting beyond `MAX_DEPTH`. Raises `Invalid` for a number that fits neither a
    signed 64-bit integer nor a double.
    """
    data = _prepare(data)
    try:
        value = _decoder.decode(data)
    except msgspec.ValidationError:
        _refuse_numbers(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(data, error) from None
    # Long digit sequences are mostly ids in strings; only those outside of strings can be numbers.
    if _LONG_DIGITS.search(data) and _LONG_DIGITS.search(_STRING.sub(b'""', data)):
        _check_numbers(data)
    return value


def decode_as(type_: type[T], data: bytes, *, shape: Shape | None = None) -> T:
    """Decode JSON to a typed document. Fast for valid requests.

    Members that the type does not name are skipped. Raises `Malformed` as `decode` does. Raises `Invalid`
    for a document of the wrong form: with all violations of `shape` if it is given and finds any, else
    with the first mistake. Integers are bounded only where the type bounds them.
    """
    decoder = _typed_decoders.get(type_)
    if decoder is None:
        decoder = _typed_decoders[type_] = msgspec.json.Decoder(type_)
    data = _prepare(data)
    try:
        value: T = decoder.decode(data)
    except msgspec.ValidationError as error:
        _refuse_document(data, str(error), shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(data, error) from None
    if not data.isascii():
        _check_utf8(data)  # the parser does not check the members that it skips
    if has_nul(data):
        _refuse_violations(data, AnyShape())
    return value


def decode_with_warnings(type_: type[StructType], data: bytes, shape: Shape) -> tuple[StructType, list[Violation]]:
    """Decode as `decode_as` does; also return a warning for each misspelt member of `shape`.

    Only documents with unknown members take longer.
    """
    try:
        return decode_as(closed_struct(type_), data), []
    except Invalid:
        document = decode_as(type_, data, shape=shape)
        return document, misspelt_members(shape, msgspec.json.decode(_prepare(data)))


def has_nul(data: bytes) -> bool:
    """Return whether this JSON contains an escaped NUL."""
    # There is rarely any escape, and one byte is found faster than six.
    return b"\\" in data and b"\\u0000" in data


def encode(value: Any) -> bytes:
    """Encode a value as compact JSON. It must not contain NaN or infinity."""
    return _encoder.encode(value)


def _prepare(data: bytes) -> bytes:
    data = data.removeprefix(_BOM)
    # Counting is cheap, and a document with few brackets cannot be deep.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(data)
    return data


# Depth.

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = b"[{]}"
_NOT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_STEPS = bytes.maketrans(_BRACKETS, b"\x01\x01\xff\xff")  # as signed bytes: +1 and -1
_BRACKET_OR_STRING = re.compile(_STRING.pattern + rb"|[\[\]{}]", re.DOTALL)


def _check_depth(data: bytes) -> None:
    # All in C and linear: drop strings, then all but brackets, then take a running sum. With unbalanced
    # brackets the sum is wrong only after the place where the parser stops anyway.
    brackets = _STRING.sub(b"", data).translate(_STEPS, _NOT_BRACKETS)
    if max(accumulate(memoryview(brackets).cast("b")), default=0) <= MAX_DEPTH:
        return
    depth = 0
    for match in _BRACKET_OR_STRING.finditer(data):
        if match[0] in (b"[", b"{"):
            depth += 1
        elif match[0] in (b"]", b"}"):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _malformed_at(
                data,
                match.start(),
                code="depth",
                message=f"Lists and objects are nested more than {MAX_DEPTH} levels deep",
                help=f"Flatten the document to at most {MAX_DEPTH} levels.",
            )


# Location and message of malformed text. Runs only when a document is rejected.

_OFFSET = re.compile(r"(?:JSON is malformed: )?(.*?)(?: \(byte (\d+)\))?", re.DOTALL)
_ESCAPE = re.compile(  # whole pairs match first, so that any remaining half is a lone surrogate
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_LITERAL = re.compile(rb"-?(?:NaN|Infinity)")
_STDLIB_TAIL = re.compile(r" (?:starting )?at$")


def _malformed_at(data: bytes, offset: int, *, code: str, message: str, help: str) -> Malformed:  # noqa: A002
    """Return the error for a mistake at this byte offset. Columns count characters."""
    before = data[:offset].decode("utf-8", "replace")
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    violation = Violation(code=code, message=message, help=help, line=line, column=column)
    return Malformed(f"{message} (line {line}, column {column})", violations=[violation])


def _malformed(data: bytes, error: Exception) -> Malformed:
    if not data.strip():
        return _malformed_at(
            data,
            0,
            code="empty",
            message="The body is empty",
            help="Send a JSON document, and a matching Content-Length.",
        )
    try:
        _check_utf8(data)
    except Malformed as not_utf8:
        return not_utf8
    return _lone_surrogate(data) or _not_json(data, error)


def _check_utf8(data: bytes) -> None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed_at(
            data,
            error.start,
            code="encoding",
            message="The body is not UTF-8",
            help="Encode the document as UTF-8; other encodings are not supported.",
        ) from None


def _lone_surrogate(data: bytes) -> Malformed | None:
    for match in _ESCAPE.finditer(data):
        if match["lone"]:
            return _malformed_at(
                data,
                match.start(),
                code="surrogate",
                message="The text contains half of a surrogate pair",
                help="Write the character itself, or both halves as in `\\ud83d\\ude00`.",
            )
    return None


def _not_json(data: bytes, error: Exception) -> Malformed:
    """Return the syntax error of Python's parser, else that of msgspec. Python's is more precise."""
    text = data.decode("utf-8")
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as decode_error:
        offset = len(text[: decode_error.pos].encode())
        message = _STDLIB_TAIL.sub("", decode_error.msg)
    except RecursionError:
        offset, message = 0, "Nested too deeply"
    else:
        match = _OFFSET.fullmatch(str(error))
        message = match[1] if match else str(error)
        offset = int(match[2]) if match and match[2] else len(data)
        literal = _LITERAL.match(data, max(offset - 1, 0)) or _LITERAL.match(data, offset)
        if literal:
            offset, message = literal.start(), f"`{literal[0].decode()}` is not a JSON value"
    return _malformed_at(
        data,
        offset,
        code="syntax",
        message=f"The body is not JSON: {message}",
        help="Correct the document at this place; a JSON formatter shows it.",
    )


# Numbers that do not fit.

_LONG_DIGITS = re.compile(rb"[0-9]{19}")
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1


class _OutOfRangeNumber:
    """Placeholder of a number that does not fit into 64 bits."""

    def __init__(self, text: str) -> None:
        self.text = text if len(text) <= 30 else text[:30] + "…"


def _parse_integer(text: str) -> Any:
    # No 64-bit integer has more than 19 digits, and int() rejects thousands of digits.
    number = int(text) if len(text) <= 20 else _MAX_INTEGER + 1
    return number if _MIN_INTEGER <= number <= _MAX_INTEGER else _OutOfRangeNumber(text)


def _parse_double(text: str) -> Any:
    number = float(text)
    return _OutOfRangeNumber(text) if number in (float("inf"), float("-inf")) else number


def _check_numbers(data: bytes) -> None:
    try:
        document = json.loads(data.decode(), parse_int=_parse_integer, parse_float=_parse_double)
    except (ValueError, RecursionError) as error:
        # The first parser stopped at the number; the text after it is not JSON.
        raise _malformed(data, error) from None
    violations = []
    pending: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    while pending:
        keys, value = pending.pop()
        if isinstance(value, _OutOfRangeNumber):
            violation = Violation(
                code="range",
                message=f"The number {value.text} does not fit into 64 bits",
                path=json_path(*keys),
                help="Write it as text if it is an identifier, else use a smaller number.",
            )
            violations.append(violation)
        elif isinstance(value, dict):
            pending += [((*keys, name), member) for name, member in reversed(value.items())]
        elif isinstance(value, list):
            pending += [((*keys, index), value[index]) for index in reversed(range(len(value)))]
    if violations:
        raise Invalid.of(violations[:100])


def _refuse_numbers(data: bytes) -> NoReturn:
    """Raise `Invalid` for a number out of range. The plain parser has no other validation error."""
    _check_numbers(data)
    # The number is in the first of two members with the same name, which does not count.
    violation = Violation(code="range", message="A number does not fit into 64 bits", path="$")
    raise Invalid.of([violation])


# Typed documents of the wrong form.


def _refuse_violations(data: bytes, shape: Shape) -> None:
    violations = validate(shape, decode(data))
    if violations:
        raise Invalid.of(violations)


def _refuse_document(data: bytes, complaint: str, shape: Shape | None) -> NoReturn:
    _refuse_violations(data, shape or AnyShape())
    raise Invalid.of([_complaint_violation(complaint)])


_COMPLAINT = re.compile(r"(?P<what>.*?)(?: - at (?P<key>key in )?`(?P<path>\$.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_TYPES = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_BOUND = re.compile(r"Expected `[^`]*` (?:[<>]|of length|matching|with a)")
_TYPE_LABELS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}


def _complaint_violation(complaint: str) -> Violation:
    """Convert a msgspec validation message to our wording and paths."""
    match = _COMPLAINT.fullmatch(complaint)
    what, where = (match["what"], match["path"] or "$") if match else (complaint, "$")
    if missing := _MISSING.fullmatch(what):
        name = missing[1]
        return Violation(
            code="required",
            message=f"`{name}` is missing",
            path=where + json_path(name)[1:],
            help=f"Add `{name}`.",
        )
    if types := _TYPES.fullmatch(what):
        expected, actual = (
            " or ".join(_TYPE_LABELS.get(word, word) for word in group.split(" | ")) for group in types.groups()
        )
        return Violation(
            code="type",
            message=f"Expected {expected}, found {actual}",
            path=where,
            help=f"Give {expected}.",
        )
    if what.startswith("Invalid enum value"):
        code = "enum"
    elif _BOUND.match(what) or "out of range" in what:
        code = "range"
    else:
        code = "format"
    return Violation(code=code, message=what, path=where, help="Compare with the documented request.")
