"""The walker lists every mistake in a document, in order, each with its path."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.model.documents import PLACES, SHAPES
from proffer.model.ids import EntityKind
from proffer.validation import (
    MAX_MISSPELT,
    MAX_VIOLATIONS,
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
    edit_distance,
    json_path,
    misspelt_members,
    parse_timestamp_us,
    validate,
)


def faults(shape: Shape, document: Any) -> list[tuple[str, str | None]]:
    findings = validate(shape, document)
    assert all(finding.message and finding.help for finding in findings)
    return [(finding.code, finding.path) for finding in findings]


def fault(shape: Shape, value: Any) -> str | None:
    """The code of the one finding about a bare value, if there is one."""
    found = faults(shape, value)
    if not found:
        return None
    ((code, where),) = found
    assert where == "$"
    return code


COMPONENT = ObjectShape({"dc:format": Member(TextShape(pattern=r"\w+/\w+"), required=True)})
REPRESENTATION = ObjectShape(
    {
        "xdm:placement": Member(ReferenceShape(kinds=("offer-placement",)), required=True),
        "xdm:components": Member(ListShape(COMPONENT)),
    }
)
OFFER = ObjectShape(
    {
        "xdm:name": Member(TextShape(min=1), required=True),
        "xdm:status": Member(TextShape(one_of=("draft", "approved")), required=True),
        "xdm:representations": Member(ListShape(REPRESENTATION), required=True),
        "xdm:ids": Member(ListShape(TextShape(), unique=True), aliases=("ids",)),
    }
)


def test_a_document_as_it_should_be_has_no_findings() -> None:
    """Members no shape names are not looked at."""
    document = {
        "xdm:name": "Tea",
        "xdm:status": "draft",
        "xdm:representations": [{"xdm:placement": "dps:offer-placement:1f"}],
        "offerui:model": [None, {"a": 1.5}],
    }
    assert validate(OFFER, document) == []


def test_every_mistake_is_listed_in_document_order() -> None:
    """What an object lacks comes after what it has."""
    document = {
        "xdm:representations": [
            {"xdm:components": [{"dc:format": "html"}, 5]},
            {"xdm:placement": "xcore:tag:1f"},
            "x",
        ],
        "xdm:name": "",
        "extra": ["fine", "a\0b"],
        "ids": ["a", 1, "a"],
    }
    assert faults(OFFER, document) == [
        ("format", "$.xdm:representations[0].xdm:components[0].dc:format"),
        ("type", "$.xdm:representations[0].xdm:components[1]"),
        ("required", "$.xdm:representations[0].xdm:placement"),
        ("kind", "$.xdm:representations[1].xdm:placement"),
        ("type", "$.xdm:representations[2]"),
        ("range", "$.xdm:name"),
        ("nul", "$.extra[1]"),
        ("type", "$.ids[1]"),
        ("unique", "$.ids[2]"),
        ("required", "$.xdm:status"),
    ]


def test_an_alias_stands_for_its_member() -> None:
    """The path shows the spelling that was used."""
    shape = ObjectShape({"xdm:ids": Member(ListShape(TextShape()), required=True, aliases=("ids",))})
    assert faults(shape, {"ids": []}) == []
    assert faults(shape, {"ids": [1]}) == [("type", "$.ids[0]")]
    assert faults(shape, {}) == [("required", "$.xdm:ids")]


def test_one_member_of_a_group_is_enough() -> None:
    """Aliases count here too."""
    members = {"xdm:criteria": Member(AnyShape(), aliases=("criteria",))}
    shape = ObjectShape(members, at_least_one_of=(("xdm:criteria", "xdm:filter"),))
    assert faults(shape, {"criteria": []}) == []
    assert faults(shape, {"xdm:filter": 1}) == []
    assert faults(ObjectShape({"a": Member(shape)}), {"a": {}}) == [("required", "$.a")]


@pytest.mark.parametrize("value", [True, False, 1.0, 0.5, "1", None, [], {}])
def test_what_is_not_an_integer(value: object) -> None:
    """Python takes true and 1.0 for 1; JSON and the documents do not."""
    assert fault(IntegerShape(), value) == "type"


def test_one_point_nought_is_told_how_to_become_an_integer() -> None:
    """The likeliest cause is a serialiser that writes all numbers as doubles."""
    (finding,) = validate(IntegerShape(), 1.0)
    assert finding.message == "Expected a whole number, found the number 1.0"
    assert "decimal point" in str(finding.help)


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (IntegerShape(min=1, max=30), [1, 30], [0, 31, 10**400]),
        (NumberShape(min=0, max=1), [0, 0.5, 1], [-0.1, 2]),
        (TextShape(min=1, max=3), ["a", "äöü"], ["", "four"]),
        (TextShape(min=2), ["ab"], ["a"]),
        (TextShape(max_bytes=4), ["abcd", "éé"], ["ééé"]),
        (ListShape(AnyShape(), min=1, max=2), [[1], [1, 1]], [[], [1, 2, 3]]),
        (MapShape(TextShape(), max=1), [{}, {"a": "b"}], [{"a": "b", "c": "d"}]),
    ],
)
def test_bounds_are_inclusive(shape: Shape, good: list[Any], bad: list[Any]) -> None:
    """Whatever is bounded: value, characters, bytes, entries."""
    assert [fault(shape, value) for value in good] == [None] * len(good)
    assert [fault(shape, value) for value in bad] == ["range"] * len(bad)


def test_types_are_told_apart() -> None:
    """Each shape takes its own JSON type and no other."""
    values = ["a", 1, 1.5, True, None, [], {}]
    taken: dict[Shape, list[Any]] = {
        TextShape(): ["a"],
        NumberShape(): [1, 1.5],
        BooleanShape(): [True],
        NullShape(): [None],
        ListShape(TextShape()): [[]],
        MapShape(TextShape()): [{}],
        AnyShape(): values,
        OneOfShape((TextShape(), NullShape())): ["a", None],
    }
    for shape, expected in taken.items():
        assert [value for value in values if fault(shape, value) is None] == expected


def test_enum_and_pattern_have_their_own_codes() -> None:
    """A pattern must match the whole text."""
    assert fault(TextShape(one_of=("a", "b")), "c") == "enum"
    assert fault(TextShape(pattern="a+"), "aab") == "format"
    assert fault(TextShape(pattern="a+"), "aa\n") == "format"


def test_a_reference_names_an_object_of_an_allowed_kind() -> None:
    """Both spellings of an id are fine; whether the object exists is not asked here."""
    shape = ReferenceShape(kinds=("personalized-offer", "fallback-offer"))
    assert fault(shape, "xcore:personalized-offer:124e0be5699743d3") is None
    assert fault(shape, "dps:fallback-offer:1") is None
    assert fault(shape, "xcore:tag:1") == "kind"
    assert fault(ReferenceShape(), "xcore:tag:1") is None
    for text in [
        "",
        "tag:1",
        "xcore:tag:",
        "xcore:tag:1F",
        "xcore:tag:1\n",
        "xcore:tag:" + "1" * 17,
    ]:
        assert fault(shape, text) == "format"


def test_the_alternative_with_the_fewest_mistakes_is_reported() -> None:
    """Nobody wants to read about the form they did not mean."""
    old = ObjectShape(
        {
            "placement": Member(TextShape(), required=True),
            "filter": Member(TextShape(), required=True),
        }
    )
    new = ObjectShape({"criteria": Member(ListShape(IntegerShape()), required=True)})
    assert faults(OneOfShape((old, new)), {"criteria": ["x"]}) == [("type", "$.criteria[0]")]
    assert faults(OneOfShape((old, new)), {"placement": "x"}) == [("required", "$.filter")]
    assert faults(OneOfShape((old, new)), []) == [("type", "$")]


def test_nul_is_found_everywhere() -> None:
    """In values, in unknown members, in names, and in what has the wrong type."""
    document = {"a": "x\0", "b": [{"c\0": 1}], "d": {"e": "\0"}, "f": "\0"}
    shape = ObjectShape(
        {
            "a": Member(TextShape(one_of=("x",))),
            "d": Member(TextShape()),
            "f": Member(IntegerShape()),
        }
    )
    assert faults(shape, document) == [
        ("nul", "$.a"),
        ("nul", '$.b[0]["c\\u0000"]'),
        ("type", "$.d"),
        ("nul", "$.d.e"),
        ("nul", "$.f"),
        ("type", "$.f"),
    ]


def test_at_most_a_hundred_findings_are_listed() -> None:
    """Also when the alternatives of a choice have more."""
    assert len(validate(ListShape(TextShape()), [1] * 1000)) == MAX_VIOLATIONS
    assert len(validate(OneOfShape((ListShape(TextShape()),)), [1] * 1000)) == MAX_VIOLATIONS


def test_depth_is_no_danger() -> None:
    """Neither in unknown members nor where a shape looks on."""
    document: Any = "\0"
    for _ in range(50_000):
        document = [document]
    (finding,) = validate(OneOfShape((AnyShape(),)), document)
    assert finding.code == "nul"


def test_a_shape_may_bring_its_own_advice() -> None:
    """It replaces the usual one."""
    shape = TextShape(pattern=r"\w+/\w+", help="Use a media type such as text/html.")
    assert [finding.help for finding in validate(shape, "html")] == ["Use a media type such as text/html."]


def test_paths_quote_what_is_not_a_plain_word() -> None:
    """Prefixed names and `@id` are plain; very long names are cut."""
    assert json_path() == "$"
    assert json_path("xdm:ids", 0, "@id") == "$.xdm:ids[0].@id"
    assert json_path("a b", 'c"d', "", "é") == '$["a b"]["c\\"d"][""]["é"]'
    assert len(json_path("x" * 10_000)) < 300


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_document_can_be_walked(document: Any) -> None:
    """The walk never raises."""
    assert all(finding.path and finding.path.startswith("$") for finding in validate(OFFER, document))


# Moments.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.5z", 500_000),
        ("1970-01-01T01:00:00.000001+01:00", 1),
        ("1969-12-31T23:30:00-00:30", 0),
        ("1970-01-01T00:00:00.1234569Z", 123_456),
        ("1969-12-31T23:59:60Z", 0),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
    ],
)
def test_a_moment_is_read_to_the_microsecond(text: str, expected: int) -> None:
    """Zones are applied, further digits dropped."""
    assert parse_timestamp_us(text) == expected
    assert fault(DateTimeShape(), text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2025-03-01T08:30:00", "no time zone"),
        ("2025-03-01T08:30:00.5", "no time zone"),
        ("2025-02-29T00:00:00Z", "day"),
        ("2025-13-01T00:00:00Z", "month"),
        ("2025-01-01T24:00:00Z", "hour"),
        ("2025-01-01T00:00:61Z", "second"),
        ("0000-01-01T00:00:00Z", "year"),
        ("0001-01-01T00:00:00+00:01", "years 1 to 9999"),
        ("9999-12-31T23:59:60Z", "years 1 to 9999"),
        ("2025-01-01T00:00:00+24:00", "no zone"),
        ("2025-01-01T00:00:00+0100", "form"),
        ("2025-01-01", "form"),
        ("2025-01-01 00:00:00Z", "form"),
        ("２０２５-01-01T00:00:00Z", "form"),
        ("2025-01-01T00:00:00Z\n", "form"),
        ("", "form"),
    ],
)
def test_what_is_no_moment_says_why(text: str, reason: str) -> None:
    """A date-time without a zone would mean a different moment on every server."""
    with pytest.raises(ValueError, match=reason):
        parse_timestamp_us(text)
    (finding,) = validate(DateTimeShape(), text)
    assert finding.code == "format"
    assert reason in finding.message
    assert "2025-03-01T08:30:00Z" in str(finding.help)


MISSPELT_SHAPE = ObjectShape(
    {
        "xdm:name": Member(TextShape(), required=True),
        "xdm:eligibilityRule": Member(TextShape(), aliases=["xdm:ruleOfOld"]),
        "xdm:limits": Member(ListShape(ObjectShape({"xdm:profileCap": Member(IntegerShape())}))),
        "xdm:characteristics": Member(MapShape(TextShape())),
        "id": Member(TextShape()),
    }
)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("xdm:eligibiltyRule", "xdm:eligibilityRule"),
        ("xdm:eligiblityrule", "xdm:eligibilityRule"),
        ("eligibilityRule", "xdm:eligibilityRule"),
        ("xdm:nmae", "xdm:name"),
        ("xdm:limit", "xdm:limits"),
        ("xdm:eligibilityRules", "xdm:eligibilityRule"),
        ("xdm:elgibltyRul", None),
        ("xdm:game", "xdm:name"),
        ("xdm:gate", None),
        ("xdm:ids", None),
        ("xdm:description", None),
        ("xdm:ruleOfOld", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_a_name_within_two_edits_of_a_known_one_is_misspelt(name: str, near: str | None) -> None:
    warnings = misspelt_members(MISSPELT_SHAPE, {"xdm:name": "a", name: 1})
    assert [warning.help for warning in warnings] == ([] if near is None else [f"did you mean `{near}`?"])


def test_nested_members_are_searched_and_free_maps_are_not() -> None:
    document = {"xdm:limits": [{}, {"xdm:profilCap": 1}], "xdm:characteristics": {"nam": "x"}, "xdm:other": {"nam": 1}}
    assert [warning.path for warning in misspelt_members(MISSPELT_SHAPE, document)] == ["$.xdm:limits[1].xdm:profilCap"]


@pytest.mark.parametrize(
    ("kind", "document", "path", "place"),
    [
        (EntityKind.OFFER, {"xdm:profileCap": 1}, "$.xdm:profileCap", "`xdm:cappingConstraint`"),
        (EntityKind.OFFER, {"xdm:eligibilityRule": "r"}, "$.xdm:eligibilityRule", "`xdm:selectionConstraint`"),
        (
            EntityKind.OFFER,
            {"xdm:selectionConstraint": {"xdm:profileConstraint": {}}},
            "$.xdm:selectionConstraint.xdm:profileConstraint",
            "`xdm:criteria` of a decision; an offer has its members in `xdm:selectionConstraint`",
        ),
        (EntityKind.DECISION, {"xdm:profileConstraint": {}}, "$.xdm:profileConstraint", "`xdm:criteria`"),
        (EntityKind.DECISION, {"xdm:criteria": [{"endDate": ""}]}, "$.xdm:criteria[0].endDate", "the decision itself"),
    ],
)
def test_a_constraint_in_another_place_than_its_own_has_a_warning(
    kind: EntityKind, document: dict[str, Any], path: str, place: str
) -> None:
    """It has no effect there, so everybody gets the offer. A client's own members stay as they are."""
    [warning] = misspelt_members(SHAPES[kind], {"xdm:own": 1, **document}, PLACES[kind])
    assert (warning.path, warning.help) == (path, f"it belongs in {place}")


def test_the_number_of_warnings_is_bounded() -> None:
    document = {f"xdm:nam{number}": 1 for number in range(1_000)}
    assert len(misspelt_members(MISSPELT_SHAPE, document)) == MAX_MISSPELT


@given(st.text("abcd", max_size=8), st.text("abcd", max_size=8))
def test_the_edit_distance_is_symmetric_and_zero_for_equal_words_alone(first: str, second: str) -> None:
    distance = edit_distance(first, second, 8)
    assert distance == edit_distance(second, first, 8)
    assert (distance == 0) == (first == second)
    assert abs(len(first) - len(second)) <= distance <= max(len(first), len(second))
    assert edit_distance(first, second, 2) == min(distance, 3)


@given(st.text("abcd", min_size=2, max_size=8), st.data())
def test_one_edit_has_distance_one(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(word) - 2))
    exchanged = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    for edited in (word[:place] + word[place + 1 :], word[:place] + "x" + word[place:], exchanged):
        assert edit_distance(word, edited, 2) == (0 if edited == word else 1)
