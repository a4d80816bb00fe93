"""From shapes to JSON Schema."""

from typing import Any

import jsonschema_rs
import pytest

from proffer.validation import (
    Anything,
    Boolean,
    DateTime,
    Integer,
    ListOf,
    MapOf,
    Member,
    Null,
    Number,
    Object,
    OneOf,
    Reference,
    Shape,
    Text,
    walk,
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
        Text(),
        Text(min=1, max=3),
        Text(max_bytes=10),
        Text(one_of=["a", "b"]),
        Text(pattern="a.?c?"),
        Integer(min=0, max=5),
        Number(min=0.5),
        Boolean(),
        Null(),
        Anything(),
        Reference(kinds=["tag"]),
        Reference(),
        ListOf(Integer(), 1, 2),
        ListOf(Integer(), unique=True),
        MapOf(Integer(), 1),
        Object({"a": Member(Integer(), required=True), "b": Member(Text())}),
        Object({"a": Member(Integer(), required=True, aliases=["b"])}),
        Object({}, at_least_one_of=[["a", "c"]]),
        OneOf([Integer(), Null()]),
        OneOf([Text(one_of=["a"]), Null()]),
        OneOf([Text(), Integer(), Null()]),
    ],
    ids=repr,
)
def test_the_schema_says_what_the_shape_says(shape: Shape) -> None:
    """For every value, the schema and the walk agree."""
    schema = json_schema(shape)
    for value in VALUES:
        assert jsonschema_rs.is_valid(schema, value) == (walk(shape, value) == []), value


def test_a_moment_is_a_date_time() -> None:
    """The schema leaves the rest to the walk."""
    assert json_schema(DateTime()) == {"type": "string", "format": "date-time"}
