"""What is kept: names and moments."""

from dataclasses import replace

import pytest

from proffer.model.ids import EntityKind
from proffer.model.instance import format_timestamp
from proffer.testing.builders import a_tag, an_instance


@pytest.mark.parametrize(
    ("moment_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_603_395_515_489_123, "2020-10-22T19:38:35.489123Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        (4_102_444_800_000_001, "2100-01-01T00:00:00.000001Z"),
    ],
)
def test_a_moment_is_printed_to_the_microsecond(moment_us: int, text: str) -> None:
    """No digit is lost to floating point, however far the year."""
    assert text == format_timestamp(moment_us)


def test_an_object_without_a_name_goes_by_its_id() -> None:
    """A name that is no text is none."""
    named, numbered = an_instance(a_tag("red")), an_instance(a_tag("red") | {"xdm:name": 5})

    assert ("red", numbered.id) == (named.name, numbered.name)


def test_the_name_of_an_audience_is_its_member_name() -> None:
    audience = replace(an_instance(a_tag("red")), kind=EntityKind.AUDIENCE, document={"name": "No open in 14 days"})
    assert audience.name == "No open in 14 days"


def test_either_spelling_of_an_id_is_found_under_one_key() -> None:
    """The document keeps its own."""
    tag = an_instance({"@id": "dps:tag:a", "xdm:name": "red"})

    assert (tag.id, tag.key) == ("dps:tag:a", "xcore:tag:a")
