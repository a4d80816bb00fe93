"""From shapes to JSON Schema."""

from typing import Any

import jsonschema_rs
import pytest

from proffer.validation import (
    AnyShape,
    BooleanShape,
    DateTimeShape,
    IntegerShape,
    ListShape,
    MapShape,
    Member,
    NullShape,
    NumberShape,
    ObjectShape,
    OneOfShape,
    ReferenceShape,
    Shape,
    TextShape,
    validate,
)
from proffer.wire.openapi import json_schema

VALUES: list[Any] = [
    None, True, 0, 7, -1, 1.5, "", "a", "abc", "x" * 40, [], [1], [1, 1], [1, 2, 3], {},
    {"a": 1}, {"b": "x"}, {"a": None}, {"a": 1, "b": "x", "c": []}, "xcore:tag:1",
    "dps:offer-filter:ff", "tag:1",
]  # fmt: skip


@pytest.mark.parametrize(
    "shape",
    [
        TextShape(),
        TextShape(min=1, max=3),
        TextShape(max_bytes=10),
        TextShape(one_of=["a", "b"]),
        TextShape(pattern="a.?c?"),
        IntegerShape(min=0, max=5),
        NumberShape(min=0.5),
        BooleanShape(),
        NullShape(),
        AnyShape(),
        ReferenceShape(kinds=["tag"]),
        ReferenceShape(),
        ListShape(IntegerShape(), 1, 2),
        ListShape(IntegerShape(), unique=True),
        MapShape(IntegerShape(), 1),
        ObjectShape({"a": Member(IntegerShape(), required=True), "b": Member(TextShape())}),
        ObjectShape({"a": Member(IntegerShape(), required=True, aliases=["b"])}),
        ObjectShape({}, at_least_one_of=[["a", "c"]]),
        OneOfShape([IntegerShape(), NullShape()]),
        OneOfShape([TextShape(one_of=["a"]), NullShape()]),
        OneOfShape([TextShape(), IntegerShape(), NullShape()]),
    ],
    ids=repr,
)
def test_the_schema_says_what_the_shape_says(shape: Shape) -> None:
    """For every value, the schema and the walk agree."""
    schema = json_schema(shape)
    for value in VALUES:
        assert jsonschema_rs.is_valid(schema, value) == (validate(shape, value) == []), value


def test_a_moment_is_a_date_time() -> None:
    """The schema leaves the rest to the walk."""
    assert json_schema(DateTimeShape()) == {"type": "string", "format": "date-time"}
