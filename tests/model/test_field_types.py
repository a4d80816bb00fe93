"""Values are checked against the declared types of fields, and texts of tables are converted to them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.model.field_types import FieldTypes, convert_text

FIELDS = {
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
    "date": "date",
    "date-time": "date-time",
    "text": "text: a|b",
    "any": "any",
    "list": ["integer"],
    "map": {"*": "date"},
    "object": {"inner": "number", "*": "boolean"},
}
TYPES = FieldTypes(FIELDS)
VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    "number": ([0, -1.5, 2**62], ["900", True, float("inf"), {}, 2**70]),
    "integer": ([0, 5.0, -3], [1.5, "5", False]),
    "boolean": ([True, False], ["true", 1, 0]),
    "date": (
        ["1990-12-31", "2024-02-29"],
        ["1990-13-45", "31.12.1990", "19901231", "1990-W01-1", "2023-02-29", 1990, "1990-12-31T00:00:00Z"],
    ),
    "date-time": (
        ["2025-03-01T08:30:00Z", "2025-03-01T08:30:00.123+01:00"],
        ["2025-03-01", "2025-03-01T08:30:00", "2025-03-01T25:00:00Z", "yesterday", 1740817800],
    ),
    "text": (["", "c"], [5, True, ["a"]]),
    "any": ([1, "x", [{}]], []),
    "list": ([[], [1, None]], [1, "1", ["1"], {}]),
    "map": ([{}, {"x": "1990-12-31"}], [[], {"x": "x"}]),
    "object": ([{}, {"inner": 1.5, "other": True}], ["x", {"inner": "1"}, {"other": 1}]),
    "undeclared": ([1, "1990-13-45", {"a": []}], []),
}


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        (name, value, fits)
        for name, (right, wrong) in VALUES.items()
        for fits, values in ((True, right), (False, wrong))
        for value in values
    ],
)
def test_a_value_is_of_its_declared_type_or_is_told(name: str, value: Any, fits: bool) -> None:
    """With the path, the value and a way to write it; null is the value of every type."""
    found = TYPES.violations({name: value})

    assert (found == []) is fits
    assert TYPES.violations({name: None}) == []
    for violation in found:
        assert (violation.path or "").startswith(f"$.{name}" if name != "date-time" else "$.date-time")
        assert "is not" in violation.message
        assert violation.help


def test_every_wrong_member_is_told_with_its_place() -> None:
    """Also within lists and objects, in document order."""
    document = {"list": [1, "2", 3, "4"], "object": {"inner": "x"}, "date": "31.12.1990", "other": "x"}

    assert [(found.path, found.message) for found in TYPES.violations(document)] == [
        ("$.list[1]", "`2` is not an integer"),
        ("$.list[3]", "`4` is not an integer"),
        ("$.object.inner", "`x` is not a number"),
        ("$.date", "`31.12.1990` is not a date: it must have the form year-month-day"),
    ]


def test_closed_types_allow_only_declared_fields_and_known_values() -> None:
    """As for the context data of a request; `*` leaves an object open there, too."""
    closed = FieldTypes(FIELDS, closed=True)

    assert [found.code for found in closed.violations({"text": "c", "other": 1, "xdm:integer": 1})] == [
        "enum",
        "unknown-field",
    ]
    assert closed.violations({"text": "a", "object": {"other": True}}) == []


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("number", " 1.5\xa0", 1.5),
        ("number", "-2e3", -2000.0),
        ("integer", "7", 7),
        ("integer", "7.0", 7),
        ("boolean", "TRUE", True),
        ("boolean", "0", False),
        ("date", " 1990-12-31 ", "1990-12-31"),
        ("date", "1990-12-31 00:00:00", "1990-12-31"),
        ("date-time", " 2025-03-01T08:30:00Z", "2025-03-01T08:30:00Z"),
        ("text", " x ", " x "),
        ("any", " 1", " 1"),
    ],
)
def test_a_text_of_a_table_becomes_a_value_of_the_type(kind: str, text: str, value: Any) -> None:
    """Blanks around it do not count, except in texts."""
    converted = convert_text(kind, text)

    assert (converted, type(converted)) == (value, type(value))
    assert FieldTypes({"x": kind}).violations({"x": converted}) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *[("number", text) for text in ("007", "+5", "1_000", "1,5", "NaN", "Infinity", "1e999", "0x1F", "1 2")],
        *[("integer", text) for text in ("1.5", "99999999999999999999", "1e30", "x")],
        *[("boolean", text) for text in ("yes", "on", "2", "t")],
    ],
)
def test_a_text_that_is_no_value_of_the_type_stays_and_is_told(kind: str, text: str) -> None:
    """A number is one JSON number and nothing beside it."""
    types = FieldTypes({"x": kind})

    assert convert_text(kind, text) is None
    assert types.converted({"x": text}) == {"x": text}
    assert len(types.violations(types.converted({"x": text}))) == 1


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates().map(str)
documents = st.dictionaries(
    st.sampled_from([*FIELDS, "undeclared"]),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=12)
        | st.dates().map(str),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["inner", "x"]), inner, max_size=2),
        max_leaves=5,
    ),
)


@given(documents)
def test_conversion_leaves_every_value_that_is_right(document: dict[str, Any]) -> None:
    """A document without violations is only rewritten where blanks were; converting twice changes nothing more."""
    converted = TYPES.converted(document)

    assert TYPES.converted(converted) == converted
    assert len(TYPES.violations(converted)) <= len(TYPES.violations(document))
    if not TYPES.violations(document):
        assert converted == document
