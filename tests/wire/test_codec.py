"""Bytes in, plain or typed values out; everything else is refused with its place."""

import contextlib
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.errors import Invalid, Malformed, Violation
from proffer.validation import IntegerShape, ListShape, Member, ObjectShape, TextShape
from proffer.wire.codec import MAX_DEPTH, decode, decode_as, encode


def refusal(data: bytes) -> Violation:
    with pytest.raises(Malformed) as caught:
        decode(data)
    (finding,) = caught.value.violations
    return finding


def misfits(data: bytes) -> list[str | None]:
    with pytest.raises(Invalid) as caught:
        decode(data)
    assert {finding.code for finding in caught.value.violations} == {"range"}
    return [finding.path for finding in caught.value.violations]


def test_a_document_round_trips_exactly() -> None:
    """1 and 1.0 stay different, members keep their order, characters are kept as they are."""
    text = '{"z":1,"a":1.0,"m":[true,null,-0.5,"é😀\\u0001"],"b":{}}'.encode()
    assert encode(decode(text)) == text
    assert list(decode(text)) == ["z", "a", "m", "b"]
    assert isinstance(decode(text)["z"], int)
    assert isinstance(decode(text)["a"], float)


def test_of_two_members_with_one_name_the_last_counts() -> None:
    """Duplicate keys are legal JSON; no client of ours means anything by them."""
    assert decode(b'{"a":1,"a":2}') == {"a": 2}


def test_a_byte_order_mark_is_tolerated() -> None:
    """Some editors write one in front of UTF-8."""
    assert decode(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize(
    ("data", "code", "line", "column"),
    [
        (b"", "empty", 1, 1),
        (b" \n", "empty", 1, 1),
        (b'{\n  "a": 1,\n  "b" 2}', "syntax", 3, 7),
        ('{"é": x}'.encode(), "syntax", 1, 7),
        (b'{"a": 1', "syntax", 1, 8),
        (b'["open', "syntax", 1, 2),
        (b"[1] [2]", "syntax", 1, 5),
        (b"[1, NaN]", "syntax", 1, 5),
        (b"[-Infinity]", "syntax", 1, 2),
        (b"'a'", "syntax", 1, 1),
        (b'"\xff"', "encoding", 1, 2),
        (b'{"a":\n"\xed\xa0\x80"}', "encoding", 2, 2),
        ('"ä"'.encode("utf-16"), "encoding", 1, 1),
        (b'"\\ud800"', "surrogate", 1, 2),
        (b'{"\\udc00": 1}', "surrogate", 1, 3),
        (b'"\\ud83d\\ude00 \\ud83d"', "surrogate", 1, 15),
        (b'"\\ud83d\\ud83d\\ude00"', "surrogate", 1, 2),
        (b'"\\\\ud800 \\uD800x"', "surrogate", 1, 10),
    ],
)
def test_unreadable_text_is_refused_with_its_place(data: bytes, code: str, line: int, column: int) -> None:
    """Lines and columns count from 1, columns in characters."""
    finding = refusal(data)
    assert (finding.code, finding.line, finding.column) == (code, line, column)
    assert finding.message
    assert finding.help


@given(st.integers(0xD800, 0xDFFF), st.sampled_from(["{}", "x{}", "{}x", "{}\\\\", "{}\\u0041"]))
def test_no_lone_surrogate_comes_through(half: int, around: str) -> None:
    """Wherever it stands in the text."""
    assert refusal(f'"{around.format(f"{chr(92)}u{half:04x}")}"'.encode()).code == "surrogate"


def test_nesting_up_to_the_limit_is_read() -> None:
    """Brackets inside text do not count."""
    deep = b"[" * MAX_DEPTH + b'"[[[[\\"[["' + b"]" * MAX_DEPTH
    assert encode(decode(deep)) == deep
    assert decode(b"[" + b"[]," * 500 + b"{}]") == [[]] * 500 + [{}]


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"\\\\":'])
def test_nesting_beyond_the_limit_is_refused(opening: bytes) -> None:
    """The place is the first bracket too many."""
    finding = refusal(opening * (MAX_DEPTH + 1))
    assert finding.code == "depth"
    assert finding.line == 1
    assert finding.column


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 500_000 + b"]" * 500_000,
        b"[" + b"[]," * 300_000 + b"[]]",
        b"[" * 99 + b'"' + b'\\"[' * 300_000,
        b'"' * 1_000_000,
        b"9" * 1_000_000,
        b"0." + b"9" * 1_000_000,
        b"[" + b"9" * 18 + b",9" * 400_000 + b"]",
    ],
)
def test_a_megabyte_of_malice_is_dealt_with(data: bytes) -> None:
    """It is read or refused in the usual two ways; a check that were not linear would hang here."""
    with contextlib.suppress(Malformed, Invalid):
        decode(data)


def test_a_number_beyond_64_bits_is_invalid_at_its_path() -> None:
    """The bounds are those of a signed integer and of a double."""
    assert decode(b"[9223372036854775807, -9223372036854775808]") == [2**63 - 1, -(2**63)]
    assert misfits(b'{"a":[0,{"xdm:b":9223372036854775808}],"c":-9223372036854775809}') == [
        "$.a[1].xdm:b",
        "$.c",
    ]
    assert misfits(b'{"a b":1e400}') == ['$["a b"]']
    assert misfits(b"[1e-400,-1e999]") == ["$[1]"]
    assert misfits(b"9" * 5000) == ["$"]
    assert misfits(b'{"a":1e999,"a":1}') == ["$"]


@pytest.mark.parametrize("rest", [b"", b"]]", b",]", b',"\xff"]', b",[["])
def test_a_number_out_of_range_does_not_hide_what_is_malformed(rest: bytes) -> None:
    """The parser stops at the number; the rest is looked at all the same."""
    with pytest.raises(Malformed):
        decode(b"[1e999" + rest)


def test_long_digits_in_text_are_just_text() -> None:
    """Only numbers have bounds."""
    assert decode(b'["99999999999999999999", 0.12345678901234567890123]') == [
        "99999999999999999999",
        0.12345678901234568,
    ]


TOKENS = [b"[", b"]", b"{", b"}", b":", b",", b'"a"', b"1", b" ", b"1e999", b"9" * 20, b"NaN"]
TOKENS += [b'"\\ud800"', b'"\\u0000"', b"\xff", b"\x00", b'"', b"\\", b"-", b"\xef\xbb\xbf", b"\n"]


@given(st.binary(max_size=40) | st.lists(st.sampled_from(TOKENS)).map(b"".join))
def test_whatever_the_bytes_only_two_errors_come(data: bytes) -> None:
    """Everything is read, malformed or invalid; what is read can be written and read again."""
    try:
        value = decode(data)
    except (Malformed, Invalid):
        return
    assert decode(encode(value)) == value


# Typed documents.


class Scope(msgspec.Struct):
    activity: str = msgspec.field(name="xdm:activityId")
    count: Annotated[int, msgspec.Meta(ge=1, le=30)] = msgspec.field(name="xdm:itemCount", default=1)


class Request(msgspec.Struct):
    scopes: list[Scope] = msgspec.field(name="xdm:propositionRequests")
    context: dict[str, Any] = msgspec.field(default_factory=dict)


def complaints(data: bytes, **options: Any) -> list[tuple[str, str | None]]:
    with pytest.raises(Invalid) as caught:
        decode_as(Request, data, **options)
    assert all(finding.message and finding.help for finding in caught.value.violations)
    return [(finding.code, finding.path) for finding in caught.value.violations]


def test_a_typed_document_is_read_and_unknown_members_are_skipped() -> None:
    """Documented clients send members nobody reads."""
    data = b'\xef\xbb\xbf{"xdm:propositionRequests":[{"xdm:activityId":"a"}],"xdm:mode":{"a":1}}'
    assert decode_as(Request, data) == Request([Scope("a")])


@pytest.mark.parametrize(
    ("data", "code", "path"),
    [
        (b"{}", "required", "$.xdm:propositionRequests"),
        (b"[]", "type", "$"),
        (
            b'{"xdm:propositionRequests":[{}]}',
            "required",
            "$.xdm:propositionRequests[0].xdm:activityId",
        ),
        (b'{"xdm:propositionRequests":[1]}', "type", "$.xdm:propositionRequests[0]"),
        (
            b'{"xdm:propositionRequests":[{"xdm:activityId":"a","xdm:itemCount":31}]}',
            "range",
            "$.xdm:propositionRequests[0].xdm:itemCount",
        ),
        (b'{"xdm:propositionRequests":[],"context":{"a":[1e999]}}', "range", "$.context.a[0]"),
        (b'{"xdm:propositionRequests":[],"context":{"a":"\\u0000"}}', "nul", "$.context.a"),
    ],
)
def test_a_typed_document_of_the_wrong_form_is_invalid(data: bytes, code: str, path: str) -> None:
    """Without a shape, the first mistake; paths are written as everywhere."""
    assert complaints(data) == [(code, path)]


def test_with_a_shape_every_mistake_is_listed() -> None:
    """The parser stops at the first; the walker does not."""
    scope = ObjectShape(
        {
            "xdm:activityId": Member(TextShape(), required=True),
            "xdm:itemCount": Member(IntegerShape()),
        }
    )
    shape = ObjectShape({"xdm:propositionRequests": Member(ListShape(scope), required=True)})
    data = b'{"xdm:propositionRequests":[{},{"xdm:activityId":1,"xdm:itemCount":"2"}]}'
    assert complaints(data, shape=shape) == [
        ("required", "$.xdm:propositionRequests[0].xdm:activityId"),
        ("type", "$.xdm:propositionRequests[1].xdm:activityId"),
        ("type", "$.xdm:propositionRequests[1].xdm:itemCount"),
    ]


def test_a_shape_milder_than_the_type_leaves_the_parsers_word() -> None:
    """A refusal is never empty."""
    data = b'{"xdm:propositionRequests":[{"xdm:activityId":"a","xdm:itemCount":31}]}'
    assert complaints(data, shape=ObjectShape({})) == [("range", "$.xdm:propositionRequests[0].xdm:itemCount")]


@pytest.mark.parametrize("data", [b"", b"{", b'{"x":"\xff"}', b'{"x":"\\ud800"}', b"[" * 5000])
def test_a_typed_document_that_cannot_be_read_is_malformed(data: bytes) -> None:
    """Also where the fault is in a member that would be skipped."""
    if data.startswith(b'{"x"'):
        data = data[:-1] + b',"xdm:propositionRequests":[]}'
    with pytest.raises(Malformed):
        decode_as(Request, data)
