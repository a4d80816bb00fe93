"""Warnings about comparisons that rely on a conversion, and about days beside date-times."""

from typing import Any

import pytest

from proffer.pql import check_text, schema_with

FIELDS: dict[str, Any] = {
    "zip": "text",
    "zips": ["text"],
    "points": "number",
    "flag": "boolean",
    "end": "date-time",
    "born": "date",
    "any": "any",
}


def findings(text: str) -> list[tuple[str, str, str | None, str | None]]:
    """Code, message, help, and the text as it is after the fix."""
    return [
        (
            found.code,
            found.message,
            found.help,
            found.fix and text[: found.fix.span.start] + found.fix.replacement + text[found.fix.span.end :],
        )
        for found in check_text(text, schema=schema_with({"profile": FIELDS}))
    ]


@pytest.mark.parametrize(
    ("text", "message", "fixed"),
    [
        ("zip = 7030", '`zip` is a text: 7030 is compared as the text `"7030"`, not `"07030"`', 'zip = "7030"'),
        ('zip in [07030, "x"]', '`zip` is a text: 07030 is compared as the text `"07030"`', 'zip in ["07030", "x"]'),
        ("7.50 != zip", '`zip` is a text: 7.50 is compared as the text `"7.50"`', '"7.50" != zip'),
        ("zip = true", '`zip` is a text: true is compared as the text `"true"`', 'zip = "true"'),
        ('zip.equals("a", -1)', '`zip` is a text: -1 is compared as the text `"-1"`', 'zip.equals("a", "-1")'),
        ("zips.includes(1)", '`zips` is a text: 1 is compared as the text `"1"`, not `"01"`', 'zips.includes("1")'),
        ("1 in zips", '`zips` is a text: 1 is compared as the text `"1"`, not `"01"`', '"1" in zips'),
        ('points >= "900"', '`points` is a number: "900" is compared as the number 900', "points >= 900"),
        ("flag = 1", "`flag` is a Boolean: 1 is compared as true", "flag = true"),
        ('flag != "False"', '`flag` is a Boolean: "False" is compared as false', "flag != false"),
        (
            "end <= date(2026, 12, 24)",
            "`end` has a time of day: beside it date(2026, 12, 24) is the start of that day",
            "end < date(2026, 12, 25)",
        ),
        (
            "date(2026, 12, 31) < end",
            "`end` has a time of day: beside it date(2026, 12, 31) is the start of that day",
            "end >= date(2027, 1, 1)",
        ),
        ("end = today", "`end` has a time of day: beside it today is the start of that day", "end occurs on today"),
        (
            'end != "2026-12-24"',
            '`end` has a time of day: beside it "2026-12-24" is the start of that day',
            'not (end occurs on "2026-12-24")',
        ),
        ("end = born", "`end` has a time of day: beside it born is the start of that day", "end occurs on born"),
    ],
)
def test_a_conversion_is_a_warning_with_a_fix(text: str, message: str, fixed: str) -> None:
    """The fix compares what is meant, and has no warning."""
    ((code, said, _, after),) = findings(text)

    assert (code, said, after) == ("pql.conversion", message, fixed)
    assert findings(fixed) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zip < 95000", "`zip` is a text: it is ordered as a number, where it is one"),
        ("points > zip", "`points` is a number and `zip` a text: only a text that is a number compares"),
        ("end <= born", "`end` has a time of day: beside it born is the start of that day"),
        ("end in [today]", "`end` has a time of day: beside it today is the start of that day"),
    ],
)
def test_some_conversions_have_no_fix(text: str, message: str) -> None:
    """What was meant cannot be told."""
    ((code, said, _, after),) = findings(text)

    assert (code, said, after) == ("pql.conversion", message, None)


@pytest.mark.parametrize(
    "text",
    [
        'zip = "7030" and zip < "8" and points = 5 and flag = true and not flag',
        "end < date(2026, 12, 25) and end >= today and end > now and born = date(2020, 1, 1) and born <= today",
        'any = 5 and any = "5" and any = true and any <= date(2026, 12, 24)',
        "points > 1 + 1 and points in [1, 2] and end occurs on date(2026, 12, 24)",
        'zip.equals("A", false)',
    ],
)
def test_a_comparison_without_conversion_has_no_warning(text: str) -> None:
    """Equal types, undeclared fields, and bounds that are meant as they are."""
    assert findings(text) == []


def test_two_texts_of_one_instant_are_no_contradiction() -> None:
    """The same field may equal both; other texts exclude each other."""
    assert findings('any = "2025-05-05T10:00:00Z" and any = "2025-05-05T12:00:00+02:00"') == []
    assert [code for code, *_ in findings('any = "a" and any = "b"')] == ["pql.never-true"]
