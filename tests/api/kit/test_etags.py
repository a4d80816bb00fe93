"""Entity tags as clients write them."""

import pytest

from proffer.api.kit.etags import etag, parse_etags

CASES: list[tuple[str | None, set[int] | None]] = [
    (None, None),
    ("*", None),
    (" * ", None),
    ('"3"', {3}),
    ("3", {3}),
    ('W/"3"', {3}),
    ('w/"3"', {3}),
    (' "3" ', {3}),
    ('"3","4"', {3, 4}),
    ('"3", W/"4" , 5', {3, 4, 5}),
    ('"abc", 3', {3}),
    ("", set()),
    ("abc", set()),
    ('"', set()),
    ('""', set()),
    ("-3", set()),
    ("3.0", set()),
    ("0x3", set()),
    ("\u0663", set()),  # a digit, but none of ASCII
    ("\xb2", set()),
    ("1" * 30, set()),
    ("9" * 18, {int("9" * 18)}),
    ('"' * 10_000, set()),
]


@pytest.mark.parametrize(("header", "tags"), CASES)
def test_etags_are_read(header: str | None, tags: set[int] | None) -> None:
    """Quoted, weak, bare, several; absent and `*` are no opinion, and what is no number matches nothing."""
    assert parse_etags(header) == (None if tags is None else frozenset(tags))


@pytest.mark.parametrize("value", [1, 7, 10**15])
def test_an_etag_is_read_as_it_is_written(value: int) -> None:
    """What a response says can be sent back as it is."""
    assert parse_etags(etag(value)) == frozenset({value})
