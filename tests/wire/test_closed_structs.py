"""Struct types that refuse unknown members."""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct, field

from proffer.errors import Invalid, Malformed
from proffer.validation import BooleanShape, ListShape, Member, ObjectShape, TextShape
from proffer.wire import ode
from proffer.wire.closed_structs import closed_struct
from proffer.wire.codec import decode_with_warnings


class Part(Struct):
    name: str = field(name="xdm:name")
    flag: bool | None = None


class Whole(Struct):
    parts: Annotated[list[Part], Meta(min_length=1)]
    by_key: dict[str, list[Part]] = {}
    part: Part | None = None
    data: dict[str, Any] = {}


SHAPE = ObjectShape(
    {
        "parts": Member(
            ListShape(ObjectShape({"xdm:name": Member(TextShape(), required=True), "flag": Member(BooleanShape())})),
            required=True,
        )
    }
)


@pytest.mark.parametrize(
    "document",
    [
        {"parts": [{"xdm:name": "a"}], "more": 1},
        {"parts": [{"xdm:name": "a", "more": 1}]},
        {"parts": [{"xdm:name": "a"}], "by_key": {"k": [{"xdm:name": "b", "more": 1}]}},
        {"parts": [{"xdm:name": "a"}], "part": {"xdm:name": "b", "more": 1}},
    ],
)
def test_an_unknown_member_is_refused_at_every_level(document: Any) -> None:
    data = msgspec.json.encode(document)
    msgspec.json.decode(data, type=Whole)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(data, type=closed_struct(Whole))


def test_known_members_are_decoded_as_by_the_open_type() -> None:
    document: Any = {"parts": [{"xdm:name": "a", "flag": True}], "by_key": {"k": []}, "part": None, "data": {"any": 1}}
    value = msgspec.json.decode(msgspec.json.encode(document), type=closed_struct(Whole))
    assert isinstance(value, Whole)
    assert value.parts[0].flag is True
    assert value.data == {"any": 1}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"parts":[]}', type=closed_struct(Whole))


def test_the_decision_requests_have_closed_types() -> None:
    for type_ in (ode.DecisionRequestDoc, ode.DecisionRequestDoc09):
        assert issubclass(closed_struct(type_), type_)


def test_a_misspelt_member_is_a_warning_and_the_document_is_read() -> None:
    document, warnings = decode_with_warnings(Whole, b'{"parts":[{"xdm:name":"a","flg":true}]}', SHAPE)
    assert document.parts[0].flag is None
    assert [(warning.code, warning.path) for warning in warnings] == [("misspelt-member", "$.parts[0].flg")]
    assert decode_with_warnings(Whole, b'{"parts":[{"xdm:name":"a","other":true}]}', SHAPE)[1] == []
    with pytest.raises(Invalid):
        decode_with_warnings(Whole, b'{"parts":[{"flg":1}]}', SHAPE)
    with pytest.raises(Malformed):
        decode_with_warnings(Whole, b'{"parts":', SHAPE)
